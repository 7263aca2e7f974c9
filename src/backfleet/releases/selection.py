"""Select the version that a client should have. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from backfleet.releases.model import Release
from backfleet_host import versions


@dataclass(frozen=True, slots=True)
class Selection:
    """A target, or that there is nothing to do, or why there is no target."""

    target: Release | None = None
    already_current: bool = False
    refusal: str = ""  # NoRelease or NotAllowedFrom


def select(offered: Sequence[Release], *, current: str, pin: str) -> Selection:
    """Select the newest release that a client may move to.

    It is not withdrawn, is within the pin, and is never older than what is installed. If the client may not move there
    directly, an upgrade path of intermediate versions must lead there; the host takes it within one order.

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
        return Selection(already_current=True)
    candidates = [candidate_of(release) for release in forward]
    reachable = next((r for r in forward if versions.upgrade_path(scheme, current, candidate_of(r), candidates)), None)
    return Selection(target=reachable) if reachable else Selection(refusal="NotAllowedFrom")


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
