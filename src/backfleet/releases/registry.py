"""Add, offer, withdraw and find releases."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from backfleet.releases import _store
from backfleet.releases.contents import examine, format_of, upstream_versions
from backfleet.releases.describing import FILE_NAME, check_name, describe, packages_with_recipe
from backfleet.releases.errors import ReleaseConflict, UnusualPackage
from backfleet.releases.inspecting import inspect
from backfleet.releases.model import Delta, DeltaFigures, Prepared, Release
from backfleet.releases.package_names import similar_package
from backfleet.releases.repository import Repository
from backfleet.releases.schemes import check_has_own_place, check_readable, fix_scheme
from backfleet.releases.signed_metadata import publish
from backfleet.storage import Transaction
from backfleet_host.files import move_file, sync_folder
from backfleet_host.manifest import Manifest
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

    A file that no row ever names is harmless: the same release, added again, uses it. An object store gets it first,
    also if it has one of that name: adding a file again puts right what somebody did to it there.

    Raises:
        Trouble: the object store does not take it.
    """
    if repository.stored is not None:
        repository.stored.put(upload, sha256)
    kept = repository.path_of(sha256)
    if kept.exists():
        sync_folder(kept.parent)  # the process that put it there may have been killed before that
    else:
        move_file(upload, kept, 0o644)


def add(
    tx: Transaction,
    repository: Repository,
    prepared: Prepared,
    *,
    channel: str,
    now: datetime,
    is_new_package_meant: bool = True,
) -> tuple[Release, bool]:
    """Add a release, offer it on a channel and publish both in the signed metadata, all in this transaction.

    The same file under the same name again changes nothing but the channel; if it was withdrawn, it is offered again,
    on this channel only. A version that was withdrawn before anybody fetched it may be given to another file.

    Args:
        is_new_package_meant: False refuses the first release of a package whose name is close to another one's.

    Returns:
        The release, and whether it is new.

    Raises:
        ReleaseConflict: the version exists with other bytes; it is equal to another one of the package; or the package
            has another version scheme.
        UnusualPackage: the package is new, and its name looks like a slip.
        TooManyReleases: signed metadata would grow larger than hosts accept.
    """
    manifest = prepared.manifest
    _store.lock(tx)
    if not is_new_package_meant:
        _check_package(tx, manifest.package)
    known = _store.release(tx, manifest.package, manifest.version, manifest.platform)
    is_new = known is None or known.sha256 != prepared.sha256 or _may_change(known, manifest)
    if known is not None and is_new:
        _give_version_back(tx, known)
    if is_new:
        fix_scheme(tx, manifest.package, manifest.scheme)
        check_has_own_place(manifest.version_scheme, manifest.version, _store.every_release(tx, manifest.package))
        _store.add_release(tx, prepared, now)
        publish(tx, repository, now=now)
    _offer(tx, repository, manifest, channel, now)
    added = _store.release(tx, manifest.package, manifest.version, manifest.platform)
    assert added is not None  # noqa: S101 - added above, or known
    return added, is_new


def offer(
    tx: Transaction, repository: Repository, package: str, version: str, platform: str, *, channel: str, now: datetime
) -> Release | None:
    """Offer a release that exists on a channel, again if it was withdrawn. Return None if there is no such release.

    Raises:
        ReleaseConflict: it was withdrawn, and another one that is offered is equal to it.
        ReleaseRefused: it was withdrawn, and the package has another version scheme now, which cannot read it.
        TooManyReleases: signed metadata would grow larger than hosts accept.
    """
    _store.lock(tx)
    known = _store.release(tx, package, version, platform)
    if known is None:
        return None
    _offer(tx, repository, known.manifest, channel, now)
    return _store.release(tx, package, version, platform)


def _offer(tx: Transaction, repository: Repository, manifest: Manifest, channel: str, now: datetime) -> None:
    """Offer a release on a channel. The first package on a channel and platform becomes the default there."""
    names = manifest.package, manifest.version, manifest.platform
    known = _store.release(tx, *names)
    if known is not None and known.withdrawn_at is not None:
        others = [release for release in _store.every_release(tx, manifest.package) if release.withdrawn_at is None]
        check_readable(known.version_scheme, known.version)  # the scheme may have been changed since
        check_has_own_place(known.version_scheme, known.version, others)
        _store.restore(tx, *names)
        publish(tx, repository, now=now)
    _store.offer(tx, channel, *names)
    if not _store.other_packages(tx, channel, manifest.platform, manifest.package):
        _store.add_default_package(tx, channel, manifest.platform, manifest.package)


def _check_package(tx: Transaction, package: str) -> None:
    similar = similar_package(package, _store.packages(tx), packages_with_recipe())
    if similar:
        raise UnusualPackage(
            f"there is no release of {package!r} yet, and the name is close to {similar!r}; if a new package is meant, "
            "add it with --new-package (NewPackage=true)"
        )


def _may_change(known: Release, manifest: Manifest) -> bool:
    """Return whether another manifest replaces that of a release: if it was withdrawn, and nobody has fetched it."""
    return known.withdrawn_at is not None and known.fetched_at is None and known.manifest != manifest


def _give_version_back(tx: Transaction, known: Release) -> None:
    """Remove a withdrawn release that nobody has fetched, so that other bytes can have its version.

    Raises:
        ReleaseConflict: it is offered, or somebody has fetched it; the text says what can be done.
    """
    names = known.package, known.version, known.platform
    if known.withdrawn_at is not None and known.fetched_at is None and _store.remove_unfetched(tx, *names):
        return
    if known.fetched_at is None:
        advice = f", or withdraw {known.version}: nobody has fetched it, so other bytes can have its version then"
    else:
        advice = ""
    raise ReleaseConflict(
        f"{' '.join(names)} exists with other bytes (SHA-256 {known.sha256[:12]}...), "
        f"{'which hosts have fetched; ' if known.fetched_at else ''}"
        f"a version never changes: give the new bytes a new version, {_next_version(tx, known)}{advice}"
    )


def _next_version(tx: Transaction, known: Release) -> str:
    """Return which version other bytes can have, and what its health check accepts.

    It is newer than the known one in the package's scheme and has a place of its own there. To semver, everything after
    a hyphen comes before the release: there a rebuild of 1.75.2 comes before 1.75.3. Debian's own next revision stays
    newer: `1.0-1+b9` is followed by `1.0-1+b9+2`, which `1.0-1+b10` follows.
    """
    scheme, stem = known.version_scheme, re.sub(r"-\d+\Z", "", known.version)
    printed = upstream_versions(known.version)[-1]
    taken = [release.version for release in _store.every_release(tx, known.package)]
    forms = [f"{stem}{'+' if '-' in stem else '-'}{{}}", f"{known.version}.{{}}"]
    patch = re.fullmatch(r"(v?\d{1,9}\.\d{1,9}\.)(\d{1,9})(?:\+.*)?", known.version)
    if patch:
        forms.append(f"{patch[1]}{int(patch[2]) + 1}-0.{{}}")
    for free in (form.format(number) for form in forms for number in range(2, len(taken) + 3)):
        if scheme.order_of(free) is None or any(scheme.is_equal(free, one) for one in taken):
            continue
        if scheme.is_newer(free, known.version):
            if printed in upstream_versions(free):
                return f"such as {free}, whose health check accepts a program that prints {printed}"
            return f"such as {free}, and a manifest whose health check expects what the program prints"
    return f"which is newer in the scheme {scheme.name}"


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


def package_meant(tx: Transaction, package: str) -> str:
    """Return the package with releases whose name is close to that of one without; "" if there is none."""
    return similar_package(package, _store.packages(tx), ()) if package else ""


def default_packages(tx: Transaction, channel: str) -> dict[str, str]:
    """Return what an install gets on a channel that names no package, by platform: the first that was offered there."""
    return _store.default_packages_of(tx, channel)


def set_default_package(tx: Transaction, channel: str, package: str, platform: str | None) -> list[str]:
    """Let installs that name no package get this one; return the platforms for which that is so now.

    Args:
        platform: None = every platform for which the channel offers the package.
    """
    offers = [release for release in _store.every_release(tx, package) if release.withdrawn_at is None]
    platforms = sorted({release.platform for release in offers if channel in release.channels})
    chosen = [one for one in platforms if platform in (None, one)]
    for one in chosen:
        _store.set_default_package(tx, channel, one, package)
    return chosen


def other_packages(tx: Transaction, channel: str, platform: str, package: str) -> list[str]:
    """Return the packages but this one that a channel offers for a platform, by name."""
    return _store.other_packages(tx, channel, platform, package)


def may_be_sent(tx: Transaction, sha256: str) -> bool:
    """Return whether an artifact is that of a release. What a version was given back from is sent to nobody."""
    return _store.is_named(tx, sha256)


def is_noted_as_fetched(tx: Transaction, sha256: str) -> bool:
    """Return whether it is noted that somebody has fetched an artifact."""
    return _store.is_fetched(tx, sha256)


def note_fetched(tx: Transaction, sha256: str, *, now: datetime) -> bool:
    """Note, before the first byte is sent, that somebody fetches an artifact; return `may_be_sent` as it is then."""
    _store.note_fetched(tx, sha256, now)
    return _store.is_named(tx, sha256)


def find(tx: Transaction, package: str, version: str, platform: str) -> Release | None:
    """Return one release, withdrawn or not."""
    return _store.release(tx, package, version, platform)


def lowest_readers(tx: Transaction, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the lowest version known to read what each of (package, version) writes into a repository.

    That is what the manifest names as `readable_by`: where platforms differ, the highest. A version of which nothing is
    known is its own reader.
    """
    found = {each: each[1] for each in wanted}
    named: dict[tuple[str, str], list[Manifest]] = {}
    for release in _store.of_versions(tx, wanted):
        if release.manifest.readable_by:
            named.setdefault((release.package, release.version), []).append(release.manifest)
    for each, manifests in named.items():
        highest = manifests[0]
        for other in manifests[1:]:
            if other.version_scheme.is_newer(other.readable_by, highest.readable_by):
                highest = other
        found[each] = highest.readable_by
    return found


def deltas_to(tx: Transaction, package: str, version: str, platform: str) -> list[Delta]:
    """Return the deltas to a release, and why there are none from other versions, by the versions' names."""
    return [
        delta
        for delta in _store.every_delta(tx)
        if (delta.package, delta.version, delta.platform) == (package, version, platform)
    ]


def note_delta_downloads(tx: Transaction, counted: Mapping[tuple[str, str, str, str], int]) -> None:
    """Note how many hosts downloaded deltas, by package, version, platform and the base's version."""
    for names in sorted(counted):  # in one order everywhere, so that no two transactions wait for each other
        _store.note_delta_downloads(tx, names, counted[names])


def delta_figures(tx: Transaction) -> list[DeltaFigures]:
    """Return, for each package with deltas, how many there are, how often they were downloaded, and what that saved."""
    return _store.delta_figures(tx)


def find_all(tx: Transaction, package: str | None) -> list[Release]:
    """Return every release, the newest first."""
    return _store.every_release(tx, package)


def withdrawn(tx: Transaction) -> set[tuple[str, str, str]]:
    """Return the releases that were withdrawn, each as (package, version, platform)."""
    return _store.withdrawn(tx)


def count_releases(tx: Transaction) -> int:
    """Return how many releases there are, withdrawn ones included."""
    return _store.count(tx)
