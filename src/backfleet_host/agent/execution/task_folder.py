"""One task of the journal: a folder, and the files in it are its state.

Other builds of the agent read the files, so their names and their JSON stay as they are:

    task.json      accepted; nothing ran yet
    begun.json     its process has begun: it is never begun again
    lock           held by that process as long as it lives, also after the agent has ended
    output, tail   what it printed: the head (all of it for an order), and the end if there was more
    log            messages of the process itself
    sent           how many bytes of the output went out in chunks
    end.json       it has ended, and how
    report.json    the final report; the rest is no longer needed
    acknowledged   the server has that report
    `room`         disk space that is reserved for the end and the report

After any crash a task is found in exactly one of these states.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from backfleet_host.agent.protocol.task_list import Task, Unusable, read_task
from backfleet_host.agent.protocol.task_reports import TaskReport, read_report
from backfleet_host.files import hold_lock, write_file

RESERVED = 64 * 1024  # bytes for the end and the report, on a disk that may be full by then

_RESERVED_FILE = "room"  # its name on the hosts of earlier builds
# What is removed once a task is over: scripts and output may hold secrets.
_DISPOSABLE = ("task.json", "script.sh", "output", "tail", "sent", _RESERVED_FILE)


@dataclass(frozen=True)
class Begun:
    """The process that carries out the task, and since when, in milliseconds of the clock."""

    pid: int
    start_ms: int
    recoveries: int = 0


@dataclass(frozen=True)
class End:
    """How a task ended."""

    kind: str  # finish | timeout | stopped | error
    end_ms: int
    total: int = 0  # bytes printed
    exit_code: int = 0
    code: str = ""
    text: str = ""


class TaskFolder:
    """One task in the journal. Several processes may have one for the same task."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"TaskFolder({self.key})"

    @property
    def key(self) -> str:
        """The task's id and, if it is not 0, its version."""
        return self.path.name

    def task(self) -> Task:
        """Return the task that was accepted.

        Raises:
            Unusable: its file is missing or damaged.
        """
        try:
            return read_task((self.path / "task.json").read_bytes())
        except OSError as problem:
            raise Unusable(str(problem)) from None

    def hold(self) -> Optional[int]:
        """Take the lock of the task's process and return its descriptor; None while such a process lives."""
        return hold_lock(self.path / "lock")

    def write_begun(self, begun: Begun) -> None:
        """Note that the process has begun. It does nothing that must not be done twice before this returns."""
        write_file(self.path / "begun.json", _json(begun), is_only_writer=True)

    def begun(self) -> Optional[Begun]:
        """Return the process that has begun, or None."""
        fields = _read_json(self.path / "begun.json")
        return None if fields is None else Begun(**fields)

    def write_end(self, end: End) -> None:
        """Note how the task ended."""
        self.release_space()
        write_file(self.path / "end.json", _json(end), is_only_writer=True)

    def end(self) -> Optional[End]:
        """Return how the task ended, or None if its process has not noted it."""
        fields = _read_json(self.path / "end.json")
        return None if fields is None else End(**fields)

    def printed(self) -> int:
        """Return the size of the output file in bytes."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / "output").stat().st_size
        return 0

    def output(self, start: int = 0, size: int = -1) -> bytes:
        """Return a part of the output file."""
        with contextlib.suppress(FileNotFoundError), (self.path / "output").open("rb") as file:
            file.seek(start)
            return file.read(size)
        return b""

    def last(self, size: int) -> bytes:
        """Return the last `size` bytes that were printed."""
        if not size:
            return b""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / "tail").read_bytes()[-size:]
        return self.output(max(self.printed() - size, 0))

    def sent(self) -> int:
        """Return how many bytes of the output went out in chunks."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.path / "sent").read_text(encoding="ascii"))
        return 0

    def note_sent(self, size: int) -> None:
        """Note this before a chunk is sent: after a crash the chunk is then missing and not sent twice."""
        write_file(self.path / "sent", str(size).encode("ascii"), is_only_writer=True)

    def reserve_space(self) -> None:
        """Take disk space now that end and report will need."""
        file = os.open(self.path / _RESERVED_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, RESERVED)
        finally:
            os.close(file)

    def release_space(self) -> None:
        """Free the reserved space, to be used at once."""
        with contextlib.suppress(OSError):
            (self.path / _RESERVED_FILE).unlink()

    def write_report(self, report: TaskReport) -> None:
        """Note the final report: the task is over, and what only its process needed is removed."""
        self.release_space()
        write_file(self.path / "report.json", report.to_json(), is_only_writer=True)
        for name in _DISPOSABLE:
            with contextlib.suppress(OSError):
                (self.path / name).unlink()

    def report(self) -> Optional[TaskReport]:
        """Return the final report, or None if there is none that can be read."""
        try:
            return read_report((self.path / "report.json").read_bytes())
        except (OSError, ValueError):
            return None

    def acknowledge(self) -> None:
        """Note that the server has the final report."""
        (self.path / "acknowledged").touch()

    def forget_acknowledgement(self) -> None:
        """Note that the server does not have the report after all."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "acknowledged").unlink()

    @property
    def is_over(self) -> bool:
        """Whether there is a final report."""
        return (self.path / "report.json").exists()

    @property
    def is_acknowledged(self) -> bool:
        """Whether the server has the final report."""
        return (self.path / "acknowledged").exists()


def _json(value: object) -> bytes:
    return json.dumps(dataclasses.asdict(value), sort_keys=True).encode()  # type: ignore[call-overload]


def _read_json(path: Path) -> Optional[dict]:  # type: ignore[type-arg]
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
