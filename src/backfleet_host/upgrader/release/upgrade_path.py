"""Which versions an upgrade goes through, and whether the formats that they write and read agree. Pure."""

from __future__ import annotations

from typing import List, Optional, Sequence

from backfleet_host import versions
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.errors import OrderFailed

ROLL_BACK = "roll-back"  # the kind of order by which a host returns to its own previous version


def candidate_of(manifest: Manifest) -> versions.Candidate:
    """Return a release as upgrade paths see it."""
    return versions.Candidate(manifest.version, manifest.upgrades_from)


def find_path(current: str, goal: Manifest, offered: Sequence[Manifest]) -> Optional[List[str]]:
    """Return the versions to go through, the goal last; None if there is no path. As `versions.upgrade_path`."""
    candidates = [candidate_of(manifest) for manifest in offered]
    return versions.upgrade_path(goal.version_scheme, current, candidate_of(goal), candidates)


def may_go_down(goal: str, *, kind: str, previous: str, is_allowed: bool, is_withdrawn: bool) -> bool:
    """Return whether an order may install a version that is older than the installed one.

    Whoever controls the server can name any version that is still offered, also one with a known weakness. So the host
    decides.

    Args:
        kind: the order's.
        previous: the version that the host ran and verified before the installed one; "" = none.
        is_allowed: the host policy says so.
        is_withdrawn: signed metadata does not name the installed version any more.
    """
    return is_allowed or is_withdrawn or (kind == ROLL_BACK and goal == previous != "")


def check_format(goal: Manifest, old: Optional[Manifest], oldest_reader: str) -> None:
    """Check that everybody who must read the repository can read what each version writes.

    The goal must be able to read what the old version wrote. If the goal writes a new format, the old version must be
    able to read it, because a rollback returns to it; and so must `oldest_reader`.

    Args:
        oldest_reader: the lowest version that must read this host's backups; "" = no other must.

    Raises:
        OrderFailed: RepositoryFormatConflict.
    """
    is_newer = goal.version_scheme.is_newer
    changes_format = old is not None and old.repository_format != goal.repository_format
    if old is not None and changes_format and old.readable_by and is_newer(old.readable_by, goal.version):
        text = f"{old.version} wrote a format that {old.readable_by} and newer can read; {goal.version} cannot read it"
        raise OrderFailed("RepositoryFormatConflict", text)
    if not goal.readable_by:
        return
    before = old.version if old is not None and changes_format else ""
    readers = (
        (before, "is the version to roll back to"),
        (oldest_reader, "is the oldest version that must read this host's backups"),
    )
    for reader, role in readers:
        if reader and is_newer(goal.readable_by, reader):
            text = f"{goal.version} writes a format that {goal.readable_by} and newer can read; {reader} {role}"
            raise OrderFailed("RepositoryFormatConflict", text)
