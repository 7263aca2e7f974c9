"""Everything the server hands out, carried out at most once, ten at a time."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Dict, Optional

from backfleet_host.agent.execution.outbox import Outbox
from backfleet_host.agent.execution.permission import ORDERS_ONLY, SHELL, refusal
from backfleet_host.agent.execution.supervisor import Attendant, Surroundings
from backfleet_host.agent.execution.task_journal import Full, Journal, TaskFolder
from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.task_list import Task, TaskList, Unusable
from backfleet_host.agent.protocol.task_reports import Course, TaskReport

log = logging.getLogger(__name__)

AT_ONCE = 10  # tasks; protocol page, 7.1
_AGAIN = 5.0  # seconds after which what the agent could not do is tried again, on a full disk for example
_OWN_TROUBLES = 5  # tries at seeing one task through


class Crew:
    """Takes lists in, and has each task seen through by a thread.

    A task is its id and version, once: the journal remembers across restarts. One that is over and is handed out again
    is answered with the report it ended with.
    """

    def __init__(self, journal: Journal, outbox: Outbox, around: Surroundings, mode: str) -> None:
        self._journal, self._outbox, self._around, self._mode = journal, outbox, around, mode
        self._busy: Dict[str, Attendant] = {}  # by task id, whatever the version
        self._waiting: queue.SimpleQueue[Attendant] = queue.SimpleQueue()
        self._hands = 0
        self._guard = threading.Lock()

    def go_on(self) -> bool:
        """Take up again what an agent before this one left unfinished; False if there was nothing."""
        unfinished = list(self._journal.unfinished())
        for folder in unfinished:
            try:
                self._take_up(folder, folder.task())
            except Unusable as problem:
                log.error("task %s in the journal cannot be read: %s", folder.key, problem)
        return bool(unfinished)

    def _take_up(self, folder: TaskFolder, task: Task) -> None:
        refused = refusal(task, self._mode) if folder.begun() is None else None
        if refused is not None:  # the agent before this one was allowed more
            self._keep(folder, task_reports.invalid(_nothing_ran(task), *refused))
        else:
            self._entrust(folder, task)

    def take(self, handed: TaskList) -> None:
        """Act on everything in a list, in the official agent's order (section 6.2)."""
        for task_id in handed.files:
            value = ORDERS_ONLY.value if self._mode != SHELL else "NotSupported"
            self._outbox.send_loosely(task_reports.file_refused(task_id, ORDERS_ONLY.param, value))
        for task in handed.run:
            self._run(task)
        for task in handed.stop:
            self._stop(task)
        for task in handed.test:
            self._test(task)

    def _run(self, task: Task) -> None:
        if task.id in self._busy:
            return  # listed again until its first report arrives: nothing to say
        known = self._journal.find(task.key)
        if known is not None and known.is_over:
            log.info("task %s is handed out again: its report goes out again", task.key)
            self._outbox.send_again(known)
            return
        refused = refusal(task, self._mode)
        if known is None and refused is not None:
            log.warning("task %s is refused: %s %s", task.key, refused.param, refused.value)
            self._refuse(task, task_reports.invalid(_nothing_ran(task), refused.param, refused.value))
            return
        folder = known or self._taken_on(task)
        if folder is not None:
            self._entrust(folder, task)

    def _taken_on(self, task: Task) -> Optional[TaskFolder]:
        try:
            return self._journal.take_on(task)
        except Full as problem:
            log.error("task %s is left to the server: %s", task.key, problem)
        except OSError as problem:
            log.error("task %s cannot be written down: %s", task.key, problem)
            self._outbox.send_loosely(task_reports.error(_nothing_ran(task), task_reports.NO_SPACE, str(problem)))
        return None

    def _refuse(self, task: Task, report: TaskReport) -> None:
        try:
            self._journal.refuse(task, report)
            self._outbox.wake()
        except OSError as problem:
            log.error("task %s: its refusal cannot be written down: %s", task.key, problem)
            self._outbox.send_loosely(report)

    def _stop(self, task: Task) -> None:
        attendant = self._busy.get(task.id)
        if attendant is not None:
            log.info("task %s: the server stops it", task.key)
            attendant.stop()
            return
        known = self._journal.find(task.key)
        if known is not None and known.is_over and not known.is_acknowledged:
            self._outbox.hurry()  # what really became of it is on its way
            return
        self._outbox.send_loosely(task_reports.stopped(_nothing_ran(task)))

    def _test(self, task: Task) -> None:
        refused = refusal(task, self._mode)
        course = _nothing_ran(task)
        self._outbox.send_loosely(task_reports.invalid(course, *refused) if refused else task_reports.verified(course))

    def _entrust(self, folder: TaskFolder, task: Task) -> None:
        attendant = Attendant(folder, task, self._around)
        with self._guard:
            self._busy[task.id] = attendant
            self._waiting.put(attendant)
            if self._hands < min(AT_ONCE, len(self._busy)):
                self._hands += 1
                threading.Thread(target=self._work, name=f"task-{self._hands}", daemon=True).start()

    def _work(self) -> None:
        while not self._around.quitting.is_set():
            attendant = self._waiting.get()
            if not self._around.quitting.is_set():
                self._see_through(attendant)

    def _see_through(self, attendant: Attendant) -> None:
        task = attendant.task
        log.info("task %s: begins", attendant.folder.key)
        report = self._report_of(attendant)
        if report is not None:
            log.info("task %s: ends: %s", task.key, report.name)
            self._keep(attendant.folder, report)
            with self._guard:
                self._busy.pop(task.id, None)

    def _report_of(self, attendant: Attendant) -> Optional[TaskReport]:
        """What became of the task. The agent's own trouble is no news of it: it looks again, as a new one would."""
        for _ in range(_OWN_TROUBLES):
            try:
                return attendant.see_through()
            except Exception:  # one task's trouble must not cost the others
                log.exception("task %s: the agent failed", attendant.folder.key)
                if self._around.quitting.wait(_AGAIN):
                    return None
        return task_reports.error(_nothing_ran(attendant.task), task_reports.GENERAL, "the agent failed; see its log")

    def _keep(self, folder: TaskFolder, report: TaskReport) -> None:
        """Write the report down, then it is sent. On a full disk it is sent first, and written as soon as can be."""
        complained = False
        while True:
            try:
                folder.keep_report(report)
                break
            except OSError as problem:
                if not complained:
                    log.error("task %s: its report cannot be written down: %s", folder.key, problem)
                    self._outbox.send_loosely(report)
                complained = True
                if self._around.quitting.wait(_AGAIN):
                    return
        self._outbox.wake()


def _nothing_ran(task: Task) -> Course:
    return Course(task.id, task.invoke_version)
