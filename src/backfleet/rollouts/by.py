"""Who does something to a rollout, and how it is noted: as an event, and in the rollout's state."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backfleet.identity import Caller
from backfleet.outbound import Destinations
from backfleet.rollouts import _store, outside, traces
from backfleet.rollouts.errors import NotNow
from backfleet.rollouts.events import NewEvent, chained
from backfleet.rollouts.judging import Judge, ReadJudge, faults_of
from backfleet.rollouts.next_steps import next_steps
from backfleet.rollouts.people import person_of
from backfleet.rollouts.planning import Plan
from backfleet.rollouts.policy import Fault, Policy
from backfleet.rollouts.reading import that_can_go_back
from backfleet.rollouts.reading_policies import read_for
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.sending import TOPIC
from backfleet.rollouts.states import ENDED, RolloutState, rollout_may_move
from backfleet.rollouts.waiting import write_waits
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class By:
    """Who does something, where and when, and how to find out what they may."""

    caller: Caller
    region: str
    now: datetime
    read_judge: ReadJudge
    destinations: Destinations = Destinations()
    can_sign: bool = False  # there is a secret for webhooks

    def faults_of(self, found: Plan, judge: Judge) -> list[Fault]:
        """Return every fault of a plan: also what they may not move, and what the server may not ask."""
        asked = self.faults_of_gates(found.policy)
        return [*found.faults, *faults_of(judge, found.members, found.policy.kind), *asked]

    def faults_of_gates(self, policy: Policy) -> list[Fault]:
        """Return the gates of a policy that the server may not ask, or cannot."""
        return outside.faults_of(policy, self.destinations, can_sign=self.can_sign)

    def read(self, tx: Transaction, text: str) -> Policy:
        """Return the policy that a text describes. Raises PolicyRefused, with every fault."""
        return read_for(tx, text, self.caller.account_id, self.region, self.faults_of_gates, now=self.now)

    def judge(self, tx: Transaction) -> Judge:
        """Return what they may do."""
        return self.read_judge(tx, self.caller, self.region, self.now)


def must_be_readable(record: RolloutRecord) -> None:
    """Raises NotNow: this version cannot read its policy."""
    if record.unreadable:
        raise NotNow(record.unreadable)


def not_now(tx: Transaction, record: RolloutRecord, why: str, *, but: str = "") -> NotNow:
    """Return a refusal that says why, and what is possible instead; `but`: a verb that is not."""
    can_go_back = record.id in that_can_go_back(tx, [record])
    return NotNow(f"{why}; {next_steps(record, can_go_back=can_go_back, but=but)}")


def moved(tx: Transaction, record: RolloutRecord, to: RolloutState, by: By, what: str, of: str = "") -> RolloutRecord:
    """Move a rollout because a person says so: all of it, or a part that `of` names. Raises NotNow."""
    if not rollout_may_move(record.state, to):
        raise not_now(tx, record, f"it is {record.state}")
    why = f"{what} {of} by {by.caller.arn}" if of else f"{what} by {by.caller.arn}"
    found = record.in_state(to, why, by.now)
    ended = by.now if to in ENDED else None  # one that goes back has not ended
    named = f"{of} of {record.name}" if of else record.name
    events = [by_person(tx, by, what, named), NewEvent("rollout", record.id, to.value, why)]
    found = replace(found, ended_at=ended, waits_for="", waits=write_waits({}))  # as of the state before
    traces.record_end(tx, record.state, found)
    return happened(tx, found, events, by.now)


def by_person(tx: Transaction, by: By, what: str, why: str) -> NewEvent:
    """Return what a person did as an event."""
    return NewEvent("person", by.caller.arn[:128], what, f"{why} ({person_of(tx, by.caller) or 'person not known'})")


def happened(tx: Transaction, record: RolloutRecord, new: Sequence[NewEvent], now: datetime) -> RolloutRecord:
    """Store a rollout with what happened to it, and have it decided at once."""
    added = chained(new, after=record.events, head=record.head, at=now)
    _store.add_events(tx, record.id, added)
    changed = replace(
        record,
        updated_at=now,
        decide_at=None if record.state is RolloutState.DRAFT else now,
        revision=record.revision + 1,
        events=record.events + len(added),
        head=added[-1].hash if added else record.head,
    )
    _store.update(tx, changed)
    tx.publish(TOPIC)
    return changed
