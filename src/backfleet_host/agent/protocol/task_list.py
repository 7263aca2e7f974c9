"""The task list that the server sends, read into plain values (protocol page, section 6.2)."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

LEAST_QUOTA = 12000  # bytes; protocol page, section 7.2
MOST_QUOTA = 1 << 20  # bytes of output of one task that are kept in memory
LEAST_INTERVAL_MS, MOST_INTERVAL_MS = 1000, 60_000
DEFAULT_TIMEOUT = 3600  # seconds, for a task whose own cannot be read
LONGEST_CONTENT = 1 << 20  # characters of base64

_ID = re.compile(r"[A-Za-z0-9-]{1,128}")


class NotATaskList(ValueError):
    """The answer of the server is not a JSON object."""


class Unusable(ValueError):
    """An entry of a list, or a task in the journal, cannot be used; the text says why."""


@dataclass(frozen=True)
class Task:
    """A task as the server handed it out. Each pair of `id` and `invoke_version` is carried out at most once.

    The names of the fields are those of the journal's `task.json`: other builds of the agent read it.
    """

    id: str
    invoke_version: int = 0
    type: str = ""
    content: str = ""  # base64
    timeout: int = DEFAULT_TIMEOUT  # seconds; 0 = none
    working_directory: str = ""
    user: str = ""
    parameters: Dict[str, str] = dataclasses.field(default_factory=dict)
    substitutes: bool = False  # whether {{ACS::Name}} in the content is replaced
    repeats: bool = False
    in_container: bool = False
    interval_ms: int = LEAST_INTERVAL_MS
    quota: int = LEAST_QUOTA  # bytes
    skip_empty: bool = False
    send_start: bool = False
    kills_tree: bool = False  # time-out and stop end every process that the script started

    @property
    def key(self) -> str:
        """The name of the task's folder in the journal."""
        return f"{self.id}.iv{self.invoke_version}" if self.invoke_version else self.id

    def script(self) -> str:
        """Return the content as text.

        Raises:
            Unusable: it is not base64, not UTF-8, or too long.
        """
        if len(self.content) > LONGEST_CONTENT:
            raise Unusable(f"the content is longer than {LONGEST_CONTENT} characters")
        try:
            return base64.b64decode(self.content, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Unusable("illegal base64 data, or not UTF-8") from None

    def to_json(self) -> bytes:
        """Return the task as the journal keeps it. Builds before `kills_tree` read it, too, where it is not needed."""
        fields = dataclasses.asdict(self)
        if not self.kills_tree:
            del fields["kills_tree"]
        return json.dumps(fields, sort_keys=True).encode()


@dataclass(frozen=True)
class TaskList:
    """Everything that one answer hands out."""

    run: Tuple[Task, ...] = ()
    stop: Tuple[Task, ...] = ()
    test: Tuple[Task, ...] = ()
    files: Tuple[str, ...] = ()  # ids of file tasks
    try_again: bool = False  # the server answered with code 408: it has no list yet

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do. Entries of `test` do not count (section 6.1)."""
        return not (self.run or self.stop or self.files)


def read_task(content: bytes) -> Task:
    """Return the task that the journal keeps.

    Raises:
        Unusable: the content was not written by this program.
    """
    try:
        return Task(**json.loads(content))
    except (ValueError, TypeError) as problem:
        raise Unusable(str(problem)) from None


def read_list(body: bytes) -> Tuple[TaskList, List[str]]:
    """Return the list in an answer, and a complaint about each entry that was left out.

    A bad entry is left out alone. The official agent drops the whole list because of one.

    Raises:
        NotATaskList: the answer is not a JSON object.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise NotATaskList("the answer is not JSON") from None
    if not isinstance(fields, dict):
        raise NotATaskList("the answer is not a JSON object")
    instance = fields.get("instanceId")
    complaints: List[str] = []
    lists = {
        name: tuple(_entries(fields.get(name), name, instance if isinstance(instance, str) else "", complaints))
        for name in ("run", "stop", "test")
    }
    files = tuple(_file_ids(fields.get("file"), complaints))
    return TaskList(files=files, try_again=fields.get("code") == 408, **lists), complaints


def _entries(entries: Any, name: str, instance: str, complaints: List[str]) -> List[Task]:
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            found.append(_task(entry, instance))
        except Unusable as problem:
            complaints.append(f"{name}: {problem}")
    return found


def _file_ids(entries: Any, complaints: List[str]) -> List[str]:
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            found.append(_id(_object(_object(entry, "the entry").get("task"), "task")))
        except Unusable as problem:
            complaints.append(f"file: {problem}")
    return found


def _task(entry: Any, instance: str) -> Task:
    entry = _object(entry, "the entry")
    task, output = _object(entry.get("task"), "task"), _object(entry.get("output") or {}, "output")
    identity, text = _id(task), _Text(task)
    parameters = _object(task.get("builtInParameter") or {}, "builtInParameter")
    own = {"InstanceId": instance, "CommandId": text["commandId"], "InvokeId": identity}
    return Task(
        id=identity,
        invoke_version=_number(task, "invokeVersion", 0),
        type=text["type"],
        content=text["commandContent"],
        timeout=_seconds(task.get("timeOut")),
        working_directory=text["workingDirectory"],
        user=text["username"],
        parameters={**{str(name): str(value) for name, value in parameters.items()}, **own},
        substitutes=task.get("enableParameter") is True,
        repeats=bool(text["cron"]) or entry.get("repeat") not in (None, "", "Once", "NextRebootOnly"),
        in_container=bool(text["containerId"] or text["containerName"]),
        interval_ms=min(max(_number(output, "interval", 0), LEAST_INTERVAL_MS), MOST_INTERVAL_MS),
        quota=min(max(_number(output, "logQuota", 0), LEAST_QUOTA), MOST_QUOTA),
        skip_empty=output.get("skipEmpty") is True,
        send_start=output.get("sendStart") is True,
        kills_tree=text["terminationMode"] == "ProcessTree",
    )


class _Text:
    """The text fields of an object. A missing one is empty."""

    def __init__(self, fields: Dict[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        value = self._fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Unusable(f"{name} must be text, not {value!r}")
        return value


def _id(task: Dict[str, Any]) -> str:
    found = task.get("taskID")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise Unusable(f"taskID {str(found)[:200]!r} is not made of letters, digits and hyphens")
    return found


def _object(value: Any, name: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(f"{name} must be an object, not {str(value)[:200]!r}")
    return value


def _number(fields: Dict[str, Any], name: str, default: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise Unusable(f"{name} must be a whole number from 0 on, not {str(value)[:200]!r}")
    return value


def _seconds(value: Any) -> int:
    """Return a time limit from text that holds a number. 0 or less means none; what cannot be read, the default."""
    try:
        return max(int(value.encode("ascii") if isinstance(value, str) else value), 0)  # no digits of other scripts
    except (TypeError, ValueError):
        return DEFAULT_TIMEOUT
