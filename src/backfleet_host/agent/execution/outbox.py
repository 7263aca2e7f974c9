"""Final reports, sent with growing pauses until the server has them, across restarts of the agent."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from dataclasses import dataclass
from typing import Dict, Set

from backfleet_host.agent.execution.task_folder import TaskFolder
from backfleet_host.agent.execution.task_journal import TaskJournal
from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.protocol.task_reports import TaskReport
from backfleet_host.agent.timings import Timings
from backfleet_host.retries import backoff_seconds

log = logging.getLogger(__name__)

UNJOURNALLED_TRIES = 4  # of a report that is not in the journal: the server asks again if it misses one
MOST_UNJOURNALLED = 200  # that may wait; further ones are dropped
_IDLE_SECONDS = 3600.0  # the pause when nothing waits


@dataclass
class _Retry:
    attempt: int = 0
    due: float = 0.0  # monotonic seconds


class Outbox:
    """Sends the unacknowledged reports of the journal, and reports that are not in it."""

    def __init__(self, server: Server, journal: TaskJournal, timings: Timings) -> None:
        self._server, self._journal, self._timings = server, journal, timings
        self._retries: Dict[str, _Retry] = {}
        self._delivered: Set[str] = set()  # acknowledged tasks that a full disk kept from being noted
        self._again: Set[str] = set()  # tasks to send once more, though a try that is under way may succeed
        self._unjournalled: queue.Queue[TaskReport] = queue.Queue(MOST_UNJOURNALLED)
        self._wake = threading.Event()

    def wake(self) -> None:
        """End the current pause: there is something new to send."""
        self._wake.set()

    def send_again(self, folder: TaskFolder) -> None:
        """Send a report again that the server turned out not to have."""
        self._again.add(folder.key)
        self._delivered.discard(folder.key)
        folder.forget_acknowledgement()
        self._wake.set()

    def retry_now(self) -> None:
        """Try every report at once, since the server seems to be there again."""
        self._retries = {}
        self._wake.set()

    def send_unjournalled(self, report: TaskReport) -> None:
        """Send a report that need not survive this process."""
        with contextlib.suppress(queue.Full):
            self._unjournalled.put_nowait(report)
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Send until `stopping` is set."""
        while not stopping.is_set():
            self._wake.clear()
            self._send_all_unjournalled(stopping)
            try:
                wait = self._send_due(stopping)
            except OSError as problem:
                log.error("the journal cannot be read: %s", problem)
                wait = self._timings.report_most
            self._wake.wait(wait)

    def _send_due(self, stopping: threading.Event) -> float:
        """Send what is due; return the seconds until the next report is."""
        next_due = time.monotonic() + _IDLE_SECONDS
        for folder in self._journal.unacknowledged():
            if folder.key in self._delivered:
                continue
            retry = self._retries.setdefault(folder.key, _Retry())
            if not stopping.is_set() and retry.due <= time.monotonic():
                self._try(folder, retry)
            if folder.key in self._retries:
                next_due = min(next_due, retry.due)
        return max(next_due - time.monotonic(), 0.0)

    def _try(self, folder: TaskFolder, retry: _Retry) -> None:
        self._again.discard(folder.key)
        report = folder.report()
        if report is None:
            log.error("the report of task %s cannot be read; it is not sent", folder.key)
        elif self._sent(report, retry):
            log.info("task %s: %s acknowledged", folder.key, report.name)
        else:
            return
        self._retries.pop(folder.key, None)
        try:
            folder.acknowledge()
        except OSError as problem:
            log.error("task %s: its acknowledgement cannot be written: %s", folder.key, problem)
            self._delivered.add(folder.key)
        if folder.key in self._again:  # the server asked for it meanwhile, and may have lost what it acknowledged
            self._delivered.discard(folder.key)
            folder.forget_acknowledgement()

    def _sent(self, report: TaskReport, retry: _Retry) -> bool:
        most = self._timings.report_most
        try:
            answer = self._server.post(report.path, report.body)
            if answer.is_final:
                return True
            log.warning("report %s: the server answered %d", report.name, answer.status)
            most = self._timings.report_refused if 400 < answer.status < 500 else most
        except Unreachable as problem:
            log.warning("report %s: %s", report.name, problem)
        wait = backoff_seconds(retry.attempt, self._timings.report_first, most, random.random())  # noqa: S311 -- no secret
        retry.attempt, retry.due = retry.attempt + 1, time.monotonic() + wait
        return False

    def _send_all_unjournalled(self, stopping: threading.Event) -> None:
        while not self._unjournalled.empty():
            report, retry = self._unjournalled.get_nowait(), _Retry()
            while not stopping.is_set() and retry.attempt < UNJOURNALLED_TRIES and not self._sent(report, retry):
                stopping.wait(retry.due - time.monotonic())
