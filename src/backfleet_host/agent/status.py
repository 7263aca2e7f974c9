"""The status of this host: enrolled or not, running or not, and which tasks and reports wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from backfleet_host.agent.execution.task_journal import TaskJournal
from backfleet_host.files import is_locked
from backfleet_host.identity import NotEnrolled, read_identity
from backfleet_host.layout import Places


def status(root: Path) -> Dict[str, Any]:
    """Return the agent's part of `backfleet-host status`, under the keys of its JSON. Changes nothing."""
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
        "running": is_locked(places.lock),
        **_tasks(places),
    }


def _tasks(places: Places) -> Dict[str, Any]:
    journal = TaskJournal(places.tasks)
    return {
        "tasks_open": [folder.key for folder in journal.unfinished()],
        "reports_waiting": [folder.key for folder in journal.unacknowledged()],
    }


def lines_of(host_status: Dict[str, Any]) -> List[str]:
    """Return the status of host and clients as lines for people."""
    agent = host_status["agent"]
    if not agent["enrolled"]:
        return [agent["why"]]
    lines = [
        f"instance   {agent['instance_id']} {agent['name']}".rstrip(),
        f"server     {agent['server']}",
        f"agent      {'running' if agent['running'] else 'not running'}, version {host_status['version']}",
    ]
    for name, title in (("tasks_open", "open"), ("reports_waiting", "unsent")):
        if agent[name]:
            lines.append(f"{title:10} {', '.join(agent[name])}")
    for package in host_status["packages"]:
        lines.append(_package_line(package))
        if package.get("adoption_refused"):
            lines.append(f"{'':10} not taken over, and runs as before: {package['adoption_refused']}")
        lines += [f"{'':10} changed: {found}" for found in package["drift"]]
        lines += [
            f"{'':10} {version} is still in use by the processes {pids}" for version, pids in package["in_use"].items()
        ]
    return lines


def _package_line(package: Dict[str, Any]) -> str:
    line = f"{package['package']:10} {package['current'] or 'not installed'}"
    if package["previous"]:
        line += f", previously {package['previous']}"
    if package.get("adopted"):
        line += f", in the place of {', '.join(package['adopted'])}"
    return line + (
        ", an attempt runs or was cut off: `backfleet-host recover` finishes it" if package["attempt_open"] else ""
    )
