"""Queries and answers of the agent protocol as plain values. Source: agent wire protocol, sections 6, 8 and 13."""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from backfleet.commands import FinalReport, HandedInvocation, Handout

RETRY_SECONDS = 3  # after which an agent may try a full node again
HEARTBEAT_MS = 60_000  # agents accept 55,000 to 65,000
OUTPUT: Final = {"interval": 2000, "logQuota": 24_000, "skipEmpty": True, "sendStart": True}
LONGEST_ERROR_TEXT = 500  # characters
LONGEST_CODE = 60

# The user that an agent runs as anyway. The official agent refuses a task that names root.
OWN_USERS: Final = ("", "root", "System")

PROCESS_TREE: Final = "ProcessTree"

_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")

# Paths with a constant answer. Its types must be exact: a wrong one would make the agent fail or ask again.
BENIGN: Final[Mapping[str, Any]] = {
    "/api/metrics": {},
    "/api/v1/exception/client_report": {},
    "/api/v1/update/update_check": {"need_update": 0},
    "/api/v1/plugin/report_status": {"code": 200, "scanInterval": 900, "pullInterval": 300, "reportType": 0},
    "/api/v2/plugin/update_check": {"nextInterval": 1800, "plugin": []},
    "/api/v1/plugin/list": {"code": 200, "pluginList": []},
    "/api/v1/session/list": {"code": 200, "session": []},
    "/api/v1/session/status": {},
    "/api/gshell": {"gshellSupport": "false"},
}


def task_list(instance_id: str, handout: Handout) -> dict[str, Any]:
    """Return the answer to a list request. Its types must be exact: one wrong type makes the agent drop the list."""
    return {
        "code": 200,
        "instanceId": instance_id,
        "run": [_run(command) for command in handout.run],
        "stop": [{"task": {"taskID": task_id}, "output": OUTPUT, "repeat": "Once"} for task_id in handout.stop],
        "test": [],
        "file": [],
        "session": [],
    }


def _run(command: HandedInvocation) -> dict[str, Any]:
    content = base64.b64encode(command.content.encode()).decode()
    task = {
        "taskID": command.task_id,
        "type": command.kind,
        "commandContent": content,
        "timeOut": str(command.timeout_seconds),  # a string, or the list is dropped
        "invokeVersion": 0,
    }
    if command.working_directory:
        task["workingDirectory"] = command.working_directory
    if command.username not in OWN_USERS:
        task["username"] = command.username
    if command.termination == PROCESS_TREE:  # the official agent of the protocol page ignores it; newer ones know it
        task["terminationMode"] = PROCESS_TREE
    return {"task": task, "output": OUTPUT, "repeat": "Once"}


def has_booted(query: Mapping[str, str]) -> bool:
    """Return whether a list request is the first one since the host booted."""
    return query.get("reason") == "startup" and query.get("cold_start") == "true"


def has_started(query: Mapping[str, str]) -> bool:
    """Return whether a list request is the first one of its agent's process."""
    return query.get("reason") == "startup"


def is_stopping(query: Mapping[str, str]) -> bool:
    """Return whether a heartbeat is the last one before the host shuts down. Only our own agent reports that."""
    return query.get("state") == "stopping"


def task_id(query: Mapping[str, str]) -> str:
    """Return the id of the task that a report is about; "" if it cannot be one of ours."""
    found = query.get("taskId", "")
    return found if _ID.fullmatch(found) else ""


def final_report(kind: str, query: Mapping[str, str], output: bytes) -> FinalReport:
    """Read a final report. What cannot be read is left out: the agent would drop a report that is refused.

    `stopped` alone spells `exitcode` in lower case.
    """
    if kind == "invalid":
        code, text = query.get("param", ""), query.get("value", "")
    else:
        code, text = query.get("errCode", ""), query.get("errDesc", "")
    return FinalReport(
        kind,
        exit_code=number(query, "exitcode" if kind == "stopped" else "exitCode", 31),
        error_code=_kept(code, LONGEST_CODE),
        error_text=_kept(text, LONGEST_ERROR_TEXT),
        dropped=max(number(query, "dropped", 48) or 0, 0),
        output=output,
        started_ms=number(query, "start", 62),
        ended_ms=number(query, "end", 62),
    )


def number(query: Mapping[str, str], name: str, bits: int) -> int | None:
    """Read a whole number of at most `bits` bits; None if there is none."""
    try:
        value = int(query[name].encode("ascii"))  # int takes the digits of every script
    except (KeyError, ValueError):
        return None
    return value if abs(value) < 1 << bits else None


def _kept(text: str, longest: int) -> str:
    return text.replace("\0", "")[:longest]
