"""Rolls a version of the host program back that was kept, and whose agent does not work any more.

It is the program of the version before that does so, called by the watchdog's timer: it needs nothing of the new one,
and no network. A check fails if the agent was started again and again since the last one, or if its unit is up and no
agent holds the lock of the root. A server that is away is no failure: that agent runs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from backfleet_host import upgrader
from backfleet_host.agent import machine
from backfleet_host.agent.setup.systemd_unit import restarts_of, unit_name
from backfleet_host.files import is_locked, write_file
from backfleet_host.layout import HOST_PACKAGE, Places

MOST_RESTARTS = 4  # between two checks of an agent that works; one that crashes has some 30 in two minutes
FAILED_CHECKS = 2  # one after the other, before the version is rolled back
WATCHED_SECONDS = 10.0  # for which an agent that seems not to work is watched
AGAIN_SECONDS = 0.5
UP = ("active", "activating", "deactivating", "reloading")  # of a unit that somebody wants to run

_Starts = Tuple[str, int]


def check_once(
    root: Path,
    starts_of: Callable[[str], _Starts] = restarts_of,
    sleep: Callable[[float], None] = time.sleep,
) -> List[str]:
    """Check the agent's starts, and roll the current version back if enough checks failed; return what was done.

    Args:
        root: The folder of this host, whose agent runs from the package.
        starts_of: Returns the state of a unit, and how often systemd has started it again.
        sleep: Waits for so many seconds.

    Raises:
        NotEnrolled: the root belongs to no server.
        OSError: what was seen cannot be written, or the disk refuses the way back.
    """
    places, package = Places(root), root / HOST_PACKAGE
    state, restarts = starts_of(unit_name(root))
    seen = _seen(places)
    now: Dict[str, Any] = {
        "version": (package / "current").resolve().name,
        "boot": machine.boot_id(),
        "restarts": restarts,
        "failed": 0,
    }
    is_same = all(seen.get(name) == now[name] for name in ("version", "boot"))
    more = restarts - int(seen.get("restarts", restarts)) if is_same else 0
    if _fails(places, state, more, sleep):
        now["failed"] = 1 + (int(seen.get("failed", 0)) if is_same else 0)
    write_file(places.starts, json.dumps(now).encode(), is_only_writer=True)
    if now["failed"] < FAILED_CHECKS:
        return []
    reason = f"{now['version']} was kept, and its agent does not run any more ({more} starts since the last check)"
    report = upgrader.roll_back_late(upgrader.installation_at(root), HOST_PACKAGE, reason)
    return [] if report is None else [f"{report.code}: {report.message}"]


def _seen(places: Places) -> Dict[str, Any]:
    try:
        found = json.loads(places.starts.read_bytes())
        return {**found, "restarts": int(found["restarts"]), "failed": int(found["failed"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _fails(places: Places, state: str, more: int, sleep: Callable[[float], None]) -> bool:
    """Return whether this check fails: the agent is started again and again, or its unit is up without one."""
    if state not in UP:
        return False  # somebody has stopped it
    seen = []
    for _ in range(int(WATCHED_SECONDS / AGAIN_SECONDS)):
        seen.append((is_locked(places.lock), places.ready.exists()))
        if more <= MOST_RESTARTS and seen[-1][0]:
            return False
        sleep(AGAIN_SECONDS)
    has_agent = all(held and ready for held, ready in seen)  # one that somebody started by hand, beside the unit
    return not has_agent
