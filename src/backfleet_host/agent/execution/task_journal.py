"""The journal of tasks: what was taken on, what became of it, and which final reports the server does not have yet.

A task is a folder, and the files in it are its state:

    task.json      taken on; nothing ran yet
    begun.json     its process has begun: it is never begun again
    lock           held by that process as long as it lives, whatever becomes of the agent
    output, tail   what it printed: the head (all of it for an order), and the end if there was more
    log            what the process itself had to say
    sent           how many bytes of the output went out in chunks
    end.json       it has ended, and how
    report.json    the final report; the rest is no longer needed
    acknowledged   the server has that report

So a task is found again after any crash, in exactly one of these states, and no memory is needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Optional

from backfleet_host.agent.protocol.task_list import Task, Unusable, read_task
from backfleet_host.agent.protocol.task_reports import TaskReport, read_report
from backfleet_host.layout import hold, make_folder, sync_folder, write_whole

KEPT = 200  # tasks whose end the server has; the oldest go first
UNSENT = 500  # with so many reports waiting, no more work is taken on
ROOM = 64 * 1024  # bytes set aside for telling how it ended, on a disk that may be full by then
RECOVERIES = 3  # tries at making good what a dead process left

_PARTIAL = ".partial"
_DONE_WITH = ("task.json", "script.sh", "output", "tail", "sent", "room")  # scripts and output may hold secrets


class Full(Exception):
    """Too many final reports wait for the server."""


@dataclass(frozen=True)
class Begun:
    """The process that carries the task out, and since when (milliseconds of the clock)."""

    pid: int
    start_ms: int
    recoveries: int = 0


@dataclass(frozen=True)
class End:
    """How it ended: finish | timeout | stopped | error."""

    kind: str
    end_ms: int
    total: int = 0  # bytes printed
    exit_code: int = 0
    code: str = ""
    text: str = ""


class TaskFolder:
    """One task in the journal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"TaskFolder({self.key})"

    @property
    def key(self) -> str:
        """The task's id and, if it is not 0, its version."""
        return self.path.name

    def task(self) -> Task:
        """What was taken on.

        Raises:
            Unusable: the file is not there or broken.
        """
        try:
            return read_task((self.path / "task.json").read_bytes())
        except OSError as problem:
            raise Unusable(str(problem)) from None

    def hold(self) -> Optional[int]:
        """The lock of the task's process, or None while such a process lives."""
        return hold(self.path / "lock")

    def begin(self, begun: Begun) -> None:
        """Say that the process has begun; on disk before it does anything that must not be done twice."""
        write_whole(self.path / "begun.json", _json(begun))

    def begun(self) -> Optional[Begun]:
        """The process that has begun, if one has."""
        said = _read_json(self.path / "begun.json")
        return None if said is None else Begun(**said)

    def conclude(self, end: End) -> None:
        """Say how it ended."""
        self.free_room()
        write_whole(self.path / "end.json", _json(end))

    def end(self) -> Optional[End]:
        """How it ended, if its process came to say so."""
        said = _read_json(self.path / "end.json")
        return None if said is None else End(**said)

    def printed(self) -> int:
        """Bytes in the output file."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / "output").stat().st_size
        return 0

    def output(self, start: int = 0, size: int = -1) -> bytes:
        """A part of the output file."""
        with contextlib.suppress(FileNotFoundError), (self.path / "output").open("rb") as file:
            file.seek(start)
            return file.read(size)
        return b""

    def last(self, size: int) -> bytes:
        """The last bytes that were printed."""
        if not size:
            return b""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / "tail").read_bytes()[-size:]
        return self.output(max(self.printed() - size, 0))

    def sent(self) -> int:
        """Bytes of the output that went out in chunks."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.path / "sent").read_text(encoding="ascii"))
        return 0

    def note_sent(self, size: int) -> None:
        """Written before a chunk goes out: after a crash it is rather missing than sent twice."""
        (self.path / "sent").write_text(str(size), encoding="ascii")

    def set_room_aside(self) -> None:
        """Take disk space now that the report will need."""
        file = os.open(self.path / "room", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, ROOM)
        finally:
            os.close(file)

    def free_room(self) -> None:
        """Give that space back, to be used at once."""
        with contextlib.suppress(OSError):
            (self.path / "room").unlink()

    def keep_report(self, report: TaskReport) -> None:
        """The task is over: from now on only this report matters."""
        self.free_room()
        write_whole(self.path / "report.json", report.to_json())
        for name in _DONE_WITH:
            with contextlib.suppress(OSError):
                (self.path / name).unlink()

    def report(self) -> Optional[TaskReport]:
        """The final report, if the task is over."""
        try:
            return read_report((self.path / "report.json").read_bytes())
        except (OSError, ValueError):
            return None

    def acknowledge(self) -> None:
        """The server has the final report."""
        (self.path / "acknowledged").touch()

    def forget_acknowledgement(self) -> None:
        """The server asks for the task again: it does not have the report after all."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "acknowledged").unlink()

    @property
    def is_over(self) -> bool:
        """Whether there is a final report."""
        return (self.path / "report.json").exists()

    @property
    def is_acknowledged(self) -> bool:
        """Whether the server has it."""
        return (self.path / "acknowledged").exists()


class Journal:
    """All tasks of one root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Make it ready for the one agent that writes it: what was half taken on was never taken on."""
        make_folder(self._folder)
        for partial in self._folder.glob(f".*{_PARTIAL}"):
            shutil.rmtree(partial, ignore_errors=True)
        self.prune()

    def find(self, key: str) -> Optional[TaskFolder]:
        """The task with this key, if it was ever taken on or refused."""
        path = self._folder / key
        return TaskFolder(path) if path.is_dir() else None

    def take_on(self, task: Task) -> TaskFolder:
        """Write down a new task; once this has returned it will be carried out or reported on, whatever happens.

        Raises:
            Full: too many reports wait for the server.
            OSError: it cannot be written.
        """
        if len(self.unacknowledged()) >= UNSENT:
            raise Full(f"{UNSENT} reports wait for the server")
        self.prune()
        with self._new(task.key) as folder:
            write_whole(folder.path / "task.json", task.to_json())
            folder.set_room_aside()
        return TaskFolder(self._folder / task.key)

    def refuse(self, task: Task, report: TaskReport) -> TaskFolder:
        """Write down that a task is refused, with the report that says so."""
        with self._new(task.key) as folder:
            folder.keep_report(report)
        return TaskFolder(self._folder / task.key)

    def unfinished(self) -> List[TaskFolder]:
        """Tasks taken on and not over."""
        return [folder for folder in self._all() if not folder.is_over]

    def unacknowledged(self) -> List[TaskFolder]:
        """Tasks whose final report the server may not have, the longest waiting first."""
        return [folder for folder in self._all() if folder.is_over and not folder.is_acknowledged]

    def prune(self, kept: int = KEPT) -> None:
        """Forget tasks whose end the server has, all but the `kept` latest."""
        over = [folder for folder in self._all() if folder.is_acknowledged]
        for folder in over[: max(len(over) - kept, 0)]:
            shutil.rmtree(folder.path, ignore_errors=True)

    @contextlib.contextmanager
    def _new(self, key: str) -> Iterator[TaskFolder]:
        partial = self._folder / f".{key}{_PARTIAL}"
        try:
            make_folder(partial)
            yield TaskFolder(partial)
            os.rename(partial, self._folder / key)
            sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _all(self) -> List[TaskFolder]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append((entry.stat().st_ctime_ns, entry.name))  # changes with every file that comes or goes
        return [TaskFolder(self._folder / name) for _, name in sorted(found)]


def _json(value: object) -> bytes:
    return json.dumps(dataclasses.asdict(value), sort_keys=True).encode()  # type: ignore[call-overload]


def _read_json(path: Path) -> Optional[dict]:  # type: ignore[type-arg]
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None
