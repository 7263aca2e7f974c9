"""The life of one client's upgrade, and of the task it belongs to: on one screen."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a task does to clients."""

    UPGRADE = "upgrade"
    INSTALL = "install"
    UNINSTALL = "uninstall"


class ItemState(StrEnum):
    """Where one client of a task stands."""

    WAITING = "waiting"  # to be sent
    SENT = "sent"  # its command is queued for the host
    RUNNING = "running"  # the host said that it began
    LOST = "lost"  # it began, and nothing is heard of it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_OVER_EARLY: Final = frozenset({ItemState.CANCELLED, ItemState.EXPIRED})  # every open state may end like this

NEXT: Final[dict[ItemState, frozenset[ItemState]]] = {
    ItemState.WAITING: frozenset({ItemState.SENT}) | _OVER_EARLY,
    ItemState.SENT: frozenset({ItemState.RUNNING, ItemState.LOST}) | _OVER_EARLY,
    ItemState.RUNNING: frozenset({ItemState.SUCCEEDED, ItemState.FAILED, ItemState.LOST}) | _OVER_EARLY,
    # Running again: the agent is heard and still at it. A late report is still the truth.
    ItemState.LOST: frozenset({ItemState.RUNNING, ItemState.SUCCEEDED, ItemState.FAILED}) | _OVER_EARLY,
    ItemState.SUCCEEDED: frozenset(),
    ItemState.FAILED: frozenset(),
    ItemState.CANCELLED: frozenset(),
    ItemState.EXPIRED: frozenset(),
}
"""A state with no way out is final. An item that is settled when its task is made is born final."""

FINAL: Final = frozenset(state for state, ways in NEXT.items() if not ways)
OPEN: Final = frozenset(NEXT) - FINAL


def may_move(state: ItemState, to: ItemState) -> bool:
    """Whether an item's life goes from here to there in one step."""
    return to in NEXT[state]


class TaskState(StrEnum):
    """A task's state, in the API's words."""

    CREATED = "created"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


def task_state(items: Collection[ItemState]) -> TaskState:
    """What a task is, judged by its items: `created` while one is open, then how the worst of them was ended."""
    if any(state in OPEN for state in items):
        return TaskState.CREATED
    if ItemState.EXPIRED in items:
        return TaskState.EXPIRED
    return TaskState.CANCELLED if ItemState.CANCELLED in items else TaskState.COMPLETED
