"""What is stored of rollouts and members, beside what the strategy reads. Plain values: no SQL."""

import json
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from backfleet.rollouts.applying import check_move
from backfleet.rollouts.elapsed import read_gaps, with_gap, write_gaps
from backfleet.rollouts.model import Ended, Member, RingRun, Rollout
from backfleet.rollouts.policy import Policy, PolicyRefused, lenient, read_policy
from backfleet.rollouts.states import MemberState, RingState, RolloutState
from backfleet.rollouts.waiting import Waits, read_waits
from backfleet.values import value_object

SHOWN: Final = 3  # faults of a policy that cannot be read
LONGEST_FAULTS: Final = 500  # characters


@value_object
class MemberRecord:
    """A member, and the item of a task that moves it."""

    member: Member
    task_id: str = ""
    item_id: str = ""


@value_object
class RolloutRecord:
    """A rollout as it is stored."""

    id: str
    account_id: str
    region: str
    name: str
    policy: str  # as its owner wrote it
    policy_sha256: str
    package: str
    kind: str
    state: RolloutState
    author: str  # JSON: a caller
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    rings: str  # JSON
    starter: str = ""
    reason: str = ""
    waits_for: str = ""
    waits: str = "{}"  # JSON, see `waiting`
    target_version: str = ""
    start_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    roll_back_ring: int | None = None
    decide_at: datetime | None = None
    decided_at: datetime | None = None  # the last decision that was stored
    gaps: str = "[]"  # JSON
    revision: int = 0
    events: int = 0
    head: str = ""

    @property
    def document(self) -> Policy:
        """The policy, read.

        Raises:
            PolicyRefused: another version stored it, and this one refuses it; `unreadable` says why.
        """
        found = _read(self.policy)
        if isinstance(found, PolicyRefused):
            raise found
        return found

    @property
    def unreadable(self) -> str:
        """Why this version cannot decide it, and what to do; "" if it can read its policy."""
        found = _read(self.policy)
        if not isinstance(found, PolicyRefused):
            return ""
        why = "; ".join(map(str, found.faults[:SHOWN]))
        return (
            f"this version of Backfleet cannot read its policy ({why[:LONGEST_FAULTS]}). Nothing of it moves: cancel it"
            " and apply the policy corrected, or go back to the version that stored it"
        )

    @property
    def ring_runs(self) -> tuple[RingRun, ...]:
        """How far each ring is."""
        return read_rings(self.rings)

    @property
    def ring_names(self) -> tuple[str, ...]:
        """The name of each ring, also where the policy cannot be read."""
        found = _read(self.policy)
        if isinstance(found, PolicyRefused):
            return lenient.ring_names(self.policy, len(self.ring_runs))
        return tuple(ring.name for ring in found.rings)

    @property
    def waiting(self) -> Waits:
        """How many members of the rings that have started wait, by what for; nothing of one that does not run."""
        return read_waits(self.waits) if self.state is RolloutState.RUNNING else {}

    def rollout(self) -> Rollout:
        """Return what the strategy reads of it."""
        return Rollout(
            id=self.id,
            account_id=self.account_id,
            policy=self.document,
            state=self.state,
            target_version=self.target_version,
            rings=read_rings(self.rings),
            author=self.author,
            starter=self.starter,
            reason=self.reason,
            created_at=self.created_at,
            started_at=self.started_at,
            start_at=self.start_at,
            roll_back_ring=self.roll_back_ring,
            gaps=read_gaps(self.gaps),
        )

    def in_state(self, to: RolloutState, reason: str, now: datetime) -> "RolloutRecord":
        """Return it in another state. Its policy is not read.

        Raises:
            IllegalMove: no such move is in the table of states.
        """
        check_move(self.id, self.state, to, reason)
        starts = to is RolloutState.RUNNING and self.started_at is None
        started_at = now if starts else self.started_at
        return replace(self, state=to, reason=reason, started_at=started_at, roll_back_ring=None)

    def with_rollout(self, moved: Rollout) -> "RolloutRecord":
        """Return it with what a decision changed."""
        return replace(
            self,
            state=moved.state,
            reason=moved.reason,
            rings=write_rings(moved.rings),
            started_at=moved.started_at,
            roll_back_ring=moved.roll_back_ring,
        )


def counted(record: RolloutRecord, now: datetime) -> RolloutRecord:
    """Return a rollout that is decided now, with what passed since the last decision.

    A gap is noted. A ring that ended at a moment that is still to come, because the clock was set back, ended now.
    """
    last = record.decided_at or record.started_at
    gaps = with_gap(read_gaps(record.gaps), last, now)
    if last is None or now >= last:
        return replace(record, gaps=write_gaps(gaps))
    rings = tuple(_not_after(run, now) for run in record.ring_runs)
    started_at = record.started_at and min(record.started_at, now)
    return replace(record, gaps=write_gaps(gaps), rings=write_rings(rings), started_at=started_at)


def _not_after(run: RingRun, now: datetime) -> RingRun:
    started_at, finished_at = (
        None if moment is None else min(moment, now) for moment in (run.started_at, run.finished_at)
    )
    return RingRun(run.state, started_at, finished_at)


@lru_cache(maxsize=100)
def _read(text: str) -> Policy | PolicyRefused:
    try:
        return read_policy(text)
    except PolicyRefused as problem:
        return problem


def write_rings(rings: tuple[RingRun, ...]) -> str:
    """Return the state of each ring as JSON."""
    return json.dumps([[run.state, _text(run.started_at), _text(run.finished_at)] for run in rings])


def read_rings(text: str) -> tuple[RingRun, ...]:
    """Return what `write_rings` wrote."""
    return tuple(
        RingRun(RingState(state), _moment(started), _moment(finished)) for state, started, finished in json.loads(text)
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def read_ended(text: str) -> Ended | None:
    """Return how a member had ended that is tried again; None if it is not."""
    if not text:
        return None
    state, code, reason = json.loads(text)
    return Ended(MemberState(state), code, reason)


def write_ended(ended: Ended | None) -> str:
    """Return it as it is stored."""
    return "" if ended is None else json.dumps(ended)
