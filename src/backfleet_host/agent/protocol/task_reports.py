"""Reports about a task: their queries, and which bytes of its output they carry (protocol page, sections 7 and 8)."""

from __future__ import annotations

import base64
import errno
import json
from dataclasses import dataclass
from typing import Any, List, Tuple
from urllib.parse import urlencode

CHUNK = 2048  # bytes that one `running` report carries at most
HEAD_ENDS_AFTER = 6000  # bytes; once chunks have carried more than this, no further chunk is sent
LONGEST_HEAD = HEAD_ENDS_AFTER + CHUNK  # bytes that all chunks can carry together
LONGEST_TEXT = 255  # bytes of errDesc, and of the value in an `invalid` report

ALREADY_STARTED = "-9"  # values of errCode; protocol page, section 8
NO_SPACE = "-8"
NO_SUBSTITUTE = "-12"
GENERAL = "-13"


def error_code_of(problem: OSError) -> str:
    """Return the agent's error code for what the system refused: no space, or the errno itself."""
    if problem.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NO_SPACE
    return str(problem.errno)


@dataclass(frozen=True)
class TaskReport:
    """One report: its kind, its parameters in their order, and its body."""

    name: str
    query: Tuple[Tuple[str, str], ...]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path that it is posted to, with its query."""
        return f"/luban/api/v1/task/{self.name}?{urlencode(self.query)}"

    def to_json(self) -> bytes:
        """Return the report as it waits on disk."""
        return json.dumps([self.name, self.query, base64.b64encode(self.body).decode()]).encode()


def read_report(content: bytes) -> TaskReport:
    """Return the report that waited on disk.

    Raises:
        ValueError: the content was not written by this program.
    """
    try:
        name, query, body = json.loads(content)
        return TaskReport(str(name), tuple((str(key), str(value)) for key, value in query), base64.b64decode(body))
    except TypeError as problem:
        raise ValueError(str(problem)) from None


@dataclass(frozen=True)
class TaskTimes:
    """When a task ran, in milliseconds of the agent's clock; 0 and 0 where nothing ran."""

    task_id: str
    invoke_version: int
    start: int = 0
    end: int = 0

    def query(self, *moments: str, **values: Any) -> Tuple[Tuple[str, str], ...]:
        """Return the parameters that every report has, these of the moments, and further ones, in this order."""
        parameters: List[Tuple[str, Any]] = [("taskId", self.task_id), ("invokeVersion", self.invoke_version)]
        parameters += [(name, getattr(self, name)) for name in moments]
        return tuple((name, str(value)) for name, value in [*parameters, *values.items()])


def running(times: TaskTimes, chunk: bytes = b"") -> TaskReport:
    """Report that the task runs, and what it printed since the last such report."""
    return TaskReport("running", times.query("start"), chunk)


def finished(times: TaskTimes, exit_code: int, dropped: int, body: bytes) -> TaskReport:
    """Report that the task ended by itself."""
    return TaskReport("finish", times.query("start", "end", exitCode=exit_code, dropped=dropped), body)


def timed_out(times: TaskTimes, dropped: int, body: bytes) -> TaskReport:
    """Report that the task was ended because its time was over."""
    return TaskReport("timeout", times.query("start", "end", exitCode=1, dropped=dropped), body)


def stopped(times: TaskTimes, dropped: int = 0, body: bytes = b"") -> TaskReport:
    """Report that the task was ended, or not started, because the server asked for it.

    `exitcode` is spelt so on the wire, in this report alone.
    """
    return TaskReport("stopped", times.query("start", "end", exitcode=0, dropped=dropped, result="killed"), body)


def error(times: TaskTimes, code: str, text: str, dropped: int = 0, body: bytes = b"") -> TaskReport:
    """Report that the task could not be started, or that its end is unknown."""
    query = times.query("start", "end", exitCode=0, dropped=dropped, errCode=code, errDesc=_short(text))
    return TaskReport("error", query, body)


def invalid(times: TaskTimes, param: str, value: str) -> TaskReport:
    """Report that the task is refused; nothing was run."""
    return TaskReport("invalid", times.query(param=param, value=_short(value)))


def verified(times: TaskTimes) -> TaskReport:
    """Report that a test entry could be run."""
    return TaskReport("verified", times.query())


def file_refused(task_id: str, param: str, value: str) -> TaskReport:
    """Report that a file task is refused."""
    return TaskReport("invalid", (("taskId", task_id), ("taskType", "sendfile"), ("param", param), ("value", value)))


def final_cut(total: int, sent: int, quota: int) -> Tuple[int, int]:
    """Return how many of the last bytes the final report carries, and how many before them are dropped.

    Args:
        total: bytes that were printed.
        sent: bytes of them that went out in chunks.
        quota: bytes that chunks and final report may carry together (section 7.2).
    """
    rest = max(total - sent, 0)
    carried = min(rest, max(quota - sent, 0))
    return carried, rest - carried


def next_chunk(printed: int, sent: int) -> int:
    """Return how many bytes the next `running` report carries."""
    return 0 if sent > HEAD_ENDS_AFTER else max(min(printed - sent, CHUNK), 0)


def _short(text: str) -> str:
    return text.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")
