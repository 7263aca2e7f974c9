"""What a simulation showed: when rings began and ended, whom a bad release reached, who never got done and why."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Rollout
from backfleet.rollouts.simulation.engine import History
from backfleet.rollouts.states import ENDED, FAILURES, MemberState

MOST_SHOWN: Final = 100  # members that never got done
MOST_POINTS: Final = 400  # of the curves
_DONE: Final = (MemberState.SUCCEEDED, MemberState.ALREADY_THERE)


@dataclass(slots=True)
class Curve:
    """How many members had begun, were done and had failed, as time went by."""

    points: list[tuple[datetime, int, int, int]] = field(default_factory=list)

    def add(self, rollout: Rollout, board: Board, now: datetime) -> None:
        """Note where the rollout is; half of the points are dropped whenever there are too many."""
        done, failed = board.count_all(*_DONE), board.count_all(*FAILURES)
        begun = len(board) - board.count_all(MemberState.PENDING)
        if not self.points or self.points[-1][1:] != (begun, done, failed):
            self.points.append((now, begun, done, failed))
        if len(self.points) > 2 * MOST_POINTS:
            self.points = [*self.points[:-1:2], self.points[-1]]


def report_of(history: History, curve: Curve, bad: frozenset[str]) -> dict[str, Any]:
    """Return what a simulation showed, as it is printed in JSON.

    Args:
        history: the simulation.
        curve: its course.
        bad: clients on which the release is bad.
    """
    board, rollout = history.board, history.rollout
    left = [member for member in board if member.state not in _DONE]
    reached = [member for member in board if member.attempts]
    halted = next((event for event in history.events if event.what == "rollout" and event.to != "running"), None)
    return {
        "State": rollout.state.value,
        "Reason": rollout.reason,
        "IsComplete": rollout.state in ENDED,
        "Members": len(board),
        "Reached": len(reached),
        "BadReached": sum(member.client_id in bad for member in reached),
        "Done": len(board) - len(left),
        "StartedTime": _seconds(rollout.started_at),
        "FirstStop": "" if halted is None else f"{halted.to}: {halted.why}",
        "FirstStopTime": None if halted is None else _seconds(halted.at),
        "EndedTime": _seconds(history.ended_at),
        "MostOrdersAMinute": history.most_orders_a_minute,
        "Decisions": history.decisions,
        "Rings": [_ring(rollout, board, number) for number in range(len(rollout.rings))],
        "NotDone": [
            {"ClientId": each.client_id, "State": each.state.value, "Reason": each.reason or "it never began"}
            for each in sorted(left, key=lambda each: each.client_id)[:MOST_SHOWN]
        ],
        "NotDoneByReason": [
            {"State": state, "Reason": reason, "Members": number}
            for (state, reason), number in Counter(
                (each.state.value, each.reason or "it never began") for each in left
            ).most_common(20)
        ],
        "Curve": [
            {"Time": _seconds(at), "Begun": begun, "Done": done, "Failed": failed}
            for at, begun, done, failed in curve.points
        ],
    }


def _ring(rollout: Rollout, board: Board, number: int) -> dict[str, Any]:
    run = rollout.rings[number]
    return {
        "Name": rollout.policy.rings[number].name,
        "Members": board.ring_size(number),
        "Done": board.count(number, *_DONE),
        "Failed": board.failures[number],
        "StartedTime": _seconds(run.started_at),
        "FinishedTime": _seconds(run.finished_at),
    }


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
