"""Keep which versions exist, and sign them so that hosts can verify them. Knows no hosts, tasks or callers.

Owns the tables `releases`, `release_offers`, `package_schemes` and `signed_metadata`, the artifacts folder and the
release-signing keys.

- `prepare` reads an uploaded artifact, `keep_artifact` stores it, `add` makes it a release on a channel.
- `withdraw` stops offering a release.
- `scheme_for` and `schemes_of` say how the versions of a package compare; `review_scheme` shows what another scheme
  would make of them, and `change_scheme` changes it.
- `offered`, `offered_for`, `packages_offered`, `find` and `find_all` read; `select` and `newest` choose. The last two
  are pure.
- `metadata` and `Repository.artifact` are for those who download.
- `refresh` makes the first metadata; `run_once` is the worker that keeps it fresh.
- `pending_signatures` and `accept_signatures` are for keys that are kept elsewhere.
"""

from backfleet.releases.acceptance import NotSigned, accept_signatures, pending_signatures
from backfleet.releases.errors import ReleaseConflict, ReleaseRefused, TooManyReleases
from backfleet.releases.model import STABLE, Prepared, Release
from backfleet.releases.registry import (
    add,
    count_releases,
    find,
    find_all,
    keep_artifact,
    offered,
    offered_for,
    packages_offered,
    prepare,
    withdraw,
)
from backfleet.releases.repository import Repository
from backfleet.releases.schemes import (
    SchemeReview,
    UnknownPackage,
    change_scheme,
    review_scheme,
    scheme_for,
    schemes_of,
)
from backfleet.releases.selection import Selection, newest, select
from backfleet.releases.signed_metadata import LIFETIMES, may_sign, metadata, refresh, run_once
from backfleet_host.manifest import Health, Manifest, Service

__all__ = [
    "LIFETIMES",
    "STABLE",
    "Health",
    "Manifest",
    "NotSigned",
    "Prepared",
    "Release",
    "ReleaseConflict",
    "ReleaseRefused",
    "Repository",
    "SchemeReview",
    "Selection",
    "Service",
    "TooManyReleases",
    "UnknownPackage",
    "accept_signatures",
    "add",
    "change_scheme",
    "count_releases",
    "find",
    "find_all",
    "keep_artifact",
    "may_sign",
    "metadata",
    "newest",
    "offered",
    "offered_for",
    "packages_offered",
    "pending_signatures",
    "prepare",
    "refresh",
    "review_scheme",
    "run_once",
    "scheme_for",
    "schemes_of",
    "select",
    "withdraw",
]
