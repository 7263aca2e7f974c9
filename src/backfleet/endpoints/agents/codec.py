"""What agents say and are told, as plain values. Source: agent wire protocol, sections 6, 8 and 13."""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from backfleet.commands import FinalReport, HandedInvocation, Handout

RETRY_SECONDS = 3  # when to come back after a refusal for want of room
HEARTBEAT_MS = 60_000  # honoured within 55,000 to 65,000
OUTPUT: Final = {"interval": 2000, "logQuota": 24_000, "skipEmpty": True, "sendStart": True}
LONGEST_ERROR_TEXT = 500  # characters kept
LONGEST_CODE = 60

# The user an agent is anyway. The official one refuses to be told that it should be root.
THEMSELVES: Final = ("", "root", "System")

_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")

# Endpoints that need no answer of ours but a correct one: a wrong type would make the agent fail or ask again.
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
    """The answer to a list request. Types are exact: one wrong one makes the agent drop the whole list."""
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
    if command.username not in THEMSELVES:
        task["username"] = command.username
    return {"task": task, "output": OUTPUT, "repeat": "Once"}


def has_booted(query: Mapping[str, str]) -> bool:
    """Whether a list request is the first one since its host booted."""
    return query.get("reason") == "startup" and query.get("cold_start") == "true"


def is_stopping(query: Mapping[str, str]) -> bool:
    """Whether a heart-beat is the last one before its host goes down. Our agent says so; the official one cannot."""
    return query.get("state") == "stopping"


def task_id(query: Mapping[str, str]) -> str:
    """The task a report is about; "" where it cannot be one of ours."""
    said = query.get("taskId", "")
    return said if _ID.fullmatch(said) else ""


def ending(kind: str, query: Mapping[str, str], output: bytes) -> FinalReport:
    """A terminal report. `exitcode` is lower case in `stopped` only; what cannot be read is left out, not refused."""
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
    """A whole number of at most so many bits, or None."""
    try:
        value = int(query[name])
    except (KeyError, ValueError):
        return None
    return value if abs(value) < 1 << bits else None


def _kept(text: str, longest: int) -> str:
    return text.replace("\0", "")[:longest]
