"""Rollouts for tests of the rules: each row names what differs from a plain one, and what is decided then."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.rollouts.board import BACKUP_FAILED, NO_BACKUP_SEEN, Board
from backfleet.rollouts.model import Decision, Member, Opening, RingRun, Rollout, Signals
from backfleet.rollouts.policy import Amount, Failure, Pace, Policy, Ring, Verification
from backfleet.rollouts.states import MemberState, RingState, RolloutState
from backfleet.rollouts.strategy import decide

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
M, R = MemberState, RolloutState
ANY_PACE = Pace(in_flight=Amount(percent=100), ramp=False)
LENIENT: dict[str, Any] = {"failure": Failure(Amount(percent=100)), "verification": Verification(48)}

MAY_HAVE = (M.SUCCEEDED, M.VERIFYING, M.LOST, M.EXPIRED, M.ROLLING_BACK)

PENDING = RingRun()
RUNNING = RingRun(RingState.RUNNING, NOW - HOUR)
FINISHED = RingRun(RingState.FINISHED, NOW - 30 * HOUR, NOW - 2 * HOUR)

SIGNALS = Signals()

row = pytest.param


def policy(*rings: Ring, **changes: Any) -> Policy:
    """Return a policy of one ring, without a limit, for a day."""
    known: dict[str, Any] = {
        "name": "courier",
        "package": "courier",
        "version": "2.0",
        "deadline": NOW + 24 * HOUR,
        "pace": ANY_PACE,
        "rings": rings or (Ring("all"),),
    }
    return Policy(**known | changes)


def some(number: int, state: MemberState = M.PENDING, ring: int = 0, **facts: Any) -> list[Member]:
    """Return so many members of a ring in a state, as they are an hour after their order left if it has."""
    begun = None if state is M.PENDING else NOW - HOUR
    common = {"since": NOW - HOUR, "begun_at": begun} | facts
    if state in MAY_HAVE or (state is M.FAILED and facts.get("code") in (BACKUP_FAILED, NO_BACKUP_SEEN)):
        common = {"given_at": common["begun_at"]} | common
    found = []
    for at in range(number):
        kind = f"{facts.get('end') or ''}{facts.get('first_run') or ''}"
        name = f"{facts.get('code', '')}{ring}-{state.value}-{kind}{at:04d}"
        found.append(Member(name, f"i-{name}", ring, rank=at, state=state, **common))
    return found


def tagged(state: MemberState = M.PENDING, ring: int = 0, name: str = "", **tags: str) -> Member:
    """Return a member with these tags."""
    member = some(1, state, ring)[0]
    name = name or "-".join((state.value, *tags.values()))
    return member._replace(client_id=name, domains=tuple(tags.items()))


@dataclass(frozen=True)
class Zones:
    """Windows that a test opens and closes: one that is not named is open for good."""

    openings: Mapping[str, Opening] = field(default_factory=dict)

    def opening(self, zone: str, now: datetime) -> Opening:
        """Return what the test says of a zone."""
        return self.openings.get(zone, Opening(is_open=True))

    def opens_for(self, zone: str, needs: timedelta, begin: datetime, end: datetime) -> bool:
        """Return whether the zone's one opening, or the time after it, is long enough."""
        found = self.opening(zone, begin)
        if found.is_open:
            return begin + needs <= (end if found.until is None else min(found.until, end))
        return found.until is not None and found.until + needs <= end


def decided(
    document: Policy,
    members: Iterable[Member],
    *runs: RingRun,
    state: RolloutState = R.RUNNING,
    signals: Signals = SIGNALS,
    zones: Mapping[str, Opening] | None = None,
    now: datetime = NOW,
    **changes: Any,
) -> Decision:
    """Return what is decided of a rollout whose rings are as given; all run where none is given."""
    rings = runs or (RUNNING,) * len(document.rings)
    known: dict[str, Any] = {"author": "a", "starter": "s", "started_at": NOW - HOUR}
    rollout = Rollout("ro-1", "1", document, state, "2.0", rings, **known | changes)
    return decide(rollout, Board(document, members), signals, Zones(zones or {}), now)


def begun(found: Decision) -> list[str]:
    """Return the members whose order leaves."""
    return [move.client_id for move in found.moves if move.to is M.UPGRADING]


def moved_to(found: Decision) -> list[tuple[MemberState, str]]:
    """Return where members go, and with which code."""
    return [(move.to, move.code) for move in found.moves]
