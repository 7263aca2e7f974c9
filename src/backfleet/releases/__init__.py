"""Which versions exist, and why they can be believed. Knows neither hosts nor tasks nor callers.

Owns the tables releases, release_offers and signed_metadata, the artifacts folder and the release-signing keys. Verbs:
`prepare`, `keep_artifact` and `add`; `withdraw`; `offered` and the pure `pick`; `metadata` and `Repository.artifact`
for those who download; `refresh` and `look` keep the metadata fresh; `pending` and `take` are for keys that
are kept elsewhere.
"""

from backfleet.releases.picking import Pick, newest, pick
from backfleet.releases.refusal import ReleaseConflict, ReleaseRefused, TooManyReleases
from backfleet.releases.registry import (
    STABLE,
    Prepared,
    Release,
    add,
    count_releases,
    find,
    find_all,
    keep_artifact,
    offered,
    offered_of,
    packages_offered,
    prepare,
    withdraw,
)
from backfleet.releases.repository import Repository
from backfleet.releases.signing import NotSigned, pending, take
from backfleet.releases.trust import LIFE, look, may_sign, metadata, refresh
from backfleet_host.manifest import Health, Manifest, Service

__all__ = [
    "LIFE",
    "STABLE",
    "Health",
    "Manifest",
    "NotSigned",
    "Pick",
    "Prepared",
    "Release",
    "ReleaseConflict",
    "ReleaseRefused",
    "Repository",
    "Service",
    "TooManyReleases",
    "add",
    "count_releases",
    "find",
    "find_all",
    "keep_artifact",
    "look",
    "may_sign",
    "metadata",
    "newest",
    "offered",
    "offered_of",
    "packages_offered",
    "pending",
    "pick",
    "prepare",
    "refresh",
    "take",
    "withdraw",
]
