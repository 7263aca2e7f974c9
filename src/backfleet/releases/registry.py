"""Add, offer, withdraw and find releases."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from backfleet.releases import _store
from backfleet.releases.contents import examine, format_of
from backfleet.releases.describing import FILE_NAME, check_name, describe
from backfleet.releases.errors import ReleaseConflict
from backfleet.releases.inspecting import inspect
from backfleet.releases.model import Prepared, Release
from backfleet.releases.repository import Repository
from backfleet.releases.schemes import check_has_own_place, fix_scheme
from backfleet.releases.signed_metadata import publish
from backfleet.storage import Transaction
from backfleet_host.files import move_file, sync_folder
from backfleet_host.versions import default_scheme, scheme_of


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
    scheme: str | None = None,
) -> Prepared:
    """Read an uploaded artifact from beginning to end. Call it outside of any transaction: the artifact may be large.

    Args:
        size: bytes.
        form: the artifact's format, one of `archives.FORMATS`; "" = what its first bytes show.
        file_name: the name that it was uploaded under; folders in it are ignored.
        given: the manifest's fields as the administrator gave them; None takes the recipe of the package.
        scheme: how the versions of the package compare, as `scheme_for` found it; None goes by the format.

    Raises:
        ReleaseRefused: names, manifest or artifact cannot be offered, or the artifact shows that it is something else.
    """
    form = format_of(artifact, form)
    by = scheme_of(scheme or default_scheme(form))
    manifest = describe(package=package, version=version, platform=platform, form=form, given=given, scheme=by)
    last = Path(file_name).name or "artifact"
    check_name("the file name", last, FILE_NAME)
    complete = inspect(manifest, artifact)
    findings = examine(complete, artifact)
    return Prepared(complete, sha256, size, last, findings.libraries, findings.notes)


def keep_artifact(repository: Repository, upload: Path, sha256: str) -> None:
    """Move an uploaded file to where artifacts are. It survives a power cut before any row names it.

    A file that no row ever names is harmless: the same release, added again, uses it.
    """
    kept = repository.path_of(sha256)
    if kept.exists():
        sync_folder(kept.parent)  # the process that put it there may have been killed before that
    else:
        move_file(upload, kept, 0o644)


def add(
    tx: Transaction, repository: Repository, prepared: Prepared, *, channel: str, now: datetime
) -> tuple[Release, bool]:
    """Add a release, offer it on a channel and publish both in the signed metadata, all in this transaction.

    The same file under the same name again changes nothing but the channel.

    Returns:
        The release, and whether it is new.

    Raises:
        ReleaseConflict: the version exists with other bytes, or was withdrawn; it is equal to another one of the
            package; or the package has another version scheme.
        TooManyReleases: signed metadata would grow larger than hosts accept.
    """
    manifest = prepared.manifest
    _store.lock(tx)
    known = _store.release(tx, manifest.package, manifest.version, manifest.platform)
    if known is not None and known.sha256 != prepared.sha256:
        raise ReleaseConflict(
            f"{manifest.package} {manifest.version} {manifest.platform} exists with other bytes "
            f"(SHA-256 {known.sha256[:12]}...); a version never changes: give the new bytes a new version"
        )
    if known is not None and known.withdrawn_at is not None:
        raise ReleaseConflict(
            f"{manifest.package} {manifest.version} {manifest.platform} was withdrawn; give it a new version"
        )
    if known is None:
        fix_scheme(tx, manifest.package, manifest.scheme)
        others = _store.every_release(tx, manifest.package)
        check_has_own_place(manifest.version_scheme, manifest.version, others)
        _store.add_release(tx, prepared, now)
        publish(tx, repository, now=now)
    _store.offer(tx, channel, manifest.package, manifest.version, manifest.platform)
    added = _store.release(tx, manifest.package, manifest.version, manifest.platform)
    assert added is not None  # noqa: S101 - added above, or known
    return added, known is None


def withdraw(
    tx: Transaction, repository: Repository, package: str, version: str, platform: str, *, now: datetime
) -> bool:
    """Offer a release to nobody from now on. Hosts that run it keep it. Return False if there is no such release."""
    _store.lock(tx)
    if not _store.withdraw(tx, package, version, platform, now):
        return _store.release(tx, package, version, platform) is not None
    publish(tx, repository, now=now)
    return True


def offered(tx: Transaction, package: str, platform: str, channel: str) -> list[Release]:
    """Return what a channel offers of a package, in no order: only releases that are in the signed metadata."""
    return _store.offered(tx, [(package, platform, channel)])


def offered_for(tx: Transaction, wanted: Sequence[tuple[str, str, str]]) -> list[Release]:
    """Return what is offered for any of (package, platform, channel), in one query."""
    return _store.offered(tx, wanted)


def packages_offered(tx: Transaction, platform: str, channel: str) -> list[str]:
    """Return the packages with at least one release for this platform on this channel, by name."""
    return _store.packages_offered(tx, platform, channel)


def find(tx: Transaction, package: str, version: str, platform: str) -> Release | None:
    """Return one release, withdrawn or not."""
    return _store.release(tx, package, version, platform)


def find_all(tx: Transaction, package: str | None) -> list[Release]:
    """Return every release, the newest first."""
    return _store.every_release(tx, package)


def count_releases(tx: Transaction) -> int:
    """Return how many releases there are, withdrawn ones included."""
    return _store.count(tx)
