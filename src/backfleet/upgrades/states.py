"""The life of one client's upgrade, and of the task it belongs to: on one screen."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a task does to clients."""

    UPGRADE = "upgrade"
    INSTALL = "install"
    UNINSTALL = "uninstall"


class ItemState(StrEnum):
    """Where one client of a task stands."""

    WAITING = "waiting"
    SENT = "sent"
    RUNNING = "running"
    LOST = "lost"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


NEXT: Final[dict[ItemState, frozenset[ItemState]]] = {
    ItemState.WAITING: frozenset(
        {ItemState.SENT, ItemState.SUCCEEDED, ItemState.FAILED, ItemState.CANCELLED, ItemState.EXPIRED}
    ),
    ItemState.SENT: frozenset(
        {
            ItemState.RUNNING,
            ItemState.LOST,
            ItemState.SUCCEEDED,
            ItemState.FAILED,
            ItemState.CANCELLED,
            ItemState.EXPIRED,
        }
    ),
    ItemState.RUNNING: frozenset(
        {ItemState.LOST, ItemState.SUCCEEDED, ItemState.FAILED, ItemState.CANCELLED, ItemState.EXPIRED}
    ),
    # A late report is still the truth.
    ItemState.LOST: frozenset(
        {ItemState.RUNNING, ItemState.SUCCEEDED, ItemState.FAILED, ItemState.CANCELLED, ItemState.EXPIRED}
    ),
    ItemState.SUCCEEDED: frozenset(),
    ItemState.FAILED: frozenset(),
    ItemState.CANCELLED: frozenset(),
    ItemState.EXPIRED: frozenset(),
}
"""A state with no way out is final."""

FINAL: Final = frozenset(state for state, ways in NEXT.items() if not ways)
OPEN: Final = frozenset(NEXT) - FINAL


def may_move(state: ItemState, to: ItemState) -> bool:
    """Whether an item's life goes from here to there."""
    return to in NEXT[state]


class TaskState(StrEnum):
    """A task's state, in the API's words."""

    CREATED = "created"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


def task_state(items: list[ItemState]) -> TaskState:
    """What a task is, judged by its items. While one is open it is `created`."""
    if any(state in OPEN for state in items):
        return TaskState.CREATED
    if ItemState.EXPIRED in items:
        return TaskState.EXPIRED
    return TaskState.CANCELLED if ItemState.CANCELLED in items else TaskState.COMPLETED
