"""How this host stands: enrolled or not, running or not, what waits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

from .identity import NotEnrolled, read_identity
from .journal import Journal
from .places import Places, hold


def standing(root: Path) -> Dict[str, Any]:
    """The agent's part of `backfleet-host status`. Changes nothing."""
    places = Places(root)
    try:
        identity = read_identity(places)
    except NotEnrolled as problem:
        return {"enrolled": False, "why": str(problem)}
    return {
        "enrolled": True,
        "instance_id": identity.instance_id,
        "server": identity.server,
        "name": identity.name,
        "enrolled_at": identity.enrolled_at,
        "running": _is_held(places.lock),
        **_tasks(places),
    }


def _tasks(places: Places) -> Dict[str, Any]:
    journal = Journal(places.tasks)
    return {
        "tasks_open": [folder.key for folder in journal.unfinished()],
        "reports_waiting": [folder.key for folder in journal.unacknowledged()],
    }


def _is_held(lock: Path) -> bool:
    held = hold(lock)
    if held is None:
        return True
    os.close(held)
    return False
