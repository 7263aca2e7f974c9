"""How this host stands: enrolled or not, running or not, what waits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

from backfleet_host.agent.execution.task_journal import Journal
from backfleet_host.identity import NotEnrolled, read_identity
from backfleet_host.layout import Places, hold


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


def lines_of(stands: Dict[str, Any]) -> List[str]:
    """The whole status in lines for people."""
    agent = stands["agent"]
    if not agent["enrolled"]:
        return [agent["why"]]
    lines = [
        f"instance   {agent['instance_id']} {agent['name']}".rstrip(),
        f"server     {agent['server']}",
        f"agent      {'running' if agent['running'] else 'not running'}, version {stands['version']}",
    ]
    for name, title in (("tasks_open", "open"), ("reports_waiting", "unsent")):
        if agent[name]:
            lines.append(f"{title:10} {', '.join(agent[name])}")
    for package in stands["packages"]:
        lines.append(_package_line(package))
        lines += [f"{'':10} changed: {found}" for found in package["drift"]]
        lines += [f"{'':10} {version} is still run by {pids}" for version, pids in package["in_use"].items()]
    return lines


def _package_line(package: Dict[str, Any]) -> str:
    line = f"{package['package']:10} {package['current'] or 'not installed'}"
    if package["previous"]:
        line += f", before it {package['previous']}"
    return line + (", an attempt is open: `backfleet-host recover`" if package["attempt_open"] else "")
