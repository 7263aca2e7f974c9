"""Final reports, sent until the server has them: across restarts, for ever, with growing pauses."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from dataclasses import dataclass
from typing import Dict, Set

from backfleet_host.agent.execution.task_journal import Journal, TaskFolder
from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.protocol.task_reports import TaskReport
from backfleet_host.agent.timings import Pace
from backfleet_host.retries import backoff_seconds

log = logging.getLogger(__name__)

LOOSE_TRIES = 4  # of a report about nothing that is in the journal: the server asks again if it misses one
MOST_LOOSE = 200
_IDLE = 3600.0  # seconds; nothing waits


@dataclass
class _Turn:
    attempt: int = 0
    due: float = 0.0  # monotonic seconds


class Outbox:
    """Sends the journal's unacknowledged reports, and loose ones that are not in it."""

    def __init__(self, server: Server, journal: Journal, pace: Pace) -> None:
        self._server, self._journal, self._pace = server, journal, pace
        self._turns: Dict[str, _Turn] = {}
        self._delivered: Set[str] = set()  # acknowledged, if only in memory: the disk may be full
        self._loose: queue.Queue[TaskReport] = queue.Queue(MOST_LOOSE)
        self._wake = threading.Event()

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    def send_again(self, folder: TaskFolder) -> None:
        """The server asks for the task again: it does not have the report after all."""
        self._delivered.discard(folder.key)
        folder.forget_acknowledgement()
        self._wake.set()

    def hurry(self) -> None:
        """The server seems to be there again: try everything at once."""
        self._turns = {}
        self._wake.set()

    def send_loosely(self, report: TaskReport) -> None:
        """Send a report that need not survive this process."""
        with contextlib.suppress(queue.Full):
            self._loose.put_nowait(report)
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Until told to stop."""
        while not stopping.is_set():
            self._wake.clear()
            self._send_loose(stopping)
            try:
                wait = self._send_due(stopping)
            except OSError as problem:
                log.error("the journal cannot be read: %s", problem)
                wait = self._pace.report_most
            self._wake.wait(wait)

    def _send_due(self, stopping: threading.Event) -> float:
        """Send what is due; returns the seconds until the next is."""
        next_due = time.monotonic() + _IDLE
        for folder in self._journal.unacknowledged():
            if folder.key in self._delivered:
                continue
            turn = self._turns.setdefault(folder.key, _Turn())
            if not stopping.is_set() and turn.due <= time.monotonic():
                self._try(folder, turn)
            if folder.key in self._turns:
                next_due = min(next_due, turn.due)
        return max(next_due - time.monotonic(), 0.0)

    def _try(self, folder: TaskFolder, turn: _Turn) -> None:
        report = folder.report()
        if report is None:
            log.error("the report of task %s cannot be read; it is given up", folder.key)
        elif self._sent(report, turn):
            log.info("task %s: %s acknowledged", folder.key, report.name)
        else:
            return
        self._turns.pop(folder.key, None)
        try:
            folder.acknowledge()
        except OSError as problem:
            log.error("task %s: its acknowledgement cannot be written down: %s", folder.key, problem)
            self._delivered.add(folder.key)

    def _sent(self, report: TaskReport, turn: _Turn) -> bool:
        most = self._pace.report_most
        try:
            answer = self._server.post(report.path, report.body)
            if answer.taken:
                return True
            log.warning("report %s: the server answered %d", report.name, answer.status)
            most = self._pace.report_refused if 400 < answer.status < 500 else most
        except Unreachable as problem:
            log.warning("report %s: %s", report.name, problem)
        wait = backoff_seconds(turn.attempt, self._pace.report_first, most, random.random())  # noqa: S311 -- no secret
        turn.attempt, turn.due = turn.attempt + 1, time.monotonic() + wait
        return False

    def _send_loose(self, stopping: threading.Event) -> None:
        while not self._loose.empty():
            report, turn = self._loose.get_nowait(), _Turn()
            while not stopping.is_set() and turn.attempt < LOOSE_TRIES and not self._sent(report, turn):
                stopping.wait(turn.due - time.monotonic())
