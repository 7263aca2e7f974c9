"""The way from one version to another, where a release may not be reached from everywhere: pure."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

from backfleet_host.upgrader.manifest import Manifest
from backfleet_host.upgrader.refusal import Refusal

LONGEST_WAY = 8  # versions


def allows(manifest: Manifest, current: str) -> bool:
    """Whether a client of this version may move to that release directly. "" stands for no client, which may."""
    if not manifest.upgrades_from or not current:
        return True
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(manifest.upgrades_from, prereleases=True).contains(Version(current), prereleases=True)
    except InvalidVersion:
        return False


def way(current: str, goal: Manifest, offered: Sequence[Manifest]) -> Optional[List[str]]:
    """The shortest list of versions that leads from `current` to `goal`, each allowed from the one before it.

    Only forwards and never past the goal; of equally short ways the one over the newest stones. None if there is none.
    """
    stones = _between(current, goal, offered)
    ways: Dict[str, List[str]] = {current: []}
    reached = [current]
    for _ in range(LONGEST_WAY):
        if any(allows(goal, version) for version in reached):
            last = next(version for version in reached if allows(goal, version))
            return [*ways[last], goal.version]
        fresh = []
        for stone in stones:
            before = next((version for version in reached if allows(stone, version)), None)
            if before is not None and stone.version not in ways and _is_newer(stone.version, before):
                ways[stone.version] = [*ways[before], stone.version]
                fresh.append(stone.version)
        reached = fresh
    return None


def check_format(goal: Manifest, old: Optional[Manifest], oldest_reader: str) -> None:
    """A format is written only once all who must read it can: the version before it, for else there is no way back.

    Nor does a version come that cannot read what the one before it wrote.

    Raises:
        Refusal: RepositoryFormatConflict.
    """
    written = old.readable_by if old is not None and old.repository_format != goal.repository_format else ""
    if written and old is not None and _is_newer(written, goal.version):
        text = f"{old.version} wrote a format that {written} and newer can read; {goal.version} cannot"
        raise Refusal("RepositoryFormatConflict", text)
    if not goal.readable_by:
        return
    before = old.version if old is not None and old.repository_format != goal.repository_format else ""
    for reader, who in ((before, "the way back"), (oldest_reader, "the oldest that must read this host's backups")):
        if reader and _is_newer(goal.readable_by, reader):
            text = f"{goal.version} writes a format that {goal.readable_by} and newer can read; {reader} is {who}"
            raise Refusal("RepositoryFormatConflict", text)


def _between(current: str, goal: Manifest, offered: Sequence[Manifest]) -> List[Manifest]:
    from packaging.version import InvalidVersion, Version

    found = []
    for manifest in offered:
        try:
            version = Version(manifest.version)
            if Version(current) < version < Version(goal.version):
                found.append((version, manifest))
        except InvalidVersion:
            continue
    return [manifest for _, manifest in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _is_newer(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) > Version(other)
    except InvalidVersion:
        return True
