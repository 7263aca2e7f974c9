"""The journal of tasks: which were accepted, how they ended, and which final reports the server does not have yet."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Iterator, List, Optional

from backfleet_host.agent.execution.task_folder import TaskFolder
from backfleet_host.agent.protocol.task_list import Task
from backfleet_host.agent.protocol.task_reports import TaskReport
from backfleet_host.files import PARTIAL, make_folder, sync_folder, write_file

KEPT = 200  # acknowledged tasks that are kept; the oldest are removed first
MOST_UNSENT = 500  # with so many reports waiting, no more tasks are accepted


class JournalFull(Exception):
    """Too many final reports wait for the server."""


class TaskJournal:
    """All tasks of one root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Prepare the journal for the one agent that writes it. Tasks that were only half written are removed."""
        make_folder(self._folder)
        for partial in self._folder.glob(f".*{PARTIAL}"):
            shutil.rmtree(partial, ignore_errors=True)
        self.prune()

    def find(self, key: str) -> Optional[TaskFolder]:
        """Return the task with this key, if it was ever accepted or refused."""
        path = self._folder / key
        return TaskFolder(path) if path.is_dir() else None

    def accept(self, task: Task) -> TaskFolder:
        """Write a new task. Once this has returned it will be carried out or reported on, whatever happens.

        Raises:
            JournalFull: too many reports wait for the server.
            OSError: the task cannot be written.
        """
        if len(self.unacknowledged()) >= MOST_UNSENT:
            raise JournalFull(f"{MOST_UNSENT} reports wait for the server")
        self.prune()
        with self._new(task.key) as folder:
            write_file(folder.path / "task.json", task.to_json(), is_only_writer=True)
            folder.reserve_space()
        return TaskFolder(self._folder / task.key)

    def refuse(self, task: Task, report: TaskReport) -> TaskFolder:
        """Write that a task is refused, with the report that says so."""
        with self._new(task.key) as folder:
            folder.write_report(report)
        return TaskFolder(self._folder / task.key)

    def unfinished(self) -> List[TaskFolder]:
        """Return the tasks that were accepted and are not over."""
        return [folder for folder in self._all() if not folder.is_over]

    def unacknowledged(self) -> List[TaskFolder]:
        """Return the tasks whose final report the server may not have, the longest waiting first."""
        return [folder for folder in self._all() if folder.is_over and not folder.is_acknowledged]

    def prune(self, kept: int = KEPT) -> None:
        """Remove acknowledged tasks, all but the `kept` latest."""
        over = [folder for folder in self._all() if folder.is_acknowledged]
        for folder in over[: max(len(over) - kept, 0)]:
            shutil.rmtree(folder.path, ignore_errors=True)

    @contextlib.contextmanager
    def _new(self, key: str) -> Iterator[TaskFolder]:
        partial = self._folder / f".{key}{PARTIAL}"
        try:
            make_folder(partial)
            yield TaskFolder(partial)
            os.rename(partial, self._folder / key)
            sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _all(self) -> List[TaskFolder]:
        """Return all tasks, the one that changed longest ago first."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append((entry.stat().st_ctime_ns, entry.name))  # changes with every file that comes or goes
        return [TaskFolder(self._folder / name) for _, name in sorted(found)]
