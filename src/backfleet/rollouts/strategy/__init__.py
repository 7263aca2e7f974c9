"""The rules of a rollout: pure. The worker and the simulator run the same function.

`decide` takes a rollout, its members, what is known of the world, and the time. It returns the moves to make now, each
with its reason, and the next instant at which to ask again. It reads no clock, draws no chance, and changes nothing.
"""

from datetime import datetime

from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Decision, FirstRun, Rollout, Signals
from backfleet.rollouts.policy import Then
from backfleet.rollouts.states import MemberState, RolloutState
from backfleet.rollouts.strategy.beginning import Timetable
from backfleet.rollouts.strategy.budget import Budget, halt_if_spent, ring_budgets, rollout_budget
from backfleet.rollouts.strategy.checks import broken_watch, ring_of_manual_check, unanswered_watch
from backfleet.rollouts.strategy.ends import end_orders, end_verifications
from backfleet.rollouts.strategy.rings import advance_rings, end_at_deadline, roll_back_members, skip_the_rest
from backfleet.rollouts.strategy.tally import Tally

__all__ = ["Budget", "Timetable", "decide", "ring_budgets", "rollout_budget"]

_R = RolloutState
_A_PERSON = "somebody who resumes or cancels it"
_IDLE = (_R.PAUSED, _R.HALTED, _R.SCHEDULED, _R.AWAITING_APPROVAL)


def decide(rollout: Rollout, board: Board, signals: Signals, timetable: Timetable, now: datetime) -> Decision:
    """Return what is to change now.

    Args:
        rollout: its policy, its state and its rings.
        board: its members. Those whose pause is over by `now` become ready on it; nothing else about it changes.
        signals: approvals, answers of outside checks, and the like.
        timetable: windows and freezes.
        now: the time, UTC.
    """
    tally = Tally(rollout, board, now)
    tally.wake_at(board.next_wake(now))
    end_orders(tally, timetable)
    end_verifications(tally)
    if rollout.state is _R.ROLLING_BACK:
        roll_back_members(tally)
    elif rollout.state is _R.CANCELLED:
        skip_the_rest(tally)
    elif rollout.state is _R.RUNNING or rollout.state in _IDLE:
        _go_on(tally, signals, timetable)
    if tally.state is _R.HALTED:
        tally.wait_for(_A_PERSON)
    return tally.decision()


def halts_at_once(rollout: Rollout, board: Board, signals: Signals, timetable: Timetable, now: datetime) -> str:
    """Return why a rollout that is resumed now would halt in its first decision; "" if it would not. See `decide`.

    A halt that lets a member go back, whose order a pause held up, does something: then a resume is no vain one.
    """
    lets_go_back = rollout.policy.failure.then is not Then.HOLD and any(
        member.state is MemberState.VERIFYING and member.first_run is FirstRun.FAILED for member in board.due()
    )
    decision = decide(rollout, board, signals, timetable, now)
    return decision.reason if decision.state is _R.HALTED and not lets_go_back else ""


def ring_for_a_person(rollout: Rollout, board: Board, signals: Signals, now: datetime) -> int | None:
    """Return the ring that a manual check alone keeps from starting; None if there is none. See `decide`."""
    return ring_of_manual_check(Tally(rollout, board, now), signals)


def _go_on(tally: Tally, signals: Signals, timetable: Timetable) -> None:
    if end_at_deadline(tally):
        return
    start_at = tally.rollout.start_at
    if tally.state is _R.SCHEDULED:
        if start_at is not None and tally.now < start_at:
            tally.wake_at(start_at)
            tally.wait_for(f"its start at {start_at:%Y-%m-%d %H:%M} UTC")
        else:
            tally.move_rollout(_R.RUNNING, "its time has come")
            tally.wake_now()
        return
    if tally.state is not _R.RUNNING:
        tally.wait_for(_A_PERSON if tally.state in (_R.PAUSED, _R.HALTED) else tally.reason)
        return
    if signals.starter_refused:
        why = f"whoever started it may not do this now: {signals.starter_refused}"
        tally.move_rollout(_R.HALTED, f"{why}; have that permitted, or cancel it and have somebody else apply it")
    elif not halt_if_spent(tally):
        broken, unanswered = broken_watch(tally, signals), unanswered_watch(tally, signals)
        if broken:
            tally.move_rollout(_R.HALTED, f"a check that watches does not hold: {broken}")
        elif unanswered:  # it was resumed, or the server was away: nobody begins before the answer is there
            tally.wait_for(unanswered)
        else:
            advance_rings(tally, signals, timetable)
