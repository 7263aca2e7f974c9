"""How rings follow one another."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from backfleet.rollouts.board import BACKUP_FAILED
from backfleet.rollouts.model import Action, FirstRun, Member, Move, Signals
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.states import MAY_GO_BACK, MemberState, RingState, RolloutState
from backfleet.rollouts.strategy.beginning import Timetable, begin_members, last_begin
from backfleet.rollouts.strategy.checks import check_before, has_arrived
from backfleet.rollouts.strategy.ends import ASK_MOVED_AGAIN, end_unbegun, failed_backup, given_before, may_have_it
from backfleet.rollouts.strategy.tally import Tally
from backfleet_host.texts import counted

_OPEN: Final = (MemberState.PENDING, MemberState.UPGRADING, MemberState.VERIFYING, MemberState.ROLLING_BACK)


def advance_rings(tally: Tally, signals: Signals, timetable: Timetable) -> None:
    """Finish rings that are through, start the next one if its checks hold, and let members begin."""
    for ring, run in enumerate(tuple(tally.rings)):
        if run.state is RingState.PENDING and not _start(tally, signals, ring):
            return
        begin_members(tally, timetable, ring)
        if tally.rings[ring].state is not RingState.FINISHED:
            if not _is_through(tally, ring, timetable):
                return
            tally.move_ring(ring, RingState.FINISHED, _summary(tally, ring))
    if not tally.count_all(*_OPEN):
        tally.move_rollout(RolloutState.COMPLETED, "every member is in a final state")


def _start(tally: Tally, signals: Signals, ring: int) -> bool:
    if ring and not has_arrived(tally, ring):
        name = tally.rollout.policy.rings[ring - 1].name
        has = "has no member that succeeded" if tally.board.ring_size(ring - 1) else "has no members any more"
        what = "these settings" if tally.rollout.policy.kind is Kind.SETTINGS else "this version"
        tally.wait_for(f"ring {name} {has}, so nothing is known of {what}")
        return False
    answer = check_before(tally, signals, ring)
    if not answer.holds:
        tally.wait_for(answer.why)
        tally.wake_at(answer.until)
        return False
    tally.move_ring(ring, RingState.RUNNING, "its checks hold")
    return True


def _is_through(tally: Tally, ring: int, timetable: Timetable) -> bool:
    """Return whether a ring's members are final.

    Held and pinned ones do not count, nor those that fit no window before the deadline, nor do, after the first ring,
    those that wait for their host. The last ring waits for all.
    """
    if tally.count(ring, MemberState.UPGRADING, MemberState.VERIFYING, MemberState.ROLLING_BACK):
        return False
    pending = tally.count(ring, MemberState.PENDING)
    if not pending:
        return True
    shut = _zones_that_stay_shut(tally, ring, timetable)
    is_last = ring == len(tally.rings) - 1
    if is_last or set(tally.board.zones(ring)) - shut:
        return False
    waiting = list(tally.board.in_state(ring, MemberState.PENDING))
    if (
        sum(member.size for member in waiting) < pending
    ):  # an order came back just now, from a busy host for example: that is looked at next
        tally.wake_now()
        return False
    return ring > 0 or all(member.is_held or member.pinned or member.zone in shut for member in waiting)


def _zones_that_stay_shut(tally: Tally, ring: int, timetable: Timetable) -> set[str]:
    """Return the zones of members that could begin, and in which no window before the deadline is long enough."""
    end = last_begin(tally.rollout.policy)
    found = set()
    for zone in tally.board.zones(ring):
        needs = timedelta(seconds=next(tally.board.ready(ring, [zone])).needs_seconds)
        is_too_late = tally.now + needs > end  # for everybody: nobody else would begin instead
        if not is_too_late and not timetable.opens_for(zone, needs, tally.now, end):
            found.add(zone)
    if found:
        zones = ", ".join(zone or "the policy's zone" for zone in sorted(found))
        why = f"a window: none before the deadline is long enough for members in {zones}; they will expire"
        tally.waits_for = why  # rather than for the opening that comes next, which is of no use
    return found


def _summary(tally: Tally, ring: int) -> str:
    counts = [(state.value.replace("_", " "), tally.count(ring, state)) for state in MemberState]
    return ", ".join(f"{number} {name}" for name, number in counts if number) or "it has no members"


def end_at_deadline(tally: Tally) -> bool:
    """End every open member once the time is over; return whether it is."""
    end: datetime = last_begin(tally.rollout.policy)
    tally.wake_at(end)
    if tally.now < end:
        return False
    for member in tally.board.all_in_state(MemberState.PENDING, MemberState.UPGRADING, MemberState.VERIFYING):
        if member.first_run is FirstRun.FAILED and member.state is MemberState.VERIFYING:
            why = failed_backup(tally.rollout.policy)
            tally.move(member, Move(member.client_id, MemberState.FAILED, why, BACKUP_FAILED))
            continue
        begun = member.state is not MemberState.PENDING
        action = Action.WITHDRAW if member.state is MemberState.UPGRADING else None
        why = "the deadline came while it was under way" if begun else "the deadline came before it could begin"
        why = f"{why}: {member.pinned}" if member.pinned and not begun else why
        may_have = may_have_it(tally.rollout.policy, member)
        if not begun and member.ended and not may_have:
            tally.move(member, end_unbegun(member, MemberState.EXPIRED, why))
            continue
        if not begun and may_have:
            why = f"{why} again; {given_before(tally.rollout.policy)}"
        tally.move(member, Move(member.client_id, MemberState.EXPIRED, why, member.code, action))
    if tally.count_all(MemberState.PENDING, MemberState.UPGRADING, MemberState.VERIFYING):
        tally.wake_now()  # an order ended just now: a member moves once in a decision
        return True
    open_now = tally.count_all(MemberState.EXPIRED, MemberState.ROLLING_BACK)
    if open_now:
        tally.move_rollout(RolloutState.EXPIRED, f"the deadline came; {counted(open_now, 'member')} had not ended")
    elif tally.state is not RolloutState.RUNNING:
        why = f": {tally.reason}" if tally.reason else ""
        tally.move_rollout(RolloutState.EXPIRED, f"the deadline came while it was {tally.state}{why}")
    else:
        tally.move_rollout(RolloutState.COMPLETED, "every member is in a final state")
    return True


def skip_the_rest(tally: Tally) -> None:
    """Skip the members of a cancelled rollout that have not begun."""
    _end_pending(tally, "the rollout was cancelled")


def _end_pending(tally: Tally, why: str) -> None:
    """End the members that have not begun: as skipped, or as they had ended before.

    Those whose hosts an order before may have reached are lost.
    """
    policy = tally.rollout.policy
    for member in tally.board.all_in_state(MemberState.PENDING):
        if may_have_it(policy, member):
            move = Move(member.client_id, MemberState.LOST, f"{why}; {given_before(policy)}")
        else:
            move = end_unbegun(member, MemberState.SKIPPED, why)
        tally.move(member, move)


def roll_back_members(tally: Tally) -> None:
    """Roll back the members that may have the new version, within the pace; windows do not hold this up."""
    slots, _ = tally.free_in_flight()
    waits = 0
    later = tally.now + ASK_MOVED_AGAIN
    for member in _going_back(tally):
        if slots <= 0:
            _wait_for_ends(tally)
            return
        may = tally.state_of(member) is member.state and not (member.rolled_back_once or member.is_held)
        if may and member.not_before is not None and tally.now < member.not_before <= later:
            waits += 1
            tally.wake_at(member.not_before)
        elif may and not member.elsewhere and tally.blocked_by(member):
            waits += 1
        elif may and not member.elsewhere:
            why = "the rollout is rolled back"
            move = Move(member.client_id, MemberState.ROLLING_BACK, why, member.code, Action.ROLL_BACK)
            tally.move(member, move)
            slots -= 1
    if waits or tally.count_all(MemberState.UPGRADING, MemberState.ROLLING_BACK):
        _wait_for_ends(tally)
    elif tally.has_moved:
        tally.wake_now()  # an order ended just now: its host may have the new version, and goes back next
    else:
        _end_roll_back(tally)


def _rings_back(tally: Tally) -> Sequence[int]:
    only = tally.rollout.roll_back_ring
    return range(len(tally.rings)) if only is None else (only,)


def _going_back(tally: Tally) -> Iterator[Member]:
    """Return the members of what goes back that may have the new version."""
    for ring in _rings_back(tally):
        for member in tally.board.in_state(ring, *MAY_GO_BACK):
            if may_have_it(tally.rollout.policy, member):
                yield member


def _wait_for_ends(tally: Tally) -> None:
    number = tally.count_all(MemberState.UPGRADING, MemberState.ROLLING_BACK)
    if number:
        tally.wait_for(f"the end of {counted(number, 'order')} under way")


def _end_roll_back(tally: Tally) -> None:
    """End it, and say how many went back by its orders, and who has not and why."""
    stay = list(_going_back(tally))
    held = sum(each.size for each in stay if each.is_held)
    elsewhere = sum(each.size for each in stay if each.elsewhere and not each.is_held)
    failed = sum(each.size for each in stay) - held - elsewhere
    back = (each for ring in _rings_back(tally) for each in tally.board.in_state(ring, MemberState.ROLLED_BACK))
    number = sum(each.size for each in back if each.rolled_back_once)
    _end_pending(tally, "the rollout was rolled back")
    there = sum(tally.count(ring, MemberState.ALREADY_THERE) for ring in _rings_back(tally))
    notes = [
        f"; {counted(there, 'member')} had it already, and kept it" if there else "",
        f"; {counted(elsewhere, 'member')} had another version by then, and kept it" if elsewhere else "",
        f"; {counted(held, 'member')} on hold stayed: `rollout hold --release`, and roll back again" if held else "",
        f"; {failed} could not be rolled back, see the members; to try them again, roll back again" if failed else "",
    ]
    only = tally.rollout.roll_back_ring
    scope = "the rollout" if only is None else f"ring {tally.rollout.policy.rings[only].name}"
    tally.move_rollout(
        RolloutState.ROLLED_BACK, f"{scope} was rolled back: {counted(number, 'member')}{''.join(notes)}"
    )
