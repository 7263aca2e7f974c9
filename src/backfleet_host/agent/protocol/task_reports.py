"""What the agent reports about a task: the queries, and which bytes of its output (protocol page, sections 7 and 8)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, List, Tuple
from urllib.parse import urlencode

CHUNK = 2048  # bytes read for one `running` report
HEAD_ENDS_AFTER = 6000  # once more bytes than this have gone out in chunks, no more do
LONGEST_HEAD = HEAD_ENDS_AFTER + CHUNK  # bytes that chunks can hold together
LONGEST_TEXT = 255  # bytes of errDesc and of a refusal's value

ALREADY_STARTED = "-9"
NO_SPACE = "-8"
NO_SUBSTITUTE = "-12"
GENERAL = "-13"


@dataclass(frozen=True)
class TaskReport:
    """One report: which kind, its parameters in order, its body."""

    name: str
    query: Tuple[Tuple[str, str], ...]
    body: bytes = b""

    @property
    def path(self) -> str:
        """Where it is posted to."""
        return f"/luban/api/v1/task/{self.name}?{urlencode(self.query)}"

    def to_json(self) -> bytes:
        """As it waits on disk."""
        return json.dumps([self.name, self.query, base64.b64encode(self.body).decode()]).encode()


def read_report(content: bytes) -> TaskReport:
    """A report that waited on disk.

    Raises:
        ValueError: it was not written by this program.
    """
    try:
        name, query, body = json.loads(content)
        return TaskReport(str(name), tuple((str(key), str(value)) for key, value in query), base64.b64decode(body))
    except TypeError as problem:
        raise ValueError(str(problem)) from None


@dataclass(frozen=True)
class Course:
    """The moments of one run, in milliseconds of the agent's clock; 0 and 0 where nothing ran."""

    task_id: str
    invoke_version: int
    start: int = 0
    end: int = 0

    def asked(self, *names: str, **values: Any) -> Tuple[Tuple[str, str], ...]:
        """The parameters every report has, these moments, and further ones, in this order."""
        said: List[Tuple[str, Any]] = [("taskId", self.task_id), ("invokeVersion", self.invoke_version)]
        said += [(name, getattr(self, name)) for name in names]
        return tuple((name, str(value)) for name, value in [*said, *values.items()])


def running(course: Course, chunk: bytes = b"") -> TaskReport:
    """It runs, and printed this since the last one."""
    return TaskReport("running", course.asked("start"), chunk)


def finished(course: Course, exit_code: int, dropped: int, body: bytes) -> TaskReport:
    """It came to its own end."""
    return TaskReport("finish", course.asked("start", "end", exitCode=exit_code, dropped=dropped), body)


def timed_out(course: Course, dropped: int, body: bytes) -> TaskReport:
    """It was ended because its time was over."""
    return TaskReport("timeout", course.asked("start", "end", exitCode=1, dropped=dropped), body)


def stopped(course: Course, dropped: int = 0, body: bytes = b"") -> TaskReport:
    """It was ended, or kept from starting, because the server asked for it. `exitcode` is spelt so in this one only."""
    return TaskReport("stopped", course.asked("start", "end", exitcode=0, dropped=dropped, result="killed"), body)


def error(course: Course, code: str, text: str, dropped: int = 0, body: bytes = b"") -> TaskReport:
    """It could not be started, or its end is unknown."""
    asked = course.asked("start", "end", exitCode=0, dropped=dropped, errCode=code, errDesc=_short(text))
    return TaskReport("error", asked, body)


def invalid(course: Course, param: str, value: str) -> TaskReport:
    """It is refused; nothing was run."""
    return TaskReport("invalid", course.asked(param=param, value=_short(value)))


def verified(course: Course) -> TaskReport:
    """A test entry that could be run."""
    return TaskReport("verified", course.asked())


def file_refused(task_id: str, param: str, value: str) -> TaskReport:
    """A file task that is refused."""
    return TaskReport("invalid", (("taskId", task_id), ("taskType", "sendfile"), ("param", param), ("value", value)))


def final_cut(total: int, sent: int, quota: int) -> Tuple[int, int]:
    """(bytes of the end that the final report carries, bytes lost between the chunks and those).

    `total` bytes were printed, `sent` of them went out in chunks (section 7.2).
    """
    rest = max(total - sent, 0)
    carried = min(rest, max(quota - sent, 0))
    return carried, rest - carried


def next_chunk(printed: int, sent: int) -> int:
    """How many bytes the next `running` report carries."""
    return 0 if sent > HEAD_ENDS_AFTER else max(min(printed - sent, CHUNK), 0)


def _short(text: str) -> str:
    return text.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")
