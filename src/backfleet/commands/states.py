"""The states of one invocation, and every move between them."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of an invocation."""

    WAITING = "waiting"  # for its agent to fetch it
    HANDED = "handed"  # fetched by the agent, which has not reported that it began
    RUNNING = "running"
    LOST = "lost"  # began, or was to be stopped, and its lease ran out: the outcome is not known
    FINISHED = "finished"  # ended by itself, with an exit code
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    FAILED = "failed"  # could not be run
    REFUSED = "refused"  # the agent would not run it
    CANCELLED = "cancelled"  # stopped before it was handed out
    GONE = "gone"  # its instance was deregistered before its agent reported an end


_ENDS: Final = frozenset({State.FINISHED, State.TIMED_OUT, State.STOPPED, State.FAILED, State.REFUSED})
"""How an agent may report that it ended."""

_OVER_HERE: Final = frozenset({State.CANCELLED, State.GONE})

NEXT: Final[dict[State, frozenset[State]]] = {
    # One that waits again after a lease ran out may be on its host all the same: then its report counts.
    State.WAITING: frozenset({State.HANDED, State.RUNNING, State.LOST, *_OVER_HERE}) | _ENDS,
    # Back to waiting: the agent never reported that it began.
    State.HANDED: frozenset({State.WAITING, State.RUNNING, State.LOST, State.GONE}) | _ENDS,
    State.RUNNING: frozenset({State.LOST, State.GONE}) | _ENDS,
    State.LOST: frozenset({State.RUNNING, State.GONE}) | _ENDS,
    State.FINISHED: frozenset(),
    State.TIMED_OUT: frozenset(),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset(),
    State.REFUSED: frozenset(),
    State.CANCELLED: frozenset(),
    State.GONE: frozenset(),
}
"""The states that may follow each state. One that nothing follows is final: the first final report wins."""

FINAL: Final = frozenset(state for state, following in NEXT.items() if not following)


def may_move(state: State, to: State) -> bool:
    """Return whether an invocation may go from `state` to `to`."""
    return to in NEXT[state]
