"""Compare versions, and find the upgrade path from one to another. Pure, and the same on both sides.

Source: Python packaging, "Version specifiers". Clients number themselves in simpler ways, which read the same there.
The library that reads versions is imported when it is first needed: a host that only reports its status needs none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

LONGEST_RANGE = 500  # characters
LONGEST_UPGRADE_PATH = 8  # versions


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Version]:
    """Return a version in the form in which it compares with others; None if it does not compare."""
    from packaging.version import InvalidVersion, Version

    try:
        order = Version(version.replace("~", "."))  # Debian writes 1.2~rc1
    except InvalidVersion:
        return None
    return order if "~" not in version or order.is_prerelease else None  # 1.2~3 is before 1.2, and 1.2.3 is not


def within(version: str, allowed: str) -> bool:
    """Return whether a version is in a range such as `>=1.70,<1.75` ("" = any).

    A range or a version that cannot be read allows nothing. A pre-release is allowed: it was offered on purpose.
    """
    if not allowed:
        return True
    order, wanted = order_of(version), _range(allowed)
    return order is not None and wanted is not None and wanted.contains(order, prereleases=True)


def is_range(text: str) -> bool:
    """Return whether this is a range of versions."""
    return len(text) <= LONGEST_RANGE and _range(text) is not None


@lru_cache(maxsize=1024)
def _range(text: str) -> Optional[SpecifierSet]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None


def is_newer(one: str, other: str) -> bool:
    """Return whether one version is newer than another; True if they do not compare, because it may be."""
    first, second = order_of(one), order_of(other)
    return first is None or second is None or first > second


class Candidate(NamedTuple):
    """A release as upgrade paths see it."""

    version: str
    upgrades_from: str  # the range of versions that may move here directly; "" = any

    def may_follow(self, current: str) -> bool:
        """Return whether a client of this version may move here directly. "" stands for no client, which may."""
        return not current or within(current, self.upgrades_from)


def upgrade_path(current: str, goal: Candidate, offered: Sequence[Candidate]) -> Optional[List[str]]:
    """Find the shortest list of versions that leads from `current` to `goal`, each allowed from the one before it.

    It only goes forwards and never past the goal. Of equally short paths, the one over the newest versions is taken.

    Returns:
        The versions to install one after the other, the goal included; None if no path leads there.
    """
    if goal.may_follow(current):  # the usual case: nothing need be sorted
        return [goal.version]
    between = _between(current, goal, offered)
    paths: Dict[str, List[str]] = {current: []}
    reached = [current]
    for _ in range(LONGEST_UPGRADE_PATH):
        last = next((version for version in reached if goal.may_follow(version)), None)
        if last is not None:
            return [*paths[last], goal.version]
        fresh = []
        for candidate in between:
            before = next((v for v in reached if candidate.may_follow(v) and is_newer(candidate.version, v)), None)
            if before is not None and candidate.version not in paths:
                paths[candidate.version] = [*paths[before], candidate.version]
                fresh.append(candidate.version)
        reached = fresh
    return None


def _between(current: str, goal: Candidate, offered: Sequence[Candidate]) -> List[Candidate]:
    """Return the candidates between the two, the newest first."""
    begin, end = order_of(current), order_of(goal.version)
    if begin is None or end is None:
        return []
    ordered = [(order_of(candidate.version), candidate) for candidate in offered]
    found = [(order, candidate) for order, candidate in ordered if order is not None and begin < order < end]
    return [candidate for _, candidate in sorted(found, key=lambda pair: pair[0], reverse=True)]
