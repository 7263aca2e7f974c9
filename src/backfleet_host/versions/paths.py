"""The upgrade path from one version to another, through the intermediate versions that releases ask for."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence

from backfleet_host.versions.scheme import Scheme

LONGEST_UPGRADE_PATH = 8  # versions


class Candidate(NamedTuple):
    """A release as upgrade paths see it."""

    version: str
    upgrades_from: str  # the range of versions that may move here directly; "" = any


def upgrade_path(scheme: Scheme, current: str, goal: Candidate, offered: Sequence[Candidate]) -> Optional[List[str]]:
    """Find the shortest list of versions that leads from `current` to `goal`, each allowed from the one before it.

    It only goes forwards and never past the goal. Of equally short paths, the one over the newest versions is taken.

    Args:
        scheme: that of the package.

    Returns:
        The versions to install one after the other, the goal included; None if no path leads there.
    """
    if _may_follow(scheme, goal, current):  # the usual case: nothing need be sorted
        return [goal.version]
    between = _between(scheme, current, goal, offered)
    paths: Dict[str, List[str]] = {current: []}
    reached = [current]
    for _ in range(LONGEST_UPGRADE_PATH):
        last = next((version for version in reached if _may_follow(scheme, goal, version)), None)
        if last is not None:
            return [*paths[last], goal.version]
        fresh = []
        for candidate in between:
            before = next((v for v in reached if _is_step(scheme, v, candidate)), None)
            if before is not None and candidate.version not in paths:
                paths[candidate.version] = [*paths[before], candidate.version]
                fresh.append(candidate.version)
        reached = fresh
    return None


def _may_follow(scheme: Scheme, candidate: Candidate, current: str) -> bool:
    """Return whether a client of this version may move there directly. "" stands for no client, which may."""
    return not current or scheme.within(current, candidate.upgrades_from)


def _is_step(scheme: Scheme, before: str, candidate: Candidate) -> bool:
    return _may_follow(scheme, candidate, before) and scheme.is_newer(candidate.version, before)


def _between(scheme: Scheme, current: str, goal: Candidate, offered: Sequence[Candidate]) -> List[Candidate]:
    """Return the candidates between the two, the newest first."""
    begin, end = scheme.order_of(current), scheme.order_of(goal.version)
    if begin is None or end is None:
        return []
    ordered = [(scheme.order_of(candidate.version), candidate) for candidate in offered]
    found = [(order, candidate) for order, candidate in ordered if order is not None and begin < order < end]
    return [candidate for _, candidate in sorted(found, key=lambda pair: pair[0], reverse=True)]
