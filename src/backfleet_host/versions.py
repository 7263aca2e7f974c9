"""How versions compare, and the way from one to another over stepping stones: pure, and the same on both sides.

Source: Python packaging, "Version specifiers". Clients number themselves in simpler ways, which read the same there.
What reads versions is imported when it is first needed: a host that only tells how it stands has no use for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

LONGEST_RANGE = 500  # characters
LONGEST_WAY = 8  # versions


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Version]:
    """A version as it is compared with others; None if it cannot be."""
    from packaging.version import InvalidVersion, Version

    try:
        order = Version(version.replace("~", "."))  # Debian writes 1.2~rc1
    except InvalidVersion:
        return None
    return order if "~" not in version or order.is_prerelease else None  # 1.2~3 is before 1.2, and 1.2.3 is not


def within(version: str, allowed: str) -> bool:
    """Whether a version is in a range such as `>=1.70,<1.75` ("" = any).

    A range or a version that cannot be read allows nothing. A pre-release counts: whoever offers it means it.
    """
    if not allowed:
        return True
    order, wanted = order_of(version), _range(allowed)
    return order is not None and wanted is not None and wanted.contains(order, prereleases=True)


def is_range(text: str) -> bool:
    """Whether this is a range of versions."""
    return len(text) <= LONGEST_RANGE and _range(text) is not None


@lru_cache(maxsize=1024)
def _range(text: str) -> Optional[SpecifierSet]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None


def is_newer(one: str, other: str) -> bool:
    """Whether one version is newer than another. If they cannot be compared it may be, and counts as such."""
    first, second = order_of(one), order_of(other)
    return first is None or second is None or first > second


class Step(NamedTuple):
    """A release as the way sees it."""

    version: str
    upgrades_from: str  # the range of versions that may move here directly; "" = any

    def may_follow(self, current: str) -> bool:
        """Whether a client of this version may move here directly. "" stands for no client, which may."""
        return not current or within(current, self.upgrades_from)


def way(current: str, goal: Step, offered: Sequence[Step]) -> Optional[List[str]]:
    """The shortest list of versions that leads from `current` to `goal`, each allowed from the one before it.

    Only forwards and never past the goal; of equally short ways the one over the newest stones. None if there is none.
    """
    if goal.may_follow(current):  # as most do: nothing need be sorted
        return [goal.version]
    stones = _between(current, goal, offered)
    ways: Dict[str, List[str]] = {current: []}
    reached = [current]
    for _ in range(LONGEST_WAY):
        last = next((version for version in reached if goal.may_follow(version)), None)
        if last is not None:
            return [*ways[last], goal.version]
        fresh = []
        for stone in stones:
            before = next((v for v in reached if stone.may_follow(v) and is_newer(stone.version, v)), None)
            if before is not None and stone.version not in ways:
                ways[stone.version] = [*ways[before], stone.version]
                fresh.append(stone.version)
        reached = fresh
    return None


def _between(current: str, goal: Step, offered: Sequence[Step]) -> List[Step]:
    """What lies between the two, the newest first."""
    begin, end = order_of(current), order_of(goal.version)
    if begin is None or end is None:
        return []
    placed = [(order_of(step.version), step) for step in offered]
    found = [(order, step) for order, step in placed if order is not None and begin < order < end]
    return [step for _, step in sorted(found, key=lambda pair: pair[0], reverse=True)]
