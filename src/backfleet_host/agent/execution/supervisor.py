"""Seeing one task through: its process started or found again, its output passed on, its final report kept."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Optional

from backfleet_host.agent.execution.host_program import start_process
from backfleet_host.agent.execution.task_journal import RECOVERIES, End, TaskFolder
from backfleet_host.agent.execution.task_process import CARRY, RECOVER
from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.protocol.task_list import Task
from backfleet_host.agent.protocol.task_reports import Course, TaskReport
from backfleet_host.agent.timings import Pace
from backfleet_host.contract import is_order
from backfleet_host.layout import Places

log = logging.getLogger(__name__)

_REPORT_LINE = b'{"report"'


class CannotStart(Exception):
    """The process of a task could not be started; the text says why."""


@dataclass(frozen=True)
class Surroundings:
    """What every attendant uses."""

    places: Places
    server: Server
    pace: Pace
    quitting: threading.Event  # the agent ends; the process goes on


class Attendant:
    """One per task that is not over. Its state is in the task's folder: another one can go on at any moment."""

    def __init__(self, folder: TaskFolder, task: Task, around: Surroundings) -> None:
        self.folder, self.task = folder, task
        self._around = around
        self._is_order = is_order(task.script())
        self._stop = threading.Event()
        self._start_ms = 0
        self._told_to_end = False
        self._overdue_at = float("inf")  # monotonic seconds, as below
        self._kill_at = float("inf")

    def stop(self) -> None:
        """The server wants it ended."""
        self._stop.set()

    def see_through(self) -> Optional[TaskReport]:
        """Stay until the task is over and return its final report; None if the agent quits before."""
        begun = self.folder.begun()
        if begun is None and self._stop.is_set():
            return task_reports.stopped(self._course(0))
        self._start_ms = begun.start_ms if begun else int(time.time() * 1000)
        self._overdue_at = self._deadline()
        try:
            self._until_ended()
        except CannotStart as problem:
            log.error("task %s cannot be started: %s", self.folder.key, problem)
            return task_reports.error(self._course(int(time.time() * 1000)), task_reports.GENERAL, str(problem))
        return None if self._around.quitting.is_set() and self.folder.end() is None else self._final()

    def _until_ended(self) -> None:
        """Start what is not started, find what runs, recover what died, until there is an end or no hope of one."""
        mode = CARRY
        for _ in range(1 + RECOVERIES):
            lock = self.folder.hold()
            # The end is looked for with the lock in hand: a process that has just ended is not one that died.
            if self.folder.end() is not None or self._around.quitting.is_set():
                _let_go(lock)
                return
            begun = self.folder.begun()
            if lock is None:
                self._watch(None)
            elif mode == CARRY and begun is None:
                self._watch(self._start(lock, CARRY))
            elif self._is_order and (begun is None or begun.recoveries < RECOVERIES):
                self._watch(self._start(lock, RECOVER))
            else:
                _let_go(lock)
                return
            mode = RECOVER

    def _start(self, lock: int, mode: str) -> subprocess.Popen[bytes]:
        if mode == RECOVER:
            log.warning("task %s: its process died; recovering", self.folder.key)
            self._kill_at = time.monotonic() + self._around.pace.order_grace
        try:
            process = start_process(self._around.places, self.folder, lock, self._start_ms, mode)
        except OSError as problem:
            raise CannotStart(str(problem)) from problem
        finally:
            os.close(lock)  # the process has its own hold on it
        if self.task.send_start and mode == CARRY:
            self._tell(b"")
        return process

    def _watch(self, process: Optional[subprocess.Popen[bytes]]) -> None:
        """Until the process ends or the agent quits: pass on output, say that it lives, end it when it must."""
        interval = self.task.interval_ms / 1000
        next_chunk = told = time.monotonic()
        next_chunk += interval
        while not self._around.quitting.is_set() and not self._has_ended(process):
            self._end_it_if_asked(process)
            now = time.monotonic()
            if now < next_chunk:
                continue
            next_chunk = now + interval
            chunk = self._next_chunk()
            if chunk or not self.task.skip_empty or now - told > self._around.pace.silence:
                told = now
                self._tell(chunk)

    def _has_ended(self, process: Optional[subprocess.Popen[bytes]]) -> bool:
        """Look, for a moment, for the end of our child, or of a process that an agent before us started."""
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._around.pace.look)
                return True
            return False
        lock = self.folder.hold()
        if lock is None:
            self._around.quitting.wait(self._around.pace.look)
        _let_go(lock)
        return lock is not None

    def _end_it_if_asked(self, process: Optional[subprocess.Popen[bytes]]) -> None:
        """Told to stop, or out of time: a request first, and when that is not heard, the end of the process group.

        An order may then still finish or go back, and a script's process looks to its time itself.
        """
        now = time.monotonic()
        if not self._told_to_end and (self._stop.is_set() or now > self._overdue_at):
            grace = self._around.pace.order_grace if self._is_order else self._around.pace.script_grace
            self._told_to_end, self._kill_at = True, now + grace
            self._signal(process, signal.SIGTERM)
        elif now > self._kill_at:
            self._signal(process, signal.SIGKILL)

    def _deadline(self) -> float:
        """When an order's time is over, by a clock that nobody sets."""
        if not self._is_order or not self.task.timeout:
            return float("inf")
        run_so_far = max(time.time() - self._start_ms / 1000, 0.0)
        return time.monotonic() + max(self.task.timeout - run_so_far, 0.0)

    def _signal(self, process: Optional[subprocess.Popen[bytes]], number: signal.Signals) -> None:
        begun = self.folder.begun()
        pid = process.pid if process is not None else begun.pid if begun else 0
        if not pid:
            return
        log.warning("task %s: %s to process %d", self.folder.key, number.name, pid)
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(pid, number)  # it leads its own group
            else:
                os.kill(pid, number)

    def _next_chunk(self) -> bytes:
        sent = self.folder.sent()
        chunk = self.folder.output(sent, task_reports.next_chunk(self.folder.printed(), sent))
        if self._is_order:  # whole lines, and never the report: half of it in a lost chunk would be all of it lost
            chunk = chunk.split(_REPORT_LINE, 1)[0]
            chunk = chunk[: chunk.rfind(b"\n") + 1]
        try:
            if chunk:
                self.folder.note_sent(sent + len(chunk))
        except OSError:
            return b""  # on a full disk all of it waits for the final report
        return chunk

    def _tell(self, chunk: bytes) -> None:
        """One `running` report, one try."""
        try:
            report = task_reports.running(self._course(0), chunk)
            answer = self._around.server.post(report.path, report.body)
            if not answer.taken:
                log.warning("task %s: running: the server answered %d", self.folder.key, answer.status)
        except Unreachable as problem:
            log.warning("task %s: running: %s", self.folder.key, problem)

    def _course(self, end_ms: int) -> Course:
        return Course(self.task.id, self.task.invoke_version, self._start_ms, end_ms)

    def _final(self) -> TaskReport:
        end = self.folder.end() or self._end_without_word()
        course = self._course(end.end_ms)
        carried, dropped = task_reports.final_cut(end.total, self.folder.sent(), self.task.quota)
        body = self.folder.last(carried)
        if end.kind == "finish":
            return task_reports.finished(course, end.exit_code, dropped, body)
        if end.kind == "timeout":
            return task_reports.timed_out(course, dropped, body)
        if end.kind == "stopped":
            return task_reports.stopped(course, dropped, body)
        return task_reports.error(course, end.code, end.text, dropped, body)

    def _end_without_word(self) -> End:
        """The end of a task whose process died without telling how it ended."""
        now_ms, total = int(time.time() * 1000), self.folder.printed()
        if self._told_to_end and not self._is_order:
            return End("stopped", now_ms, total)
        if self._is_order:
            text = f"its process died {1 + RECOVERIES} times; see {self.folder.path}/log"
            return End("error", now_ms, total, code=task_reports.GENERAL, text=text)
        text = "it was started before, and its process or the machine died: its end is unknown"
        return End("error", now_ms, total, code=task_reports.ALREADY_STARTED, text=text)


def _let_go(lock: Optional[int]) -> None:
    if lock is not None:
        os.close(lock)
