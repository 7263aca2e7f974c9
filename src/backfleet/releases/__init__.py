"""Keep which versions exist, and sign them so that hosts can verify them. Knows no hosts, tasks or callers.

Owns the tables `releases`, `release_offers`, `release_deltas`, `default_packages`, `package_schemes`,
`signed_metadata` and `signed_metadata_floors`, the artifacts folder and the release-signing keys.

- `prepare` reads an uploaded artifact, `keep_artifact` stores it, `add` makes it a release on a channel.
- `withdraw` stops offering a release, `offer` offers it again or on another channel.
- `default_packages` are what installs get that name none; the first package on a channel, until `set_default_package`.
- `scheme_for` and `schemes_of` say how the versions of a package compare; `review_scheme` shows what another scheme
  would make of them, and `change_scheme` changes it.
- `offered`, `offered_for`, `packages_offered`, `package_meant`, `find` and `find_all` read; `select` and `newest`
  choose. The last two are pure.
- `make_deltas_once` is the worker that makes deltas between versions, `deltas_to` reads those to a release,
  `delta_outlook` says which cannot be made; `note_delta_downloads` remembers what hosts report of them, and
  `delta_figures` sums it up.
- `lowest_readers` says which version is known to read what versions write.
- `metadata` and `Repository.artifact` are for those who download; `note_fetched` remembers that somebody did.
- `Stored` is an object store with the artifacts, by which replicas share them; `upload_missing` is its worker.
- `artifacts_named` says what each artifact is of, for copies of the installation.
- `refresh` makes the first metadata; `run_once` is the worker that keeps it fresh.
- `resume` goes on after a restore, above what hosts have seen; `needs_signature` says that people must sign for that.
- `unsigned` returns the releases that wait for a signature, `endings` when the newest root and targets end.
- `pending_signatures` and `accept_signatures` are for keys that are kept elsewhere.
"""

from backfleet.releases.acceptance import NotSigned, accept_signatures, pending_signatures
from backfleet.releases.deltas import Outlook as DeltaOutlook
from backfleet.releases.deltas import outlook as delta_outlook
from backfleet.releases.deltas import run_once as make_deltas_once
from backfleet.releases.errors import ReleaseConflict, ReleaseRefused, TooManyReleases, UnusualPackage
from backfleet.releases.model import STABLE, Delta, DeltaFigures, Prepared, Release
from backfleet.releases.registry import (
    add,
    count_releases,
    default_packages,
    delta_figures,
    deltas_to,
    find,
    find_all,
    is_noted_as_fetched,
    keep_artifact,
    lowest_readers,
    may_be_sent,
    note_delta_downloads,
    note_fetched,
    offer,
    offered,
    offered_for,
    other_packages,
    package_meant,
    packages_offered,
    prepare,
    set_default_package,
    withdraw,
    withdrawn,
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
from backfleet.releases.selection import Selection, is_withdrawn, newest, select, select_named
from backfleet.releases.signed_metadata import (
    LIFETIMES,
    endings,
    may_sign,
    metadata,
    needs_signature,
    newest_root,
    refresh,
    resume,
    run_once,
    unsigned,
)
from backfleet.releases.stored import Stored
from backfleet.releases.uploading import artifact_sizes, artifacts_named, upload_missing
from backfleet_host.manifest import Health, Manifest, Service

__all__ = [
    "LIFETIMES",
    "STABLE",
    "Delta",
    "DeltaFigures",
    "DeltaOutlook",
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
    "Stored",
    "TooManyReleases",
    "UnknownPackage",
    "UnusualPackage",
    "accept_signatures",
    "add",
    "artifact_sizes",
    "artifacts_named",
    "change_scheme",
    "count_releases",
    "default_packages",
    "delta_figures",
    "delta_outlook",
    "deltas_to",
    "endings",
    "find",
    "find_all",
    "is_noted_as_fetched",
    "is_withdrawn",
    "keep_artifact",
    "lowest_readers",
    "make_deltas_once",
    "may_be_sent",
    "may_sign",
    "metadata",
    "needs_signature",
    "newest",
    "newest_root",
    "note_delta_downloads",
    "note_fetched",
    "offer",
    "offered",
    "offered_for",
    "other_packages",
    "package_meant",
    "packages_offered",
    "pending_signatures",
    "prepare",
    "refresh",
    "resume",
    "review_scheme",
    "run_once",
    "scheme_for",
    "schemes_of",
    "select",
    "select_named",
    "set_default_package",
    "unsigned",
    "upload_missing",
    "withdraw",
    "withdrawn",
]
