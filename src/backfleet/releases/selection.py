"""Select the version that a client should have. Pure."""

from collections.abc import Sequence
from typing import Final

from backfleet.releases.model import Release
from backfleet.values import value_object
from backfleet_host import versions

MOST_LISTED: Final = 5  # versions in a message


@value_object
class Selection:
    """A target, or that there is nothing to do, or why there is no target."""

    target: Release | None = None
    already_current: bool = False
    refusal: str = ""  # NoRelease, NotAllowedFrom or Pinned
    text: str = ""  # why a named version is refused, and what to do; "" where the newest was asked for


def select(offered: Sequence[Release], *, current: str, pin: str) -> Selection:
    """Select the newest release that a client may move to.

    It is not withdrawn, is within the pin, and is never older than what is installed, unless that was withdrawn. If the
    client may not move there directly, an upgrade path of intermediate versions must lead there; the host takes it
    within one order.

    Args:
        offered: releases of one package, whose versions compare by its scheme.
        current: the installed version, "" if none is.
        pin: a range of versions, "" for any.
    """
    allowed = [release for release in _newest_first(offered) if release.version_scheme.within(release.version, pin)]
    if not allowed:
        return Selection(refusal="NoRelease")
    scheme = allowed[0].version_scheme
    forward = [release for release in allowed if _is_forward(scheme, release.version, current)]
    if not forward:
        return Selection(target=allowed[0]) if is_withdrawn(offered, current) else Selection(already_current=True)
    candidates = [candidate_of(release) for release in forward]
    reachable = next((r for r in forward if versions.upgrade_path(scheme, current, candidate_of(r), candidates)), None)
    return Selection(target=reachable) if reachable else Selection(refusal="NotAllowedFrom")


def select_named(offered: Sequence[Release], version: str, *, current: str, pin: str) -> Selection:
    """Select one version by name, if a client may move there. Arguments as `select`.

    It may be older than what is installed only if that was withdrawn: anything else that goes down is a roll-back.
    """
    candidates = _newest_first(offered)
    named = next((release for release in offered if release.version == version), None)
    if named is None or named.withdrawn_at is not None:
        return Selection(refusal="NoRelease", text=_not_offered(version, candidates, is_withdrawn=named is not None))
    scheme = named.version_scheme
    if not scheme.within(version, pin):
        text = f"{version} is not within the client's pin {pin}; name another version, or change the pin"
        return Selection(refusal="Pinned", text=text)
    if version == current:
        return Selection(target=named)
    if not _is_forward(scheme, version, current):
        text = (
            f"{version} is not newer than {current}, which is installed; an upgrade never goes down. To go down, roll "
            f"back (`backfleet client roll-back --version {version}`, RollBackClients)"
        )
        return (
            Selection(target=named)
            if is_withdrawn(offered, current)
            else Selection(refusal="NotAllowedFrom", text=text)
        )
    path = [candidate_of(release) for release in candidates if scheme.within(release.version, pin)]
    if versions.upgrade_path(scheme, current, candidate_of(named), path):
        return Selection(target=named)
    text = f"{version} cannot be reached from {current}; add the intermediate version that it requires"
    return Selection(refusal="NotAllowedFrom", text=text)


def is_withdrawn(offered: Sequence[Release], version: str) -> bool:
    """Return whether a version is one of these releases, and was withdrawn."""
    return any(release.version == version and release.withdrawn_at is not None for release in offered)


def _not_offered(version: str, candidates: Sequence[Release], *, is_withdrawn: bool) -> str:
    listed = ", ".join(release.version for release in candidates[:MOST_LISTED])
    found = f"offered are {listed}" if listed else "nothing is offered"
    if is_withdrawn:
        return f"{version} was withdrawn; {found}. Name another version, or offer it again (`backfleet release offer`)"
    return f"{version} is not offered on the client's channel for its platform; {found}. Name one of these, or add it"


def candidate_of(release: Release) -> versions.Candidate:
    """Return a release as upgrade paths see it."""
    return versions.Candidate(release.version, release.manifest.upgrades_from)


def newest(offered: Sequence[Release]) -> Release | None:
    """Return the newest release that is not withdrawn."""
    return next(iter(_newest_first(offered)), None)


def _newest_first(offered: Sequence[Release]) -> list[Release]:
    valid = [release for release in offered if release.withdrawn_at is None and release.order is not None]
    return sorted(valid, key=lambda release: release.order, reverse=True)


def _is_forward(scheme: versions.Scheme, version: str, current: str) -> bool:
    """Return whether a version is newer. From nothing, or from a version that cannot be compared, any other is."""
    return version != current if scheme.order_of(current) is None else scheme.is_newer(version, current)
