"""Adding, offering and withdrawing releases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from backfleet.releases import _store
from backfleet.releases.describing import FILE_NAME, check_name, describe
from backfleet.releases.inspecting import inspect
from backfleet.releases.refusal import ReleaseConflict
from backfleet.releases.repository import Repository
from backfleet.releases.trust import publish
from backfleet.storage import Transaction
from backfleet_host.files import move_file, sync_folder
from backfleet_host.manifest import Manifest

STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Release:
    """One package in one version for one platform."""

    package: str
    version: str
    platform: str
    sha256: str
    size: int  # bytes
    file_name: str
    manifest: Manifest
    created_at: datetime
    withdrawn_at: datetime | None
    channels: tuple[str, ...] = ()
    published_at: datetime | None = None  # None: it waits for a signature, and is offered to nobody

    @property
    def target_path(self) -> str:
        """What it is called in the signed metadata."""
        return target_path(self.package, self.version, self.platform)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An artifact that was read through and may be added."""

    manifest: Manifest
    sha256: str
    size: int
    file_name: str


def target_path(package: str, version: str, platform: str) -> str:
    """What a release is called in the signed metadata: an order says no more, so a host can find it by that."""
    return f"{package}/{version}/{platform}"


def prepare(
    artifact: Path,
    sha256: str,
    size: int,
    *,
    package: str,
    version: str,
    platform: str,
    form: str,
    file_name: str,
    given: Mapping[str, Any] | None,
) -> Prepared:
    """Read an uploaded artifact through, outside of any transaction: it may be large.

    Raises:
        ReleaseRefused: names, manifest or artifact are not fit.
    """
    manifest = describe(package=package, version=version, platform=platform, form=form, given=given)
    last = Path(file_name).name or "artifact"
    check_name("the file name", last, FILE_NAME)
    return Prepared(inspect(manifest, artifact), sha256, size, last)


def keep_artifact(repository: Repository, upload: Path, sha256: str) -> None:
    """Move an uploaded file to where artifacts are: on disk for good before any row speaks of it.

    A file that no row comes to speak of is harmless: the same release added again takes it.
    """
    kept = repository.path_of(sha256)
    if kept.exists():
        sync_folder(kept.parent)  # who put it there may have ended before that
    else:
        move_file(upload, kept, 0o644)


def add(
    tx: Transaction, repository: Repository, prepared: Prepared, *, channel: str, now: datetime
) -> tuple[Release, bool]:
    """Add a release, offer it on a channel and publish both in the signed metadata, all in this transaction.

    The same file under the same name again changes nothing but the channel. Also tells whether it is new.

    Raises:
        ReleaseConflict: the version is there with other bytes, or was withdrawn.
        TooManyReleases: signed metadata would grow larger than hosts take.
    """
    manifest = prepared.manifest
    _store.lock(tx)
    known = _store.release(tx, manifest.package, manifest.version, manifest.platform)
    if known is not None and known.sha256 != prepared.sha256:
        raise ReleaseConflict(
            f"{manifest.package} {manifest.version} {manifest.platform} is there with other bytes "
            f"(SHA-256 {known.sha256[:12]}...); a version never changes: give the new bytes a new version"
        )
    if known is not None and known.withdrawn_at is not None:
        raise ReleaseConflict(
            f"{manifest.package} {manifest.version} {manifest.platform} was withdrawn; give it a new version"
        )
    if known is None:
        _store.add_release(tx, prepared, now)
        publish(tx, repository, now=now)
    _store.offer(tx, channel, manifest.package, manifest.version, manifest.platform)
    added = _store.release(tx, manifest.package, manifest.version, manifest.platform)
    assert added is not None  # noqa: S101 - added above, or known
    return added, known is None


def withdraw(
    tx: Transaction, repository: Repository, package: str, version: str, platform: str, *, now: datetime
) -> bool:
    """Offer it to nobody from now on; hosts that run it keep it. False if there is no such release."""
    _store.lock(tx)
    if not _store.withdraw(tx, package, version, platform, now):
        return _store.release(tx, package, version, platform) is not None
    publish(tx, repository, now=now)
    return True


def offered(tx: Transaction, package: str, platform: str, channel: str) -> list[Release]:
    """What a channel offers of a package, in no order; only what signed metadata vouches for."""
    return _store.offered(tx, [(package, platform, channel)])


def offered_of(tx: Transaction, wanted: Sequence[tuple[str, str, str]]) -> list[Release]:
    """What channels offer of (package, platform, channel), in one query."""
    return _store.offered(tx, wanted)


def packages_offered(tx: Transaction, platform: str, channel: str) -> list[str]:
    """Packages with at least one release for this platform on this channel, by name."""
    return _store.packages_offered(tx, platform, channel)


def find(tx: Transaction, package: str, version: str, platform: str) -> Release | None:
    """One release, withdrawn or not."""
    return _store.release(tx, package, version, platform)


def find_all(tx: Transaction, package: str | None) -> list[Release]:
    """Every release, the last added first."""
    return _store.every_release(tx, package)


def count_releases(tx: Transaction) -> int:
    """How many there are."""
    return _store.count(tx)
