"""The spool: reports on this node's disk that wait until the database answers again.

An agent retries a final report for six seconds and then drops it. So a report is answered as soon as it is on a disk,
and stored in the database later, in the order of arrival; storing it twice is harmless. Each report is one file.
"""

import contextlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from backfleet.storage import AWAY
from backfleet_host.files import hold_lock, make_folder, write_file

MOST_REPORTS = 100_000
MOST_BYTES = 512 << 20  # of all reports together
WAITING = Gauge("backfleet_assist_reports_waiting", "Reports on this node's disk that the database does not have yet.")

log = logging.getLogger(__name__)


class SpoolFull(Exception):
    """The spool holds as much as it may: the agent must try again."""


@dataclass(frozen=True, slots=True)
class SpooledReport:
    """One report of a task as it arrived."""

    instance_id: str
    kind: str  # running, finish...
    query: dict[str, str]
    body: bytes = field(repr=False)
    received_at: float  # Unix time, seconds
    fingerprint: int  # of its request id

    @property
    def task_id(self) -> str:
        """The task's id as it was sent; it may be any text."""
        return self.query.get("taskId", "")

    def to_bytes(self) -> bytes:
        """Return the content of its file: a line of JSON, then the body."""
        head = {
            "instance_id": self.instance_id,
            "kind": self.kind,
            "query": self.query,
            "received_at": self.received_at,
            "mark": self.fingerprint,  # earlier builds named it so; files of theirs may still wait
        }
        return json.dumps(head).encode() + b"\n" + self.body


class Spool:
    """A folder of reports. Its methods block and are called in a thread, except `is_empty` and `holds`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: Counter[str] = Counter()  # reports of each task
        self._count = self._bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether no report waits here."""
        return self._count == 0

    def holds(self, task_id: str) -> bool:
        """Return whether a report of this task waits here: a later one must then wait, too."""
        return bool(self._waiting.get(task_id))

    def open(self) -> None:
        """Find the reports that an earlier process left."""
        for path in self._paths():
            report = _read(path)
            if report is not None:
                self._count_in(report, path.stat().st_size)

    def add(self, report: SpooledReport) -> None:
        """Write a report. It is on the disk when this returns.

        Raises:
            SpoolFull: the spool holds as much as it may.
        """
        content = report.to_bytes()
        if self._count >= MOST_REPORTS or self._bytes + len(content) > MOST_BYTES:
            raise SpoolFull
        make_folder(self._folder)
        write_file(self._folder / f"{time.time_ns():020d}-{report.fingerprint & (2**64 - 1):016x}", content)
        self._count_in(report, len(content))

    def deliver(self, store: Callable[[SpooledReport], Any]) -> None:
        """Store what waits in the database, oldest first. Return early while the database is unavailable.

        A report that cannot be read or stored is set aside under a name that ends in `.bad`.
        """
        with self._locked() as is_mine:
            for path in self._paths() if is_mine else []:
                report = _read(path)
                if report is None:
                    _set_aside(path)
                    continue
                size = path.stat().st_size
                try:
                    store(report)
                except AWAY:
                    return
                except Exception:
                    log.exception("a report on the disk cannot be stored", extra={"instance": report.instance_id})
                    _set_aside(path)
                else:
                    path.unlink()
                self._count_out(report, size)

    def _count_in(self, report: SpooledReport, size: int) -> None:
        self._count, self._bytes = self._count + 1, self._bytes + size
        self._waiting[report.task_id] += 1
        WAITING.set(self._count)

    def _count_out(self, report: SpooledReport, size: int) -> None:
        # Another node that shares the folder may have added what this one delivers: never below zero.
        self._count, self._bytes = max(0, self._count - 1), max(0, self._bytes - size)
        self._waiting[report.task_id] -= 1
        if self._waiting[report.task_id] <= 0:
            del self._waiting[report.task_id]
        WAITING.set(self._count)

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the folder's lock, if no other node that shares the folder delivers now. Give whether it is held."""
        try:
            lock = hold_lock(self._folder / ".lock")
        except FileNotFoundError:  # no report was ever written
            lock = None
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)


def _read(path: Path) -> SpooledReport | None:
    """Read a report; None if the file is not one."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        facts = json.loads(head)
        return SpooledReport(fingerprint=facts.pop("mark"), body=body, **facts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _set_aside(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}.bad"))
