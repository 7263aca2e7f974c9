"""How the versions of each package compare. The first release of a package fixes its scheme; an operator may change it.

A change is allowed only if every offered release keeps a place of its own in the new order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from backfleet.releases import _store
from backfleet.releases.errors import ReleaseConflict, ReleaseRefused
from backfleet.releases.model import Release
from backfleet.releases.repository import Repository
from backfleet.releases.signed_metadata import publish
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet_host.versions import FIRST_SCHEME, SCHEMES, Scheme, scheme_of


class UnknownPackage(LookupError):
    """There is no release of this package, so that no scheme is fixed."""


@value_object
class SchemeReview:
    """What a package's releases are in the order of a scheme: to be looked at before the scheme is changed."""

    package: str
    current: str  # the package's scheme
    scheme: str  # the one that is reviewed
    versions: tuple[str, ...]  # the newest first
    problems: tuple[str, ...]  # why the package cannot have it


def scheme_for(tx: Transaction, package: str, asked: str | None) -> str | None:
    """Return the scheme by which the next release of a package compares; None if its format decides.

    Args:
        asked: the scheme that the administrator names; None names none.

    Raises:
        ReleaseConflict: the package has another scheme than the one asked for.
        ReleaseRefused: there is no such scheme.
    """
    fixed = _store.scheme(tx, package)
    if asked is not None:
        _known(asked)
    if fixed is not None and asked not in (None, fixed):
        raise ReleaseConflict(
            f"the versions of {package} compare by the scheme {fixed}, not {asked}, since its first release; "
            f"`backfleet release scheme {package} {asked}` shows the new order and changes it"
        )
    return fixed or asked


def schemes_of(tx: Transaction, packages: Iterable[str]) -> Mapping[str, str]:
    """Return the scheme of each of these packages. One without releases has the first scheme."""
    named = set(packages)
    return dict.fromkeys(named, FIRST_SCHEME) | _store.schemes(tx, named)


def review_scheme(tx: Transaction, package: str, name: str | None) -> SchemeReview:
    """Return the releases of a package in the order of a scheme; None reviews the package's own.

    Raises:
        UnknownPackage: it has no releases.
        ReleaseRefused: there is no such scheme.
    """
    current = _store.scheme(tx, package)
    if current is None:
        raise UnknownPackage(package)
    wanted, found = _known(name or current), _store.every_release(tx, package)
    names = {release.version for release in found if wanted.order_of(release.version) is not None}
    newest_first = sorted(sorted(names), key=wanted.order_of, reverse=True)
    return SchemeReview(package, current, wanted.name, tuple(newest_first), tuple(_problems(wanted, found)))


def change_scheme(tx: Transaction, repository: Repository, package: str, name: str, *, now: datetime) -> None:
    """Let the versions of a package compare by another scheme, and publish that in the signed metadata.

    Raises:
        UnknownPackage: the package has no releases.
        ReleaseRefused: there is no such scheme.
        ReleaseConflict: a release would have no place in the new order, or share it with another.
    """
    _store.lock(tx)
    review = review_scheme(tx, package, name)
    if review.problems:
        raise ReleaseConflict(f"the versions of {package} cannot compare by {name}: {'; '.join(review.problems[:5])}")
    if review.current != name:
        _store.set_scheme(tx, package, name)
        publish(tx, repository, now=now)


def fix_scheme(tx: Transaction, package: str, name: str) -> None:
    """Note the scheme of a package with its first release. The caller holds the lock of the releases.

    Raises:
        ReleaseConflict: the package has another one by now.
    """
    fixed = _store.scheme(tx, package)
    if fixed is None:
        _store.set_scheme(tx, package, name)
    elif fixed != name:
        raise ReleaseConflict(
            f"the versions of {package} compare by {fixed}, not {name}; `backfleet release scheme` changes that"
        )


def check_has_own_place(scheme: Scheme, version: str, known: Iterable[Release]) -> None:
    """Check that no other version has the same place in the order: clients could be moved to either, or to neither.

    Raises:
        ReleaseConflict: one has.
    """
    for release in known:
        if release.version != version and scheme.is_equal(release.version, version):
            state = "is there already" if release.withdrawn_at is None else "was there and is withdrawn"
            raise ReleaseConflict(
                f"version {version} of {release.package} is equal to {release.version} in the scheme {scheme.name}, "
                f"and {release.version} {state}: use that name, or a version that is newer"
            )


def check_readable(scheme: Scheme, version: str) -> None:
    """Check that a version has a place in the order of a scheme.

    Raises:
        ReleaseRefused: it has none.
    """
    if scheme.order_of(version) is not None:
        return
    others = [name for name in SCHEMES if scheme_of(name).order_of(version) is not None]
    advice = f"; it can be by {' or '.join(others)} (`--scheme` of a first release)" if others else ""
    raise ReleaseRefused(
        f"version {version!r} cannot be compared with others by the scheme {scheme.name}, "
        f"whose versions are such as {scheme.example}{advice}"
    )


def _known(name: str) -> Scheme:
    if name not in SCHEMES:
        raise ReleaseRefused(f"version scheme {name[:40]!r} is not one of {', '.join(SCHEMES)}")
    return scheme_of(name)


def _problems(scheme: Scheme, releases: Sequence[Release]) -> list[str]:
    """Return why releases cannot be compared by a scheme, one sentence for each. Withdrawn ones need not be."""
    offered = [release for release in releases if release.withdrawn_at is None]
    names = sorted({release.version for release in offered})
    readable = [name for name in names if scheme.order_of(name) is not None]
    found = [f"version {name} cannot be compared" for name in names if name not in readable]
    ordered = sorted(readable, key=scheme.order_of)
    found += [
        f"{one} and {other} would be equal; withdraw one of them"
        for one, other in pairwise(ordered)
        if scheme.is_equal(one, other)
    ]
    ranges = {(release.version, release.manifest.upgrades_from) for release in offered}
    return found + [
        f"upgrades_from of {version}, {allowed}, cannot be read"
        for version, allowed in sorted(ranges)
        if not scheme.is_range(allowed)
    ]
