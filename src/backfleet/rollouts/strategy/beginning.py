"""Which members begin now: within the pace, the windows, and the domains."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Protocol

from backfleet.rollouts.model import Action, Member, Move, Opening
from backfleet.rollouts.policy import AtDeadline, Kind, Policy
from backfleet.rollouts.states import MemberState
from backfleet.rollouts.strategy.tally import Tally

_HOUR: Final = timedelta(hours=1)
_RAN: Final = (MemberState.SUCCEEDED, MemberState.ALREADY_THERE, MemberState.VERIFYING)
_ACTIONS: Final = {
    Kind.INSTALL: Action.INSTALL,
    Kind.PRECHECK: Action.PRECHECK,
    Kind.STAGE: Action.STAGE,
    Kind.ROLL_BACK: Action.ROLL_BACK,
    Kind.SETTINGS: Action.SETTINGS,
}


class Timetable(Protocol):
    """The windows and freezes of a policy, by time zone."""

    def opening(self, zone: str, now: datetime) -> Opening:
        """Return whether hosts of a zone ("" = the policy's own) may be changed now."""

    def opens_for(self, zone: str, needs: timedelta, begin: datetime, end: datetime) -> bool:
        """Return whether hosts of a zone may be changed for so long in one piece, between two times."""


def last_begin(policy: Policy) -> datetime:
    """Return the instant by which everything must have ended."""
    grace = timedelta(minutes=policy.busy.grace_minutes if policy.busy.at_deadline is AtDeadline.WAIT else 0)
    return policy.deadline + grace


def begin_members(tally: Tally, timetable: Timetable, ring: int) -> None:
    """Let members of a running ring begin, as many as may."""
    policy = tally.rollout.policy
    openings = {zone: timetable.opening(zone, tally.now) for zone in tally.board.zones(ring)}
    for opening in openings.values():
        tally.wake_at(opening.until)
    slots, why = free_slots(tally, ring)
    if slots <= 0:
        if openings:
            tally.wait_for(why)
        return
    is_open = [zone for zone, opening in openings.items() if opening.is_open]
    if openings and not is_open:
        tally.wait_for(next(iter(openings.values())).why)
    action = _ACTIONS.get(policy.kind, Action.MOVE)
    for member in _candidates(tally, ring, is_open, openings):
        if slots <= 0:
            return
        blocked = tally.blocked_by(member) if member.domains else ""
        if blocked:
            tally.wait_for(blocked)
            continue
        size = min(member.size, slots)
        tally.move(member, Move(member.client_id, MemberState.UPGRADING, "its order leaves", "", action, size=size))
        slots -= size


def free_slots(tally: Tally, ring: int) -> tuple[int, str]:
    """Return how many members may begin now by the pace, and what limits them."""
    pace, size = tally.rollout.policy.pace, len(tally.board)
    slots, why = tally.free_in_flight()
    if pace.ramp:
        allowed = 1 + tally.count(ring, *_RAN)
        here = tally.count(ring, MemberState.UPGRADING)
        if allowed - here < slots:
            slots, why = allowed - here, f"pace: the ring ramps up, {allowed} at one time now"
    if pace.per_hour is not None:
        most = pace.per_hour.at_least_one_of(size)
        hour_ago = tally.begin_of(_HOUR)
        left = most - tally.begun_after(hour_ago)
        if left < slots:
            slots, why = left, f"pace: {most} an hour"
            oldest = tally.board.oldest_begun_after(hour_ago)
            tally.wake_at(None if oldest is None else tally.end_of(oldest, _HOUR) + timedelta(microseconds=1))
    return slots, why


def _candidates(tally: Tally, ring: int, zones: list[str], openings: dict[str, Opening]) -> Iterator[Member]:
    """Yield the members that may begin now, by rank."""
    started = tally.rings[ring].started_at or tally.now
    end = last_begin(tally.rollout.policy)
    spread = tally.rollout.policy.pace.jitter_seconds
    limits = {zone: end if found.until is None else min(end, found.until) for zone, found in openings.items()}
    for member in tally.board.ready(ring, zones):
        if tally.is_full:
            return
        if tally.full and not tally.full.isdisjoint(member.domains):
            continue
        done_by = tally.now + timedelta(0, member.needs_seconds)
        if done_by > limits[member.zone] or tally.state_of(member) is not member.state:
            continue
        if spread:
            opened = max(started, openings[member.zone].since or started)
            at = opened + timedelta(seconds=member.rank % (spread + 1))
            if at > tally.now:
                tally.wake_at(at)
                continue
        yield member
