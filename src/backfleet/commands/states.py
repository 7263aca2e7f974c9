"""The life of one command on one instance: the whole of it on one screen."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an invocation stands."""

    WAITING = "waiting"  # for its agent to ask
    HANDED = "handed"  # given to the agent, which has not said that it began
    RUNNING = "running"
    LOST = "lost"  # began, or was to be stopped, then silent for longer than the lease: the outcome is not known
    FINISHED = "finished"  # ended by itself, with an exit code
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    FAILED = "failed"  # could not be run
    REFUSED = "refused"  # the agent would not run it
    CANCELLED = "cancelled"  # stopped before it was handed out


_ENDS: Final = frozenset({State.FINISHED, State.TIMED_OUT, State.STOPPED, State.FAILED, State.REFUSED})
"""How an agent may say that it ended."""

NEXT: Final[dict[State, frozenset[State]]] = {
    # One that was handed out before waits again while its agent may have it: its report is the truth here too.
    State.WAITING: frozenset({State.HANDED, State.RUNNING, State.LOST, State.CANCELLED}) | _ENDS,
    # Back to waiting: the agent never said that it got it.
    State.HANDED: frozenset({State.WAITING, State.RUNNING, State.LOST}) | _ENDS,
    State.RUNNING: frozenset({State.LOST}) | _ENDS,
    State.LOST: frozenset({State.RUNNING}) | _ENDS,
    State.FINISHED: frozenset(),
    State.TIMED_OUT: frozenset(),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset(),
    State.REFUSED: frozenset(),
    State.CANCELLED: frozenset(),
}
"""A state with no way out is final: the first terminal report wins."""

FINAL: Final = frozenset(state for state, ways in NEXT.items() if not ways)


def may_move(state: State, to: State) -> bool:
    """Whether the life of an invocation goes from here to there."""
    return to in NEXT[state]
