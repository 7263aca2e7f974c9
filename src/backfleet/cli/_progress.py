"""How far tasks are, as text: what of their items is over, how fast, and until when. Pure."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from backfleet.cli._tables import layout
from backfleet.values import value_object
from backfleet_host.texts import printable

HEADINGS: Final = ("INSTANCE", "CLIENT", "STATUS", "STAGE", "FROM", "TO", "CODE", "MESSAGE")
CURRENT: Final = "AlreadyCurrent"  # the host has the version already: a success
FINE: Final = (None, "", CURRENT)
LEAST_DONE: Final = 3  # items that must be over before a rate says anything
LEAST_SECONDS: Final = 5.0
BAR: Final = 20  # characters
AROUND: Final = 3  # lines of a screen besides the hosts: the bar, the headings, and the cursor's

Task = Mapping[str, Any]
Item = Mapping[str, Any]


def items_of(task: Task) -> list[dict[str, Any]]:
    """Return the items of a DescribeTask answer, whose Result is JSON text."""
    found = json.loads(task.get("Result") or "[]")
    return found if isinstance(found, list) else []


def as_document(task: Task) -> dict[str, Any]:
    """Return a DescribeTask answer with its items as they are, not as text."""
    return {**task, "Result": items_of(task)}


def item_row(item: Item) -> list[object]:
    """Return the row of an item in a task's table."""
    names = ("instanceId", "clientId", "clientStatus", "stage", "fromVersion", "toVersion", "errorCode", "message")
    return [item.get(name) for name in names]


def summary(task: Task) -> str:
    """Return how a task stands, in one line."""
    progress = "" if has_failed(task) else f", {task['Progress']} %"
    return f"{task['Name']}: {state_of(task)}{progress}"


def has_failed(task: Task) -> bool:
    """Return whether not every item of a task ended with success: the API says so by a Progress of -1."""
    return bool(task["Progress"] == -1)


def state_of(task: Task) -> str:
    """Return the state of a task, and whether it failed."""
    return f"{task['Description']}, failed" if has_failed(task) else str(task["Description"])


def is_over(task: Task) -> bool:
    """Return whether a task has ended."""
    return bool(task["Description"] != "created")


@value_object
class Progress:
    """The items of tasks at one moment."""

    items: tuple[Item, ...]
    seconds: float  # since they were begun to be watched
    done_before: int = 0  # items that were over then
    names: Mapping[str, str] = field(default_factory=dict)  # of instances

    @property
    def done(self) -> int:
        """How many items are over."""
        return sum(_is_over(item) for item in self.items)

    @property
    def failed(self) -> int:
        """How many of these ended badly."""
        return len(self.bad)

    @property
    def bad(self) -> list[Item]:
        """Those that ended badly."""
        return [item for item in self.items if _is_over(item) and item.get("errorCode") not in FINE]

    @property
    def current(self) -> int:
        """How many of these had nothing to do."""
        return sum(_is_over(item) and item.get("errorCode") == CURRENT for item in self.items)

    @property
    def per_minute(self) -> float | None:
        """How many items end in a minute; None if too few have."""
        done = self.done - self.done_before
        return done * 60 / self.seconds if done >= LEAST_DONE and self.seconds >= LEAST_SECONDS else None

    @property
    def seconds_left(self) -> float | None:
        """When all will be over at this rate, in seconds; None if that cannot be said."""
        rate = self.per_minute
        return (len(self.items) - self.done) * 60 / rate if rate else None


def line(progress: Progress) -> str:
    """Return how far it is, in one line."""
    parts = [f"{progress.done} of {len(progress.items)} done"]
    if progress.current:
        parts.append(f"{progress.current} already current")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    rate, left = progress.per_minute, progress.seconds_left
    if rate is not None and left:
        parts.append(f"{rate:.0f} a minute" if rate >= 10 else f"{rate:.1f} a minute")
        parts.append(f"about {span(left)} left")
    return ", ".join(parts)


def span(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def screen(progress: Progress, width: int, height: int) -> list[str]:
    """Return the lines of a live picture, none of them longer than the terminal and no more of them than it has.

    With more hosts than lines it shows how many are in which stage, and those that failed.
    """
    head = cut(f"{_bar(progress)} {line(progress)}", width)
    table = layout(("HOST", "STATUS", "STAGE", "FROM", "TO", "CODE"), _rows(progress, progress.items), width)
    lines = table.splitlines()
    if len(lines) + AROUND - 1 <= height:
        return [head, *lines]
    counts = Counter(_phase(item) for item in progress.items)
    shown = [head, *(cut(f"  {number:>6}  {phase}", width) for phase, number in sorted(counts.items()))]
    bad = progress.bad
    left = height - 1 - len(shown)
    if not bad or left < AROUND:
        return shown[: max(1, height - 1)]
    rows = layout(("HOST", "CODE", "MESSAGE"), _bad_rows(progress, bad[-left:]), None).splitlines()
    return [*shown, *(cut(row, width) for row in (rows[0], *rows[1:][-(left - 1) :]))]


def _rows(progress: Progress, items: Sequence[Item]) -> list[list[object]]:
    keys = ("clientStatus", "stage", "fromVersion", "toVersion", "errorCode")
    return [[_name(progress, item), *(item.get(key) for key in keys)] for item in items]


def _bad_rows(progress: Progress, items: Sequence[Item]) -> list[list[object]]:
    return [[_name(progress, item), item.get("errorCode"), item.get("message")] for item in items]


def bad_line(progress: Progress, item: Item) -> str:
    """Return how one item failed, in one line."""
    return f"{_name(progress, item)}: {item.get('errorCode')}: {item.get('message')}"


def _name(progress: Progress, item: Item) -> str:
    instance = str(item.get("instanceId") or "")
    return progress.names.get(instance) or instance or str(item.get("clientId") or "")


def _phase(item: Item) -> str:
    if _is_over(item):
        if item.get("errorCode") == CURRENT:
            return "already current"
        return f"failed: {item['errorCode']}" if item.get("errorCode") else "done"
    return str(item.get("stage") or "waiting")


def _is_over(item: Item) -> bool:
    return bool(item.get("completedTime"))


def _bar(progress: Progress) -> str:
    total = max(1, len(progress.items))
    bad = -(-progress.failed * BAR // total)
    good = min(BAR - bad, (progress.done - progress.failed) * BAR // total)
    return f"[{'#' * good}{'!' * bad}{'.' * (BAR - good - bad)}]"


def cut(text: str, width: int) -> str:
    """Return a text in at most so many columns; what is not printable is escaped."""
    from rich.cells import cell_len, set_cell_size

    shown = printable(text)
    return shown if cell_len(shown) <= width else f"{set_cell_size(shown, width - 1).rstrip()}…"
