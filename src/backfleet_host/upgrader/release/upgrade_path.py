"""What stands between two versions: which may follow which, and which formats they write and read. Pure."""

from __future__ import annotations

from typing import List, Optional, Sequence

from backfleet_host import versions
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.versions import is_newer


def step_of(manifest: Manifest) -> versions.Step:
    """A release as the way sees it."""
    return versions.Step(manifest.version, manifest.upgrades_from)


def way(current: str, goal: Manifest, offered: Sequence[Manifest]) -> Optional[List[str]]:
    """As `versions.way`."""
    return versions.way(current, step_of(goal), [step_of(manifest) for manifest in offered])


def check_format(goal: Manifest, old: Optional[Manifest], oldest_reader: str) -> None:
    """A format is written only once all who must read it can: the version before it, for else there is no way back.

    Nor does a version come that cannot read what the one before it wrote.

    Raises:
        Refusal: RepositoryFormatConflict.
    """
    written = old.readable_by if old is not None and old.repository_format != goal.repository_format else ""
    if written and old is not None and is_newer(written, goal.version):
        text = f"{old.version} wrote a format that {written} and newer can read; {goal.version} cannot"
        raise Refusal("RepositoryFormatConflict", text)
    if not goal.readable_by:
        return
    before = old.version if old is not None and old.repository_format != goal.repository_format else ""
    for reader, who in ((before, "the way back"), (oldest_reader, "the oldest that must read this host's backups")):
        if reader and is_newer(goal.readable_by, reader):
            text = f"{goal.version} writes a format that {goal.readable_by} and newer can read; {reader} is {who}"
            raise Refusal("RepositoryFormatConflict", text)
