"""What a simulation showed: when rings began and ended, whom a bad release reached, who never got done and why."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Member, Rollout
from backfleet.rollouts.simulation.engine import History
from backfleet.rollouts.states import ENDED, FAILURES, MemberState

MOST_SHOWN: Final = 100  # members that never got done
MOST_REASONS: Final = 20
MOST_POINTS: Final = 400  # of the curves
_DONE: Final = (MemberState.SUCCEEDED, MemberState.ALREADY_THERE)

ClientsOf = Callable[[Member], Iterable[str]]


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


def report_of(history: History, curve: Curve, bad: Callable[[str], bool], clients_of: ClientsOf) -> dict[str, Any]:
    """Return what a simulation showed, as it is printed in JSON.

    Args:
        history: the simulation.
        curve: its course.
        bad: whether the release is bad on a client's host.
        clients_of: the clients that a member of the board stands for; those that have begun are all bad, or none is.
    """
    board, rollout = history.board, history.rollout
    left = [member for member in board if member.state not in _DONE]
    reached = [member for member in board if member.attempts]
    by_reason: Counter[tuple[str, str]] = Counter()
    for member in left:
        by_reason[member.state.value, member.reason or "it never began"] += member.size
    most = sorted(by_reason.items(), key=lambda each: (-each[1], each[0]))
    first = heapq.nsmallest(MOST_SHOWN, ((client_id, member) for member in left for client_id in clients_of(member)))
    halted = next((event for event in history.events if event.what == "rollout" and event.to != "running"), None)
    return {
        "State": rollout.state.value,
        "Reason": rollout.reason,
        "IsComplete": rollout.state in ENDED,
        "Members": len(board),
        "Reached": sum(member.size for member in reached),
        "BadReached": sum(member.size for member in reached if bad(member.client_id)),
        "Done": len(board) - sum(member.size for member in left),
        "StartedTime": _seconds(rollout.started_at),
        "FirstStop": "" if halted is None else f"{halted.to}: {halted.why}",
        "FirstStopTime": None if halted is None else _seconds(halted.at),
        "EndedTime": _seconds(history.ended_at),
        "MostOrdersAMinute": history.most_orders_a_minute,
        "Decisions": history.decisions,
        "Rings": [_ring(rollout, board, number) for number in range(len(rollout.rings))],
        "NotDone": [
            {"ClientId": client_id, "State": each.state.value, "Reason": each.reason or "it never began"}
            for client_id, each in first
        ],
        "NotDoneByReason": [
            {"State": state, "Reason": reason, "Members": number} for (state, reason), number in most[:MOST_REASONS]
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
