"""What the end of an order, and of a first backup, means for a member."""

from datetime import timedelta
from typing import Final

from backfleet.rollouts.board import BACKUP_FAILED, NO_BACKUP_SEEN
from backfleet.rollouts.model import Action, FirstRun, Member, Move, OrderEnd
from backfleet.rollouts.policy import Backups, Kind, Policy, Then
from backfleet.rollouts.states import ENDED, MemberState, RolloutState
from backfleet.rollouts.strategy.beginning import Timetable, last_begin
from backfleet.rollouts.strategy.tally import Tally

ASK_BUSY_AGAIN: Final = timedelta(minutes=5)
ASK_MOVED_AGAIN: Final = timedelta(minutes=1)
MOVED_BY_ANOTHER: Final = "UpgradeInProgress"
"""The code of an order that met another task for its client: that ends within its own time."""
LONGEST_PAUSE: Final = timedelta(hours=1)  # between two orders for a busy host
DEFAULT_FIRST_RUN_HOURS: Final = 48.0
_STAYS: Final = "; the client stays, as there is no version to go back to: `backfleet client uninstall` removes it"
_OBSERVED: Final = (Kind.UPGRADE, Kind.INSTALL, Kind.SETTINGS)
"""The kinds after which the first backup tells something."""

_ENDS: Final = {
    OrderEnd.ALREADY_THERE: (MemberState.ALREADY_THERE, "the host says that it has this version"),
    OrderEnd.ROLLED_BACK: (MemberState.ROLLED_BACK, "the host rolled back"),
    OrderEnd.FAILED: (MemberState.FAILED, "the order failed"),
    OrderEnd.REFUSED: (MemberState.SKIPPED, "the host refused"),
    OrderEnd.LOST: (MemberState.LOST, "the host has not reported"),
}
_DONE: Final = {
    Kind.UPGRADE: "upgraded",
    Kind.INSTALL: "installed",
    Kind.ROLL_BACK: "it has the older version",
    Kind.PRECHECK: "the precheck found nothing in the way",
    Kind.STAGE: "downloaded and verified",
    Kind.SETTINGS: "it has the settings",
}
"""What is said of a success where the host says nothing."""


def first_run_hours(policy: Policy, ring: int) -> float:
    """Return for how long a member of this ring waits for its first backup; 0 where nothing asks for it."""
    if policy.verification.first_run_hours:
        return policy.verification.first_run_hours
    later = (check for after in policy.rings[ring + 1 :] for check in after.checks)
    asks = any(isinstance(check, Backups) and check.first_run for check in later)
    return DEFAULT_FIRST_RUN_HOURS if asks else 0.0


def first_backup(policy: Policy) -> str:
    """Return what is awaited after an order, for people."""
    return f"its first backup under the new {'settings' if policy.kind is Kind.SETTINGS else 'version'}"


def may_have_it(policy: Policy, member: Member) -> bool:
    """Return whether an order may have given a member what the rollout brings: nobody calls it untouched then."""
    return member.given_at is not None and policy.kind not in (Kind.PRECHECK, Kind.STAGE)


def given_before(policy: Policy) -> str:
    """Return what is known of a member that ends before it begins again, for people."""
    what = "settings" if policy.kind is Kind.SETTINGS else "version"
    return f"by an order before, its host may have the new {what}"


def end_unbegun(member: Member, to: MemberState, why: str) -> Move:
    """Return how a member ends to which nothing was done: as it had ended where it was to be tried again, else `to`."""
    if member.ended is None:
        return Move(member.client_id, to, why)
    before = member.ended
    return Move(member.client_id, before.state, f"{before.reason}; it was to be tried again, but {why}", before.code)


def failed_backup(policy: Policy) -> str:
    """Return how a first backup failed, for people; where nothing can go back, also what to do."""
    return f"{first_backup(policy)} failed{_STAYS if policy.kind is Kind.INSTALL else ''}"


def end_orders(tally: Tally, timetable: Timetable) -> None:
    """Move the members whose order, or whose first backup, has ended."""
    backup_failed, policy = [], tally.rollout.policy
    waiting = frozenset(ring for ring in range(len(tally.rings)) if first_run_hours(policy, ring) > 0)
    for member in tally.board.due():
        if member.state is MemberState.VERIFYING and member.first_run is FirstRun.FAILED:
            backup_failed.append(member)
        elif member.state is MemberState.UPGRADING:
            tally.move(member, _after_order(tally, timetable, member, waits=member.ring in waiting))
        elif member.state is MemberState.ROLLING_BACK:
            tally.move(member, _after_roll_back(tally, member))
        elif member.state is MemberState.VERIFYING:
            why = f"{first_backup(policy)} succeeded"
            tally.move(member, Move(member.client_id, MemberState.SUCCEEDED, why))
        elif _is_known_after_all(policy, member):
            late = (
                _after_roll_back(tally, member)
                if member.rolled_back_once
                else _after_order(tally, timetable, member, late=True)
            )
            tally.move(member, late)
    for member in backup_failed:  # last: what ended above has freed places
        _end_failed_backup(tally, member)


def end_verifications(tally: Tally) -> None:
    """Move the members whose first backup did not come in time."""
    for ring in range(len(tally.rings)):
        wait = timedelta(hours=first_run_hours(tally.rollout.policy, ring))
        for member in tally.board.in_state(ring, MemberState.VERIFYING):  # those that began to wait first come first
            until = tally.end_of(member.since or tally.now, wait)
            if member.first_run is FirstRun.FAILED:
                continue  # it waits for its turn to be rolled back
            if until > tally.now:
                tally.wake_at(until)
                break
            tally.move(member, _without_run(tally.rollout.policy, member))


def _is_known_after_all(policy: Policy, member: Member) -> bool:
    """Return whether a lost or expired member's host has reported all that is needed."""
    if member.rolled_back_once:
        return True
    waits = member.end is OrderEnd.SUCCEEDED and first_run_hours(policy, member.ring) > 0
    return not waits or member.first_run is FirstRun.SUCCEEDED


def _after_order(
    tally: Tally, timetable: Timetable, member: Member, *, waits: bool = False, late: bool = False
) -> Move:
    end = member.end
    is_there_by_us = end is OrderEnd.ALREADY_THERE and member.given_at not in (None, member.begun_at)
    if end is OrderEnd.SUCCEEDED or is_there_by_us:
        if waits and tally.rollout.policy.kind in _OBSERVED:
            return Move(member.client_id, MemberState.VERIFYING, f"waits for {first_backup(tally.rollout.policy)}")
        return Move(member.client_id, MemberState.SUCCEEDED, member.end_text or _DONE[tally.rollout.policy.kind])
    if end in (OrderEnd.BUSY, OrderEnd.WITHDRAWN) and not late:
        return _again(tally, timetable, member)
    to, why = _ENDS.get(end or OrderEnd.FAILED, _ENDS[OrderEnd.FAILED])
    return Move(member.client_id, to, member.end_text or why, member.code)


def _again(tally: Tally, timetable: Timetable, member: Member) -> Move:
    has_ended, goes_back = tally.rollout.state in ENDED, tally.rollout.state is RolloutState.ROLLING_BACK
    if has_ended or goes_back:
        if not may_have_it(tally.rollout.policy, member):
            why = f"the rollout is {tally.rollout.state.replace('_', ' ')}"
            never = "" if member.ended else "; it never began"
            return end_unbegun(member, MemberState.SKIPPED, f"{why}{never}")
        why = f"its order was withdrawn; {given_before(tally.rollout.policy)}"
        return Move(member.client_id, MemberState.LOST if has_ended else MemberState.PENDING, why)
    if member.end is OrderEnd.WITHDRAWN:
        return Move(member.client_id, MemberState.PENDING, "its order was withdrawn before the host fetched it")
    pause = min(ASK_BUSY_AGAIN * 2 ** min(member.attempts, 8), _longest_pause(tally, timetable, member))
    why = member.end_text or "the host is busy"
    return Move(member.client_id, MemberState.PENDING, why, member.code, not_before=tally.now + pause)


def _longest_pause(tally: Tally, timetable: Timetable, member: Member) -> timedelta:
    """Return after how long a busy host is asked again at the latest.

    The nearer the last moment at which its order fits into the window or before the deadline, the shorter: half of what
    is left until then, so that a host which has become idle is not missed.
    """
    opening = timetable.opening(member.zone, tally.now)
    end = last_begin(tally.rollout.policy)
    if opening.is_open and opening.until is not None:
        end = min(end, opening.until)
    left = end - timedelta(seconds=member.needs_seconds) - tally.now
    return max(ASK_BUSY_AGAIN, min(LONGEST_PAUSE, left / 2))


def _after_roll_back(tally: Tally, member: Member) -> Move:
    if member.end in (OrderEnd.SUCCEEDED, OrderEnd.ALREADY_THERE):
        return Move(member.client_id, MemberState.ROLLED_BACK, member.end_text or "rolled back by order", member.code)
    if member.end is OrderEnd.LOST:
        return Move(member.client_id, MemberState.LOST, member.end_text or "the host has not reported", member.code)
    if member.code == MOVED_BY_ANOTHER and tally.rollout.state is RolloutState.ROLLING_BACK:
        why, at = f"{member.end_text}; it goes back after that", tally.now + ASK_MOVED_AGAIN
        return Move(member.client_id, MemberState.FAILED, why, member.code, not_before=at)
    return Move(member.client_id, MemberState.FAILED, f"it could not be rolled back: {member.end_text}", member.code)


def _without_run(policy: Policy, member: Member) -> Move:
    ended = "ended, and its result is not known" if member.first_run is FirstRun.UNKNOWN else "did not come"
    why = f"{first_backup(policy)} {ended}"
    if policy.verification.without_run == "accept":
        return Move(member.client_id, MemberState.SUCCEEDED, f"{why}; the policy accepts that")
    stays = _STAYS if policy.kind is Kind.INSTALL else ""
    return Move(member.client_id, MemberState.FAILED, f"{why}{stays}", NO_BACKUP_SEEN)


def _end_failed_backup(tally: Tally, member: Member) -> None:
    """Fail a member whose first backup failed, or roll it back where the policy says so and the pace lets it.

    Where its client was given another version since, by somebody else, it keeps that.

    A pause holds its order back like any other; until that leaves, the member counts as failed.
    """
    why = failed_backup(tally.rollout.policy)
    if tally.rollout.policy.failure.then is Then.HOLD:
        tally.move(member, Move(member.client_id, MemberState.FAILED, why, BACKUP_FAILED))
        return
    if member.elsewhere:
        why = f"{why}; its client has version {member.elsewhere} by now, not of this rollout, and keeps it"
        tally.move(member, Move(member.client_id, MemberState.FAILED, why, BACKUP_FAILED))
        return
    slots, _ = tally.free_in_flight()
    if slots <= 0 or tally.blocked_by(member) or tally.rollout.state is RolloutState.PAUSED:
        return
    tally.move(member, Move(member.client_id, MemberState.ROLLING_BACK, why, BACKUP_FAILED, Action.ROLL_BACK))
