"""Reports that could not be stored because the database is away: on this node's disk until it is back.

An agent tries a final report for six seconds and then drops it. So it is answered as soon as it is on a disk, and told
to the database later: in the order of arrival, each once or harmlessly twice. One file per report, whole or not at all.
"""

import fcntl
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from backfleet.storage import AWAY
from backfleet_host.files import make_folder, write_file

MOST_KEPT = 100_000  # reports
MOST_BYTES = 512 << 20  # of them all
WAITING = Gauge("backfleet_assist_reports_waiting", "Reports on this node's disk that the database does not have yet.")

log = logging.getLogger(__name__)


class Full(Exception):
    """No more can be kept: the agent must try again."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a task as it came."""

    instance_id: str
    kind: str  # running, finish...
    query: dict[str, str]
    body: bytes = field(repr=False)
    received_at: float  # Unix time, seconds
    mark: int  # of its request id

    @property
    def task_id(self) -> str:
        """As it was told."""
        return self.query.get("taskId", "")


class Spool:
    """A folder of reports. Its methods block: call them in a thread, except `is_empty` and `holds`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: Counter[str] = Counter()
        self._count = self._bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here."""
        return self._count == 0

    def holds(self, task_id: str) -> bool:
        """Whether an earlier report of this task waits here: then a later one must too."""
        return bool(self._held.get(task_id))

    def open(self) -> None:
        """Find what an earlier process left."""
        for path in self._paths():
            report = _read(path)
            if report is not None:
                self._note(report, path.stat().st_size)

    def keep(self, report: Report) -> None:
        """Returns when the report is on the disk.

        Raises:
            Full: there is no room for it.
        """
        head = {name: value for name, value in asdict(report).items() if name != "body"}
        content = json.dumps(head).encode() + b"\n" + report.body
        if self._count >= MOST_KEPT or self._bytes + len(content) > MOST_BYTES:
            raise Full
        make_folder(self._folder)
        name = f"{time.time_ns():020d}-{report.mark & (2**64 - 1):016x}"
        write_file(self._folder / name, content)
        self._note(report, len(content))

    def deliver(self, tell: Callable[[Report], Any]) -> None:
        """Tell the database what waits, oldest first. Stops quietly while the database is away."""
        with self._alone() as alone:
            for path in self._paths() if alone else []:
                report = _read(path)
                if report is None:
                    path.rename(path.with_name(f".{path.name}.bad"))
                    continue
                size = path.stat().st_size
                try:
                    tell(report)
                except AWAY:
                    return
                except Exception:
                    log.exception("a kept report cannot be stored", extra={"instance": report.instance_id})
                    path.rename(path.with_name(f".{path.name}.bad"))
                else:
                    path.unlink()
                self._note(report, size, gone=True)

    def _note(self, report: Report, size: int, *, gone: bool = False) -> None:
        sign = -1 if gone else 1
        self._count, self._bytes = max(0, self._count + sign), max(0, self._bytes + sign * size)
        self._held[report.task_id] += sign
        if self._held[report.task_id] <= 0:
            del self._held[report.task_id]
        WAITING.set(self._count)

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []

    def _alone(self) -> "_Alone":
        return _Alone(self._folder / ".lock")


class _Alone:
    """Nodes that share a folder take turns: of two that deliver at once, one has the folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def __enter__(self) -> bool:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False  # nothing was ever kept
        except BlockingIOError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)


def _read(path: Path) -> Report | None:
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        return Report(**json.loads(head), body=body)
    except (OSError, ValueError, TypeError):
        return None
