"""Which version a client should have: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from backfleet.releases import versions
from backfleet.releases.registry import Release


@dataclass(frozen=True, slots=True)
class Pick:
    """The answer: a target, or that there is nothing to do, or why there is none."""

    target: Release | None = None
    already_current: bool = False
    refusal: str = ""  # NoRelease or NotAllowedFrom


def pick(offered: Sequence[Release], *, current: str, pin: str) -> Pick:
    """The newest release that may be moved to from `current` ("" = nothing is installed).

    Not withdrawn, within the pin, never older than what is there. If it may not be reached directly, the host goes over
    stepping stones in one order: it is the target if such a way leads to it.
    """
    allowed = [release for release in _newest_first(offered) if versions.within(release.version, pin)]
    if not allowed:
        return Pick(refusal="NoRelease")
    forward = [release for release in allowed if _is_forward(release.version, current)]
    if not forward:
        return Pick(already_current=True)
    steps = [step_of(release) for release in forward]
    reachable = next((release for release in forward if versions.way(current, step_of(release), steps)), None)
    return Pick(target=reachable) if reachable else Pick(refusal="NotAllowedFrom")


def step_of(release: Release) -> versions.Step:
    """A release as the way sees it."""
    return versions.Step(release.version, release.manifest.upgrades_from)


def newest(offered: Sequence[Release]) -> Release | None:
    """The newest that is not withdrawn."""
    return next(iter(_newest_first(offered)), None)


def _newest_first(offered: Sequence[Release]) -> list[Release]:
    standing = [release for release in offered if release.withdrawn_at is None]
    return sorted(standing, key=lambda release: versions.readable(release.version), reverse=True)


def _is_forward(version: str, current: str) -> bool:
    """Whether it is a step forward. From nothing, or from a version that somebody else put there, every one is."""
    runs = versions.order_of(current)
    return version != current if runs is None else versions.readable(version) > runs
