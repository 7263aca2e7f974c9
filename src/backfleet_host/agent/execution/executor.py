"""What the agent does with a task list: each task is carried out at most once, and ten at a time."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Dict, Optional

from backfleet_host.agent.execution.order_log import described, ended
from backfleet_host.agent.execution.outbox import Outbox
from backfleet_host.agent.execution.permission import ORDERS_ONLY, SHELL, why_not_permitted
from backfleet_host.agent.execution.supervisor import Dependencies, Supervisor
from backfleet_host.agent.execution.task_folder import TaskFolder
from backfleet_host.agent.execution.task_journal import JournalFull, TaskJournal
from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.task_list import Task, TaskList, Unusable
from backfleet_host.agent.protocol.task_reports import TaskReport, TaskTimes

log = logging.getLogger(__name__)

AT_ONCE = 10  # tasks; protocol page, section 7.1
_RETRY_SECONDS = 5.0  # until what failed in the agent itself, for example on a full disk, is tried again
_SUPERVISION_TRIES = 5  # of one task


class Executor:
    """Takes task lists, and has each task supervised by a thread.

    The journal remembers each task, by id and version, across restarts. A task that is over and is handed out again is
    answered with the report that it ended with.
    """

    def __init__(self, journal: TaskJournal, outbox: Outbox, dependencies: Dependencies, mode: str) -> None:
        self._journal, self._outbox, self._dependencies, self._mode = journal, outbox, dependencies, mode
        self._busy: Dict[str, Supervisor] = {}  # by task id, of any version
        self._waiting: queue.SimpleQueue[Supervisor] = queue.SimpleQueue()
        self._threads = 0
        self._guard = threading.Lock()

    def resume(self) -> bool:
        """Resume the tasks that an earlier agent left unfinished; return False if there are none."""
        unfinished = list(self._journal.unfinished())
        for folder in unfinished:
            try:
                self._resume_task(folder, folder.task())
            except Unusable as problem:
                log.error("task %s in the journal cannot be read: %s", folder.key, problem)
        return bool(unfinished)

    def _resume_task(self, folder: TaskFolder, task: Task) -> None:
        problem = why_not_permitted(task, self._mode) if folder.begun() is None else None
        if problem is not None:  # the earlier agent may have run in shell mode
            self._finish(folder, task_reports.invalid(_nothing_ran(task), *problem))
        else:
            self._supervise(folder, task)

    def take(self, handed: TaskList) -> None:
        """Act on every entry of a list, in the official agent's order (section 6.2)."""
        for task_id in handed.files:
            value = ORDERS_ONLY.value if self._mode != SHELL else "NotSupported"
            self._outbox.send_unjournalled(task_reports.file_refused(task_id, ORDERS_ONLY.param, value))
        for task in handed.run:
            self._run(task)
        for task in handed.stop:
            self._stop(task)
        for task in handed.test:
            self._test(task)

    def _run(self, task: Task) -> None:
        if self._running(task) is not None:
            return  # the server lists it until its first report arrives
        known = self._journal.find(task.key)
        if known is not None and known.is_over:
            log.info("task %s is handed out again: its report is sent again", task.key)
            self._outbox.send_again(known)
            return
        problem = why_not_permitted(task, self._mode)
        if known is None and problem is not None:
            log.warning("task %s is refused: %s %s", task.key, problem.param, problem.value)
            self._refuse(task, task_reports.invalid(_nothing_ran(task), *problem))
            return
        folder = known or self._accept(task)
        if folder is not None:
            self._supervise(folder, task)

    def _running(self, task: Task) -> Optional[Supervisor]:
        """Return what supervises any version of this task, unless that version is over."""
        supervisor = self._busy.get(task.id)
        return None if supervisor is None or supervisor.folder.is_over else supervisor

    def _accept(self, task: Task) -> Optional[TaskFolder]:
        try:
            return self._journal.accept(task)
        except JournalFull as problem:
            log.error("task %s is not accepted now: %s", task.key, problem)
        except OSError as problem:
            log.error("task %s cannot be written: %s", task.key, problem)
            code = task_reports.error_code_of(problem)
            self._outbox.send_unjournalled(task_reports.error(_nothing_ran(task), code, str(problem)))
        return None

    def _refuse(self, task: Task, report: TaskReport) -> None:
        try:
            self._journal.refuse(task, report)
            self._outbox.wake()
        except OSError as problem:
            log.error("task %s: its refusal cannot be written: %s", task.key, problem)
            self._outbox.send_unjournalled(report)

    def _stop(self, task: Task) -> None:
        supervisor = self._running(task)
        if supervisor is not None:
            log.info("task %s: the server stops it", task.key)
            supervisor.stop()
            return
        known = self._journal.find(task.key)
        if known is not None and known.is_over and not known.is_acknowledged:
            self._outbox.retry_now()  # the report of how it ended is on its way
            return
        self._outbox.send_unjournalled(task_reports.stopped(_nothing_ran(task)))

    def _test(self, task: Task) -> None:
        problem = why_not_permitted(task, self._mode)
        times = _nothing_ran(task)
        self._outbox.send_unjournalled(
            task_reports.invalid(times, *problem) if problem else task_reports.verified(times)
        )

    def _supervise(self, folder: TaskFolder, task: Task) -> None:
        supervisor = Supervisor(folder, task, self._dependencies)
        with self._guard:
            self._busy[task.id] = supervisor
            self._waiting.put(supervisor)
            if self._threads < min(AT_ONCE, len(self._busy)):
                self._threads += 1
                threading.Thread(target=self._work, name=f"task-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        while not self._dependencies.agent_ends.is_set():
            supervisor = self._waiting.get()
            if not self._dependencies.agent_ends.is_set():
                self._supervise_to_the_end(supervisor)

    def _supervise_to_the_end(self, supervisor: Supervisor) -> None:
        task = supervisor.task
        log.info("task %s: begins%s", supervisor.folder.key, described(task.script()))
        report = self._report_of(supervisor)
        if report is not None:
            log.info("task %s: ends: %s%s", task.key, report.name, ended(report.body))
            self._finish(supervisor.folder, report)
            with self._guard:
                if self._busy.get(task.id) is supervisor:
                    del self._busy[task.id]

    def _report_of(self, supervisor: Supervisor) -> Optional[TaskReport]:
        """Return the final report of a task, or None if the agent ends first.

        An error in the agent itself says nothing about the task, so supervision starts again, as after a restart.
        """
        for _ in range(_SUPERVISION_TRIES):
            try:
                return supervisor.supervise()
            except Exception:  # a failure with one task must not end the others
                log.exception("task %s: the agent failed", supervisor.folder.key)
                if self._dependencies.agent_ends.wait(_RETRY_SECONDS):
                    return None
        return task_reports.error(_nothing_ran(supervisor.task), task_reports.GENERAL, "the agent failed; see its log")

    def _finish(self, folder: TaskFolder, report: TaskReport) -> None:
        """Write the final report, and have it sent. On a full disk it is sent first and written as soon as possible."""
        is_sent = False
        while True:
            try:
                folder.write_report(report)
                break
            except OSError as problem:
                if not is_sent:
                    log.error("task %s: its report cannot be written: %s", folder.key, problem)
                    self._outbox.send_unjournalled(report)
                is_sent = True
                if self._dependencies.agent_ends.wait(_RETRY_SECONDS):
                    return
        self._outbox.wake()


def _nothing_ran(task: Task) -> TaskTimes:
    return TaskTimes(task.id, task.invoke_version)
