"""The states of members, rings and rollouts, and the moves between them: one table each."""

from enum import StrEnum
from typing import Final


class MemberState(StrEnum):
    """One client's state in a rollout.

    People are shown more, see `showing`: a pending member of a ring that has started is `waiting`, with what for; one
    whose order is under way is `prechecked`, then `staged`, as its host reports it.
    """

    __hash__ = str.__hash__  # they are keys of counts, looked up a million times

    PENDING = "pending"
    UPGRADING = "upgrading"
    VERIFYING = "verifying"  # the new version runs; its first real backup is awaited
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    ALREADY_THERE = "already_there"
    SKIPPED = "skipped"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    LOST = "lost"


_M = MemberState
_ENDS: Final = frozenset({_M.SUCCEEDED, _M.ALREADY_THERE, _M.SKIPPED, _M.FAILED, _M.ROLLED_BACK, _M.EXPIRED, _M.LOST})

NEXT: Final[dict[MemberState, frozenset[MemberState]]] = {
    # Rolling back, or lost: one that is tried again, where an order before may have reached its host. Failed, or rolled
    # back: one that had ended so before it was to be tried again, and to which nothing was done since.
    _M.PENDING: frozenset({_M.UPGRADING, _M.SKIPPED, _M.EXPIRED, _M.ROLLING_BACK, _M.LOST, _M.FAILED, _M.ROLLED_BACK}),
    # Pending again: the host was busy, or the order was withdrawn before it was handed out.
    _M.UPGRADING: frozenset({_M.PENDING, _M.VERIFYING}) | _ENDS,
    _M.VERIFYING: frozenset({_M.SUCCEEDED, _M.FAILED, _M.EXPIRED, _M.ROLLING_BACK, _M.SKIPPED}),
    _M.ROLLING_BACK: frozenset({_M.ROLLED_BACK, _M.FAILED, _M.LOST}),
    _M.SUCCEEDED: frozenset({_M.ROLLING_BACK}),
    _M.ALREADY_THERE: frozenset(),
    _M.SKIPPED: frozenset({_M.PENDING, _M.ROLLING_BACK}),  # tried again; or back, where an order before did something
    _M.FAILED: frozenset({_M.PENDING, _M.VERIFYING, _M.ROLLING_BACK}),  # verifying: its backup is awaited anew
    _M.ROLLED_BACK: frozenset({_M.PENDING}),
    _M.EXPIRED: frozenset(
        {_M.PENDING, _M.SUCCEEDED, _M.ALREADY_THERE, _M.SKIPPED, _M.FAILED, _M.ROLLED_BACK, _M.ROLLING_BACK}
    ),
    # A lost host may still say what became of it.
    _M.LOST: frozenset(
        {_M.PENDING, _M.SUCCEEDED, _M.ALREADY_THERE, _M.SKIPPED, _M.FAILED, _M.ROLLED_BACK, _M.ROLLING_BACK}
    ),
}
"""The states that may follow each state of a member."""

FINAL: Final = _ENDS
OPEN: Final = frozenset(NEXT) - FINAL
FAILURES: Final = frozenset({_M.FAILED, _M.ROLLED_BACK, _M.LOST})
"""What a budget counts, beside members that expired after their order had left."""


MAY_GO_BACK: Final = (_M.SUCCEEDED, _M.VERIFYING, _M.EXPIRED, _M.LOST, _M.FAILED, _M.SKIPPED, _M.PENDING)
"""Of these, members go back that may have what the rollout brings."""


class RingState(StrEnum):
    """A ring's state."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"  # its members are final, or wait for hosts that are away or busy


class RolloutState(StrEnum):
    """A rollout's state."""

    DRAFT = "draft"
    AWAITING_APPROVAL = "awaiting_approval"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"  # by a person
    HALTED = "halted"  # by itself
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_R = RolloutState
_STOPS: Final = frozenset({_R.CANCELLED, _R.EXPIRED})

ROLLOUT_NEXT: Final[dict[RolloutState, frozenset[RolloutState]]] = {
    _R.DRAFT: frozenset({_R.AWAITING_APPROVAL, _R.SCHEDULED, _R.RUNNING}) | _STOPS,
    _R.AWAITING_APPROVAL: frozenset({_R.SCHEDULED, _R.RUNNING, _R.PAUSED}) | _STOPS,
    _R.SCHEDULED: frozenset({_R.RUNNING, _R.PAUSED}) | _STOPS,
    _R.RUNNING: frozenset({_R.PAUSED, _R.HALTED, _R.ROLLING_BACK, _R.COMPLETED}) | _STOPS,
    _R.PAUSED: frozenset({_R.SCHEDULED, _R.RUNNING, _R.HALTED, _R.ROLLING_BACK}) | _STOPS,
    _R.HALTED: frozenset({_R.RUNNING, _R.ROLLING_BACK}) | _STOPS,
    # Rolling back again: a ring goes back, and then all do. Cancelled: where its policy cannot be read any more.
    _R.ROLLING_BACK: frozenset({_R.ROLLED_BACK, _R.HALTED, _R.ROLLING_BACK, _R.CANCELLED}),
    _R.COMPLETED: frozenset({_R.ROLLING_BACK}),
    _R.EXPIRED: frozenset({_R.ROLLING_BACK}),
    _R.CANCELLED: frozenset({_R.ROLLING_BACK}),
    _R.ROLLED_BACK: frozenset({_R.ROLLING_BACK}),  # it may have been one ring of several
}
"""The states that may follow each state of a rollout."""

ENDED: Final = frozenset({_R.COMPLETED, _R.EXPIRED, _R.CANCELLED, _R.ROLLED_BACK})


def may_move(state: MemberState, to: MemberState) -> bool:
    """Return whether a member may go from `state` to `to` in one step."""
    return to in NEXT[state]


def rollout_may_move(state: RolloutState, to: RolloutState) -> bool:
    """Return whether a rollout may go from `state` to `to` in one step."""
    return to in ROLLOUT_NEXT[state]
