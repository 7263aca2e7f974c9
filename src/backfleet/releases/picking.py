"""Which version a client should have: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from backfleet.releases.manifest import ReleaseRefused, order_of
from backfleet.releases.registry import Release


@dataclass(frozen=True, slots=True)
class Pick:
    """The answer: a target, or that there is nothing to do, or why there is none."""

    target: Release | None = None
    already_current: bool = False
    refusal: str = ""  # NoRelease or NotAllowedFrom


def pick(offered: Sequence[Release], *, current: str, pin: str) -> Pick:
    """The newest release that may be moved to from `current` ("" = nothing is installed).

    Not withdrawn, within the pin, never older than what is there. If the newest may not be reached directly, the newest
    that may is the stepping stone, as long as it is a step forward.
    """
    allowed = sorted(
        (r for r in offered if r.withdrawn_at is None and _within(r.version, pin)),
        key=lambda r: order_of(r.version),
        reverse=True,
    )
    if not allowed:
        return Pick(refusal="NoRelease")
    if current and not _is_newer(allowed[0].version, current):
        return Pick(already_current=True)
    for release in allowed:
        if current and not _is_newer(release.version, current):
            break
        if release.manifest.accepts(current):
            return Pick(target=release)
    return Pick(refusal="NotAllowedFrom")


def newest(offered: Sequence[Release]) -> Release | None:
    """The newest that is not withdrawn."""
    return max((r for r in offered if r.withdrawn_at is None), key=lambda r: order_of(r.version), default=None)


def _is_newer(version: str, than: str) -> bool:
    try:
        return order_of(version) > order_of(than)
    except ReleaseRefused:
        return version != than  # a version somebody else put there: anything of ours is a step forward


def _within(version: str, pin: str) -> bool:
    if not pin:
        return True
    try:
        return SpecifierSet(pin).contains(order_of(version), prereleases=True)
    except InvalidSpecifier:
        return False
