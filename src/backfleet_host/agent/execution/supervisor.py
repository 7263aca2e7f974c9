"""The supervision of one task: its process is started or found again, its output passed on, its end reported."""

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
from backfleet_host.agent.execution.task_folder import End, TaskFolder
from backfleet_host.agent.execution.task_process import CARRY, RECOVER
from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.protocol.task_list import Task
from backfleet_host.agent.protocol.task_reports import TaskReport, TaskTimes
from backfleet_host.agent.timings import Timings
from backfleet_host.contract import is_order
from backfleet_host.layout import Places

log = logging.getLogger(__name__)

RECOVERIES = 3  # tries to recover what a dead process of an order left
_REPORT_LINE = b'{"report"'


class CannotStart(Exception):
    """The process of a task could not be started; the text says why, and `code` is the agent's error code for it."""

    def __init__(self, problem: OSError) -> None:
        super().__init__(str(problem))
        self.code = task_reports.error_code_of(problem)


@dataclass(frozen=True)
class Dependencies:
    """What every supervisor uses."""

    places: Places
    server: Server
    timings: Timings
    agent_ends: threading.Event  # set when the agent ends; processes of tasks go on


class Supervisor:
    """Supervises one task that is not over.

    Its state is in the task's folder, so that the supervisor of another agent can go on at any moment.
    """

    def __init__(self, folder: TaskFolder, task: Task, dependencies: Dependencies) -> None:
        self.folder, self.task = folder, task
        self._dependencies = dependencies
        self._is_order = is_order(task.script())
        self._stop = threading.Event()
        self._start_ms = 0
        self._is_signalled = False
        self._overdue_at = float("inf")  # monotonic seconds
        self._kill_at = float("inf")  # monotonic seconds

    def stop(self) -> None:
        """End the task, since the server asks for it. Any thread may call this."""
        self._stop.set()

    def supervise(self) -> Optional[TaskReport]:
        """Supervise the task until it is over and return its final report; None if the agent ends first."""
        begun = self.folder.begun()
        if begun is None and self._stop.is_set():
            return task_reports.stopped(self._times(0))
        self._start_ms = begun.start_ms if begun else int(time.time() * 1000)
        self._overdue_at = self._deadline()
        try:
            self._run_to_the_end()
        except CannotStart as problem:
            log.error("task %s cannot be started: %s", self.folder.key, problem)
            return task_reports.error(self._times(int(time.time() * 1000)), problem.code, str(problem))
        return None if self._dependencies.agent_ends.is_set() and self.folder.end() is None else self._final()

    def _run_to_the_end(self) -> None:
        """Start the process or find the one that runs; recover if it died. Return at the end, or after the last try."""
        mode = CARRY
        for _ in range(1 + RECOVERIES):
            lock = self.folder.hold()
            # Checked while the lock is held: a process that has just ended has not died.
            if self.folder.end() is not None or self._dependencies.agent_ends.is_set():
                _release(lock)
                return
            begun = self.folder.begun()
            if lock is None:
                self._watch(None)
            elif mode == CARRY and begun is None:
                self._watch(self._start(lock, CARRY))
            elif self._is_order and (begun is None or begun.recoveries < RECOVERIES):
                self._watch(self._start(lock, RECOVER))
            else:
                _release(lock)
                return
            mode = RECOVER

    def _start(self, lock: int, mode: str) -> subprocess.Popen[bytes]:
        if mode == RECOVER:
            log.warning("task %s: its process died; recovering", self.folder.key)
            self._kill_at = time.monotonic() + self._dependencies.timings.order_grace
        try:
            process = start_process(self._dependencies.places, self.folder, lock, self._start_ms, mode)
        except OSError as problem:
            raise CannotStart(problem) from problem
        finally:
            os.close(lock)  # the process has a descriptor of its own
        if self.task.send_start and mode == CARRY:
            self._report_running(b"")
        return process

    def _watch(self, process: Optional[subprocess.Popen[bytes]]) -> None:
        """Pass on output, report that the task runs, and end it when due, until its process or the agent ends."""
        interval = self.task.interval_ms / 1000
        next_chunk = last_report = time.monotonic()
        next_chunk += interval
        while not self._dependencies.agent_ends.is_set() and not self._has_ended(process):
            self._end_if_due(process)
            now = time.monotonic()
            if now < next_chunk:
                continue
            next_chunk = now + interval
            chunk = self._next_chunk()
            if chunk or not self.task.skip_empty or now - last_report > self._dependencies.timings.running_report:
                last_report = now
                self._report_running(chunk)

    def _has_ended(self, process: Optional[subprocess.Popen[bytes]]) -> bool:
        """Wait a moment for the end of our child, or of a process that an earlier agent started."""
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._dependencies.timings.process_poll)
                return True
            return False
        lock = self.folder.hold()
        if lock is None:
            self._dependencies.agent_ends.wait(self._dependencies.timings.process_poll)
        _release(lock)
        return lock is not None

    def _end_if_due(self, process: Optional[subprocess.Popen[bytes]]) -> None:
        """Ask a task that was stopped or is out of time to end; kill its process group when the grace period is over.

        In that period an order may finish or roll back. The process of a script sees to the script's time by itself.
        """
        now = time.monotonic()
        if not self._is_signalled and (self._stop.is_set() or now > self._overdue_at):
            grace = (
                self._dependencies.timings.order_grace if self._is_order else self._dependencies.timings.script_grace
            )
            self._is_signalled, self._kill_at = True, now + grace
            self._signal(process, signal.SIGTERM)
        elif now > self._kill_at:
            self._signal(process, signal.SIGKILL)

    def _deadline(self) -> float:
        """Return when an order's time is over, in seconds of the monotonic clock, which nobody can set."""
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
        if self._is_order:  # complete lines, and not the report: a lost chunk would make it unreadable
            chunk = chunk.split(_REPORT_LINE, 1)[0]
            chunk = chunk[: chunk.rfind(b"\n") + 1]
        try:
            if chunk:
                self.folder.note_sent(sent + len(chunk))
        except OSError:
            return b""  # on a full disk the output waits for the final report
        return chunk

    def _report_running(self, chunk: bytes) -> None:
        """Send one `running` report. One try: the final report carries what matters."""
        try:
            report = task_reports.running(self._times(0), chunk)
            answer = self._dependencies.server.post(report.path, report.body)
            if not answer.is_final:
                log.warning("task %s: running: the server answered %d", self.folder.key, answer.status)
        except Unreachable as problem:
            log.warning("task %s: running: %s", self.folder.key, problem)

    def _times(self, end_ms: int) -> TaskTimes:
        return TaskTimes(self.task.id, self.task.invoke_version, self._start_ms, end_ms)

    def _final(self) -> TaskReport:
        end = self.folder.end() or self._unwritten_end()
        times = self._times(end.end_ms)
        carried, dropped = task_reports.final_cut(end.total, self.folder.sent(), self.task.quota)
        body = self.folder.last(carried)
        if end.kind == "finish":
            return task_reports.finished(times, end.exit_code, dropped, body)
        if end.kind == "timeout":
            return task_reports.timed_out(times, dropped, body)
        if end.kind == "stopped":
            return task_reports.stopped(times, dropped, body)
        return task_reports.error(times, end.code, end.text, dropped, body)

    def _unwritten_end(self) -> End:
        """Return the end of a task whose process died before it wrote one."""
        now_ms, total = int(time.time() * 1000), self.folder.printed()
        if self._is_signalled and not self._is_order:
            return End("stopped", now_ms, total)
        if self._is_order:
            text = f"its process died {1 + RECOVERIES} times; see {self.folder.path}/log"
            return End("error", now_ms, total, code=task_reports.GENERAL, text=text)
        text = "it was started before, and its process or the machine died: how it ended is unknown"
        return End("error", now_ms, total, code=task_reports.ALREADY_STARTED, text=text)


def _release(lock: Optional[int]) -> None:
    if lock is not None:
        os.close(lock)
