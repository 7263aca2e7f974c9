"""What a decision makes of a rollout and its members. Pure: the worker stores it, the simulator keeps it in memory."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from backfleet.rollouts.model import Decision, FirstRun, Member, Move, RingRun, Rollout
from backfleet.rollouts.states import MemberState, RingState, RolloutState, may_move, rollout_may_move

_M = MemberState
_SENDS = (_M.UPGRADING, _M.ROLLING_BACK)
_UNTOUCHED = (_M.PENDING, _M.SKIPPED)
_MAY_HAVE = (_M.SUCCEEDED, _M.VERIFYING, _M.LOST, _M.EXPIRED)


class IllegalMove(Exception):
    """No such move is in the table of states: a fault of this program, not of a host."""


def moved_member(member: Member, move: Move, now: datetime) -> Member:
    """Return a member after its move.

    Raises:
        IllegalMove: no such move is in the table of states.
    """
    goes_back_untouched = move.to is _M.ROLLING_BACK and member.state in _UNTOUCHED and member.given_at is None
    if not may_move(member.state, move.to) or goes_back_untouched:
        raise IllegalMove(f"{member.client_id}: {member.state} -> {move.to} ({move.why})")
    to = move.to
    facts: dict[str, Any] = {
        "state": to,
        "since": now,
        "reason": move.why,
        "code": move.code,
        "not_before": move.not_before,
        "rolled_back_once": _sent_back_once(member, move),
        "given_at": given_at(member, to),
        "ended": member.ended if to in (_M.PENDING, _M.UPGRADING) else None,
    }
    if to in _SENDS:
        facts |= {"end": None, "end_text": "", "begun_at": now}
    elif to is _M.PENDING:
        facts["begun_at"] = None
    elif member.state is _M.PENDING:  # it ends by an order before that may have reached its host, or as one of none
        facts["begun_at"] = member.given_at
    if to is _M.UPGRADING:
        facts |= {"attempts": member.attempts + 1, "first_run": FirstRun.NONE, "rolled_back_once": False}
    return member.changed(facts)


def _sent_back_once(member: Member, move: Move) -> bool:
    """Return whether an order to go back was sent that counts: one that met another task is sent again."""
    is_sent_again = move.to is _M.FAILED and move.not_before is not None
    return move.to is _M.ROLLING_BACK or (member.rolled_back_once and not is_sent_again)


def given_at(member: Member, to: MemberState) -> datetime | None:
    """Return when the first order left that may have given a member what the rollout brings, after it moves.

    Orders that are withdrawn, refused or busy bring nothing, nor does one that fails; what an order before them may
    have given it is still there, until the host says that it went back.
    """
    if to in _MAY_HAVE:
        return member.given_at or member.begun_at
    if to is _M.ROLLED_BACK:
        return None
    is_of_this_order = member.given_at == member.begun_at and member.state is not _M.VERIFYING
    has_left = is_of_this_order and to not in _SENDS and not member.rolled_back_once
    return None if has_left else member.given_at


def moved_rollout(rollout: Rollout, decision: Decision, now: datetime) -> Rollout:
    """Return a rollout after a decision: its rings and its own state.

    Raises:
        IllegalMove: no such move is in the table of states.
    """
    rings = list(rollout.rings)
    for move in decision.ring_moves:
        rings[move.ring] = _moved_ring(rings[move.ring], move.to, now)
    moved = replace(rollout, rings=tuple(rings))
    return moved if decision.state is None else with_state(moved, decision.state, decision.reason, now, decision)


def check_move(rollout_id: str, state: RolloutState, to: RolloutState, reason: str) -> None:
    """Raise IllegalMove where the table of states has no such move of a rollout."""
    if not rollout_may_move(state, to):
        raise IllegalMove(f"{rollout_id}: {state} -> {to} ({reason})")


def with_state(
    rollout: Rollout, to: RolloutState, reason: str, now: datetime, decision: Decision | None = None
) -> Rollout:
    """Return a rollout in another state.

    Raises:
        IllegalMove: no such move is in the table of states.
    """
    check_move(rollout.id, rollout.state, to, reason)
    starts = to is RolloutState.RUNNING and rollout.started_at is None
    return replace(
        rollout,
        state=to,
        reason=reason,
        started_at=now if starts else rollout.started_at,
        roll_back_ring=None if decision is None else decision.roll_back_ring,
    )


def _moved_ring(run: RingRun, to: RingState, now: datetime) -> RingRun:
    if to is RingState.RUNNING:
        return replace(run, state=to, started_at=run.started_at or now)
    return replace(run, state=to, finished_at=now)
