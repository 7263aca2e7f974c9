"""The states of an item (one client's upgrade) and of its task, and every move between them."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a task does to clients."""

    UPGRADE = "upgrade"
    INSTALL = "install"
    UNINSTALL = "uninstall"
    PRECHECK = "precheck"  # changes nothing: what would be refused?
    STAGE = "stage"  # downloads and verifies, for an upgrade to come
    ROLL_BACK = "roll-back"  # to the version that ran before, or down to a named one
    SETTINGS = "settings"  # saves those of the task for whatever runs the client, and touches no version


class ItemState(StrEnum):
    """The state of one client of a task."""

    WAITING = "waiting"  # for the worker to send its order
    SENT = "sent"  # its order is on the way to the host
    RUNNING = "running"  # the host has begun
    LOST = "lost"  # it was sent, and the carrier has lost track of it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


# Every open item may end like this, before its host reports an end.
_OVER_EARLY: Final = frozenset({ItemState.CANCELLED, ItemState.EXPIRED})

NEXT: Final[dict[ItemState, frozenset[ItemState]]] = {
    ItemState.WAITING: frozenset({ItemState.SENT}) | _OVER_EARLY,
    ItemState.SENT: frozenset({ItemState.RUNNING, ItemState.LOST}) | _OVER_EARLY,
    ItemState.RUNNING: frozenset({ItemState.SUCCEEDED, ItemState.FAILED, ItemState.LOST}) | _OVER_EARLY,
    # Running again: the agent is heard of again. A late report counts.
    ItemState.LOST: frozenset({ItemState.RUNNING, ItemState.SUCCEEDED, ItemState.FAILED}) | _OVER_EARLY,
    ItemState.SUCCEEDED: frozenset(),
    ItemState.FAILED: frozenset(),
    ItemState.CANCELLED: frozenset(),
    ItemState.EXPIRED: frozenset(),
}
"""The states that may follow each state. One that nothing follows is final; an item may also start in a final one."""

FINAL: Final = frozenset(state for state, following in NEXT.items() if not following)
OPEN: Final = frozenset(NEXT) - FINAL


def may_move(state: ItemState, to: ItemState) -> bool:
    """Return whether an item may go from `state` to `to` in one step."""
    return to in NEXT[state]


class TaskState(StrEnum):
    """A task's state, in the API's words."""

    CREATED = "created"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


def task_state(items: Collection[ItemState]) -> TaskState:
    """Return a task's state, given its items': `created` while one is open, then expired, cancelled or completed."""
    if any(state in OPEN for state in items):
        return TaskState.CREATED
    if ItemState.EXPIRED in items:
        return TaskState.EXPIRED
    return TaskState.CANCELLED if ItemState.CANCELLED in items else TaskState.COMPLETED
