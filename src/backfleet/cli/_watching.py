"""Showing tasks until they end: redrawn on a terminal, line by line elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backfleet.cli import _progress as progress
from backfleet.cli._client import Client
from backfleet.cli._drawing import Drawing
from backfleet.cli._print import say
from backfleet.cli._tables import Output
from backfleet.cli._waiting import POLL_SECONDS, Poller, stoppable

MOST_LISTED: Final = 50  # items listed at the end, if more did well
POLLS_A_SECOND: Final = 20  # of many tasks

Names = Mapping[str, str]


def wait_for(
    api: Client, task_ids: Sequence[str], *, draw: bool, names: Names | None = None, has_answered: bool = False
) -> list[dict[str, Any]]:
    """Poll tasks until all have ended, and return their last answers. An interrupt says how to go on.

    Args:
        api: whom to ask.
        task_ids: the tasks.
        draw: whether progress is shown.
        names: of the instances, for people.
        has_answered: whether the server is known to be there.
    """
    go_on = f"go on with `backfleet task wait {' '.join(task_ids)}`"
    poller = Poller(f"The tasks go on without this command; {go_on}", has_answered=has_answered)

    def read(task_id: str) -> dict[str, Any]:
        return poller.poll(lambda: api.call("hbr", "DescribeTask", TaskId=task_id))

    lines = [f"stopped waiting; {_named(task_ids)} on without this command", go_on]
    with stoppable(lambda: lines), _show(names or {}, draw=draw) as shown:
        found = {task_id: read(task_id) for task_id in task_ids}
        while True:
            answers = [found[task_id] for task_id in task_ids]
            shown.show(answers)
            if all(map(progress.is_over, answers)):
                return answers
            time.sleep(max(POLL_SECONDS, len(answers) / POLLS_A_SECOND))
            found |= {task_id: read(task_id) for task_id, task in found.items() if not progress.is_over(task)}


def _named(task_ids: Sequence[str]) -> str:
    return f"{', '.join(task_ids)} {'go' if len(task_ids) > 1 else 'goes'}"


def show_ended(tasks: Sequence[dict[str, Any]], output: Output | None = None) -> None:
    """Print how tasks ended: a line for each, and their items, or of many those that failed."""
    items = [item for task in tasks for item in progress.items_of(task)]
    if output is not None and output.form != "table":
        documents = [progress.as_document(task) for task in tasks]
        show_items(items, output, documents[0] if len(documents) == 1 else documents)
        return
    for task in tasks:
        say(progress.summary(task))
    listed = items if len(items) <= MOST_LISTED else [item for item in items if item.get("errorCode")]
    show_items(listed, output or Output(), None)
    if len(listed) < len(items):
        say(f"and {len(items) - len(listed)} that did well")


def show_items(items: Sequence[progress.Item], output: Output, document: Any) -> None:
    """Print the items of a task."""
    output.show(progress.HEADINGS, [progress.item_row(item) for item in items], document)


def have_succeeded(tasks: Sequence[dict[str, Any]]) -> bool:
    """Return whether every item of tasks did well."""
    return all(task["Progress"] == 100 for task in tasks)


class _Lines:
    """Prints a line where something ended: for logs and pipes."""

    def __init__(self, names: Names, *, is_silent: bool) -> None:
        self._names, self._is_silent = names, is_silent
        self._last, self._bad = "", set[tuple[object, object]]()
        self._timer = _Timer()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_failure: object) -> None:
        return None

    def show(self, tasks: Sequence[dict[str, Any]]) -> None:
        """Print what is new."""
        if self._is_silent:
            return
        now = self._timer.progress(tasks, self._names)
        bad = {(item.get("instanceId"), item.get("clientId")): item for item in now.bad}
        for key, item in bad.items():
            if key not in self._bad:
                say(progress.bad_line(now, item))
        self._bad |= bad.keys()
        if now.done and f"{now.done} {now.failed}" != self._last:
            say(progress.line(now))
        self._last = f"{now.done} {now.failed}"


class _Picture:
    """Redraws a picture that fits the terminal."""

    def __init__(self, names: Names) -> None:
        self._names, self._timer, self._drawing = names, _Timer(), Drawing()

    def __enter__(self) -> "_Picture":
        self._drawing.__enter__()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._drawing.__exit__()

    def show(self, tasks: Sequence[dict[str, Any]]) -> None:
        """Draw the tasks as they are."""
        width, height = self._drawing.size
        self._drawing.show(progress.screen(self._timer.progress(tasks, self._names), width, height))


class _Timer:
    """Measures how fast items end, since the first answer."""

    def __init__(self) -> None:
        self._began, self._done = 0.0, -1

    def progress(self, tasks: Sequence[dict[str, Any]], names: Names) -> progress.Progress:
        """Return how far tasks are now."""
        items = tuple(item for task in tasks for item in progress.items_of(task))
        if self._done < 0:
            self._began, self._done = time.monotonic(), progress.Progress(items, 0).done
        return progress.Progress(items, time.monotonic() - self._began, self._done, names)


def _show(names: Names, *, draw: bool) -> _Lines | _Picture:
    if draw and sys.stdout.isatty():
        return _Picture(names)
    return _Lines(names, is_silent=not draw)
