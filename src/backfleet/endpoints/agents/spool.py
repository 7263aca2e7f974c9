"""The spool: reports on this node's disk that wait until the database takes them.

An agent retries a final report for six seconds and then drops it. So a report is answered as soon as it is on a disk,
and stored in the database later, in the order of arrival; storing it twice is harmless. Each report is one file.

A file that cannot be read is set aside under a name that ends in `.bad`, shown, and read again when a process starts
and every hour. Nothing else is ever set aside: a report that the database refuses is tried again, later each time,
and those of other tasks do not wait for it.
"""

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from backfleet.endpoints.agents.spooled_report import SpooledReport, Unreadable
from backfleet.storage import Unavailable
from backfleet_host.files import hold_lock, make_folder, sync_folder, write_file
from backfleet_host.retries import backoff_seconds

MOST_REPORTS = 100_000
MOST_BYTES = 512 << 20  # of all reports together
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds before a report that was refused is tried again
READ_AGAIN_SECONDS = 3600.0  # between two tries to read what could not be read

WAITING = Gauge("backfleet_assist_reports_waiting", "Reports on this node's disk that the database does not have yet.")
REFUSED = Gauge("backfleet_assist_reports_refused", "Of those that wait, the ones that the database refuses.")
UNREADABLE = Gauge("backfleet_assist_reports_unreadable", "Files on this node's disk that cannot be read as reports.")

log = logging.getLogger(__name__)


class CannotKeep(Exception):
    """The spool holds as much as it may, or its disk does not take more: the agent must try again."""


@dataclass(slots=True)
class _Refusal:
    """How often the database refused a report, and when it is tried again, by the monotonic clock."""

    times: int
    again_at: float


class Spool:
    """A folder of reports. Its methods block and are called in a thread, except `is_empty` and `holds`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: Counter[str] = Counter()  # reports of each task
        self._count = self._bytes = 0
        self._refusals: dict[str, _Refusal] = {}  # by the file's name
        self._unreadable = 0
        self._has_unread = False  # a file that its disk did not give when it was last read
        self._read_again_at = 0.0
        self._identity: tuple[int, int] | None = None  # the device and inode of the folder around

    @property
    def is_empty(self) -> bool:
        """Whether no file waits here."""
        return self._count == 0 and self._unreadable == 0 and not self._has_unread

    def holds(self, task_id: str) -> bool:
        """Return whether a report of this task waits here: a later one must then wait, too."""
        return bool(self._waiting.get(task_id))

    def open(self) -> None:
        """Find the reports that an earlier process left."""
        make_folder(self._folder.parent)
        self._identity = _identity(self._folder.parent)
        self._read_unreadable()
        for path in self._paths():
            report = self._read(path)
            if report is not None:
                self._count_in(report, path.stat().st_size)

    def add(self, report: SpooledReport, arrived_ns: int) -> None:
        """Write a report. It is on the disk when this returns.

        Args:
            report: What an agent reports.
            arrived_ns: When it came, in nanoseconds of Unix time: reports are stored in this order, in whatever order
                threads write them.

        Raises:
            CannotKeep: the spool holds as much as it may, its disk is full or cannot be written, or is unmounted.
        """
        content = report.to_bytes()
        if self._count >= MOST_REPORTS or self._bytes + len(content) > MOST_BYTES:
            raise CannotKeep(f"{self._count} reports wait in {self._folder} already")
        if _identity(self._folder.parent) != self._identity:
            raise CannotKeep(f"{self._folder.parent} was unmounted or replaced while the server used it")
        try:
            make_folder(self._folder)
            write_file(self._folder / f"{arrived_ns:020d}-{report.fingerprint & (2**64 - 1):016x}", content)
        except OSError as problem:
            raise CannotKeep(str(problem)) from problem
        self._count_in(report, len(content))

    def deliver(self, store: Callable[[SpooledReport], Any], now: float) -> None:
        """Store what waits in the database, oldest first. Return early while the database is unavailable.

        Args:
            store: Stores one report, or raises.
            now: By the monotonic clock, seconds.
        """
        if now >= self._read_again_at:
            self._read_again_at = now + READ_AGAIN_SECONDS
            self._read_unreadable()
        self._has_unread = False
        with self._locked() as is_mine:
            behind: set[str] = set()  # tasks with an earlier report that has to be stored first
            for path in self._paths() if is_mine else []:
                report = self._read(path)
                if report is None:
                    continue
                refusal = self._refusals.get(path.name)
                if report.task_id in behind or (refusal is not None and now < refusal.again_at):
                    behind.add(report.task_id)
                    continue
                try:
                    store(report)
                except Unavailable:
                    return
                except Exception:
                    log.exception("the database refuses a report on the disk", extra=_named(path, report))
                    self._refuse(path, now)
                    behind.add(report.task_id)
                else:
                    self._remove(path, report)

    def _read(self, path: Path) -> SpooledReport | None:
        try:
            return SpooledReport.from_bytes(path.read_bytes())
        except OSError as problem:  # the disk's trouble, not the report's: it stays
            log.warning("a report on the disk cannot be read: %s", problem)
            self._has_unread = True
        except Unreadable as problem:
            log.error("%s is no report and is set aside: %s", path, problem)
            path.rename(path.with_name(f".{path.name}.bad"))
            self._unreadable += 1
            UNREADABLE.set(self._unreadable)
        return None

    def _refuse(self, path: Path, now: float) -> None:
        times = self._refusals[path.name].times + 1 if path.name in self._refusals else 1
        again_at = now + backoff_seconds(times - 1, FIRST_PAUSE, LONGEST_PAUSE, chance=1.0)
        self._refusals[path.name] = _Refusal(times, again_at)
        REFUSED.set(len(self._refusals))

    def _remove(self, path: Path, report: SpooledReport) -> None:
        size = path.stat().st_size
        path.unlink()
        self._refusals.pop(path.name, None)
        REFUSED.set(len(self._refusals))
        # Another node that shares the folder may have added what this one delivers: never below zero.
        self._count, self._bytes = max(0, self._count - 1), max(0, self._bytes - size)
        self._waiting[report.task_id] -= 1
        if self._waiting[report.task_id] <= 0:
            del self._waiting[report.task_id]
        WAITING.set(self._count)

    def _count_in(self, report: SpooledReport, size: int) -> None:
        self._count, self._bytes = self._count + 1, self._bytes + size
        self._waiting[report.task_id] += 1
        WAITING.set(self._count)

    def _read_unreadable(self) -> None:
        """Take back what can be read now: earlier builds set reports aside that the database had refused."""
        self._unreadable = 0
        for path in sorted(self._folder.glob(".*.bad")) if self._folder.is_dir() else []:
            try:
                content = path.read_bytes()
                report = SpooledReport.from_bytes(content)
            except (OSError, Unreadable):
                self._unreadable += 1
                continue
            path.rename(path.with_name(path.name[1 : -len(".bad")]))
            self._count_in(report, len(content))
            log.warning("a report that was set aside is tried again", extra=_named(path, report))
        UNREADABLE.set(self._unreadable)

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
        except OSError:  # no report was ever written, or nothing can be
            lock = None
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)


def spool_folder(data: Path, number: int) -> Path:
    """Return where the process of this number keeps reports: each has a folder, and 0 the one of a single process."""
    return data / (f"reports-{number}" if number else "reports")


def former_folders(data: Path, processes: int) -> list[Path]:
    """Return the folders of processes that a server of so many has no longer."""
    found = ((path, path.name.removeprefix("reports-")) for path in sorted(data.glob("reports-*")))
    return [path for path, number in found if number.isdecimal() and int(number) >= processes]


def take_over(folder: Path, others: Iterable[Path]) -> None:
    """Move what waits in other folders into this one: those of processes that this server has no longer. Blocks."""
    for other in others:
        try:
            lock = hold_lock(other / ".lock")
        except OSError:  # nothing was ever written there, or nothing can be
            continue
        if lock is None:
            continue
        try:
            make_folder(folder)
            for path in sorted(other.iterdir()):
                if path.name != ".lock":
                    path.rename(folder / path.name)
            sync_folder(folder)
        except OSError as problem:
            log.warning("reports of a process that is no more cannot be moved: %s", problem)
        finally:
            os.close(lock)


def _named(path: Path, report: SpooledReport) -> dict[str, str]:
    return {"file": path.name, "instance": report.instance_id, "task": report.task_id, "kind": report.kind}


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
