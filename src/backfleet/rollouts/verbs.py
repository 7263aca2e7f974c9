"""What persons do to rollouts: create, start, pause, resume, cancel, approve, hold, try again, roll back."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import releases
from backfleet.identity import Caller, read_caller, write_caller
from backfleet.ids import Draw, new_id
from backfleet.outbound import Destinations
from backfleet.paging import Page
from backfleet.rollouts import _store, outside, traces
from backfleet.rollouts.errors import MemberMissing, NameTaken, NotAnApprover, NotNow, RolloutMissing
from backfleet.rollouts.events import NewEvent, chained
from backfleet.rollouts.installing import NO_WAY_BACK, with_clients
from backfleet.rollouts.judging import Judge, ReadJudge, faults_of, judge_for
from backfleet.rollouts.model import RingRun
from backfleet.rollouts.next_steps import next_steps
from backfleet.rollouts.people import NOBODY, may_be_same, person_of
from backfleet.rollouts.planning import Plan, members_sha256, overlaps, plan
from backfleet.rollouts.policy import GOES_BACK, Approval, Fault, Kind, Manual, Policy, PolicyRefused, with_lines
from backfleet.rollouts.reading_policies import read_for
from backfleet.rollouts.records import MemberRecord, RolloutRecord, write_rings
from backfleet.rollouts.retrying import again, having_it, to_go_back_again
from backfleet.rollouts.sending import TOPIC
from backfleet.rollouts.states import ENDED, FINAL, MemberState, RolloutState, may_move, rollout_may_move
from backfleet.rollouts.stopping import withdraw_orders
from backfleet.storage import Conflict, Transaction

_R = RolloutState
MOST_ARTIFACTS: Final = 4  # named in an event
SHOWN: Final = 5  # members named in a refusal


@dataclass(frozen=True, slots=True)
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


def create(
    tx: Transaction,
    text: str,
    by: By,
    *,
    draw: Draw,
    reachable_within: timedelta,
    wants_start: bool,
    start_at: datetime | None = None,
) -> tuple[RolloutRecord, bool]:
    """Create a rollout of a policy. The same policy under the same name again is the same rollout until that ends.

    Args:
        tx: the transaction to write in.
        text: the policy, as its owner wrote it.
        by: its author.
        draw: makes its id.
        reachable_within: see `plan`.
        wants_start: start it at once, or at `start_at`.
        start_at: when it starts; None = now.

    Returns:
        The rollout, and whether it is new.

    Raises:
        PolicyRefused: with every fault.
        NameTaken: a rollout of this name with another policy has not ended.
        Conflict: another call was first with one of its members. Begin again.
    """
    policy = by.read(tx, text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    account_id = by.caller.account_id
    _store.take_turn(tx, account_id, by.region)
    other = _store.unfinished(tx, account_id, by.region, policy.name)
    if other is not None:
        if other.policy_sha256 == digest:
            return other, False
        raise NameTaken(other.id)
    rollout_id = new_id("ro", draw)
    found = plan(tx, account_id, by.region, policy, rollout_id, now=by.now, reachable_within=reachable_within)
    judge = judge_for(by.judge(tx), policy.kind)
    faults = by.faults_of(found, judge)
    refused = judge.starting(rollout_id) if wants_start else ""
    if refused:
        faults.append(Fault(0, "start", refused, "apply it without a start, and have it started by somebody who may"))
    if faults:
        raise PolicyRefused(with_lines(faults, text))
    found = _with_clients(tx, found, rollout_id, by, draw)
    record = _draft(found, text, digest, rollout_id, by)
    _store.add(tx, record)
    _store.add_members(tx, rollout_id, [MemberRecord(member) for member in found.members])
    why = f"policy {digest}, target {found.target_version or policy.kind}, members {found.members_sha256}"
    record = _happened(tx, record, [_person(tx, by, "created", why)], by.now)
    return (start(tx, record, by, start_at=start_at) if wants_start else record), True


def _with_clients(tx: Transaction, found: Plan, rollout_id: str, by: By, draw: Draw) -> Plan:
    """Return an install's plan with a client for each member.

    Raises:
        Conflict: another rollout has just taken some of them. Begin again: it may be the same one.
    """
    if found.policy.kind is not Kind.INSTALL:
        return found
    made = with_clients(tx, by.caller.account_id, by.region, found.policy, found.members, now=by.now, draw=draw)
    if overlaps(tx, found.policy, [member.client_id for member in made], rollout_id):
        raise Conflict(f"another rollout was first with members of {rollout_id}")
    return replace(found, members=tuple(made))


def _draft(found: Plan, text: str, digest: str, rollout_id: str, by: By) -> RolloutRecord:
    policy = found.policy
    return RolloutRecord(
        id=rollout_id,
        account_id=by.caller.account_id,
        region=by.region,
        name=policy.name,
        policy=text,
        policy_sha256=digest,
        package=policy.package,
        kind=policy.kind.value,
        state=_R.DRAFT,
        author=write_caller(by.caller),
        created_at=by.now,
        updated_at=by.now,
        deadline=policy.deadline,
        rings=write_rings((RingRun(),) * len(policy.rings)),
        target_version=found.target_version,
    )


def preview(tx: Transaction, text: str, by: By, *, reachable_within: timedelta) -> Plan:
    """Return what a policy would do, with every fault, and write nothing.

    Raises:
        PolicyRefused: the text alone is no policy.
    """
    policy = by.read(tx, text)
    found = plan(
        tx,
        by.caller.account_id,
        by.region,
        policy,
        f"preview of {policy.name}",
        now=by.now,
        reachable_within=reachable_within,
    )
    return replace(found, faults=with_lines(by.faults_of(found, judge_for(by.judge(tx), policy.kind)), text))


def start(tx: Transaction, record: RolloutRecord, by: By, *, start_at: datetime | None = None) -> RolloutRecord:
    """Start a draft, or have it start later. Its members and its target stay as they were decided.

    Raises:
        NotNow: it is no draft, or would start after its deadline.
    """
    _must_be_readable(record)
    if record.state is not _R.DRAFT:
        raise _not_now(record, f"it is {record.state}; only a draft can be started")
    if (start_at or by.now) >= record.deadline:
        raise NotNow(f"its deadline is {record.deadline:%Y-%m-%d %H:%M} UTC; apply a policy with a later one")
    later = start_at is not None and start_at > by.now
    to = _R.SCHEDULED if later else _R.RUNNING
    started = replace(record, starter=write_caller(by.caller), start_at=start_at)
    return _moved(tx, started, to, by, "started")


def pause(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """Stop it until somebody resumes it; orders that no host has yet are withdrawn. Raises NotNow."""
    withdraw_orders(tx, record.id, by.now)
    return _moved(tx, record, _R.PAUSED, by, "paused")


def resume(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """Let a paused or halted rollout go on, and confirm the manual check that it waits for. Raises NotNow."""
    _must_be_readable(record)
    ring = _waiting_ring(record)
    manual = ring is not None and any(isinstance(check, Manual) for check in record.document.rings[ring].checks)
    if record.state is _R.RUNNING and manual and ring is not None:
        _store.approve(tx, record.id, ring, person_of(tx, by.caller), "resume", by.now)
        return _happened(tx, record, [_person(tx, by, "resumed", f"manual check of ring {ring}")], by.now)
    if record.state not in (_R.PAUSED, _R.HALTED):
        raise _not_now(record, f"it is {record.state}; only one that is paused or halted can be resumed")
    return _moved(tx, record, _R.RUNNING, by, "resumed")


def cancel(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """End it: nothing new begins, orders that no host has yet are withdrawn, the others end by themselves.

    Raises:
        NotNow: it has ended.
    """
    withdraw_orders(tx, record.id, by.now)
    return _moved(tx, record, _R.CANCELLED, by, "cancelled")


def roll_back(tx: Transaction, record: RolloutRecord, by: By, *, ring: int | None = None) -> RolloutRecord:
    """Take every member, or a ring, back to the version it had; also who did not go back before. Raises NotNow."""
    _must_be_readable(record)
    if record.kind == Kind.INSTALL:
        raise NotNow(_no_way_back(tx, record))
    if record.kind not in GOES_BACK:
        kinds = ", ".join(GOES_BACK)
        raise _not_now(record, f"it is a rollout of kind {record.kind}; only the kinds {kinds} can be rolled back")
    withdraw_orders(tx, record.id, by.now)
    of = "" if ring is None else f"ring {record.ring_names[ring]}"
    moved = _moved(tx, record, _R.ROLLING_BACK, by, "rolls back", of)
    _store.change_members(tx, record.id, to_go_back_again(_store.members_of(tx, record.id), ring))
    moved = replace(moved, roll_back_ring=ring)
    _store.update(tx, moved)
    return moved


def _no_way_back(tx: Transaction, record: RolloutRecord) -> str:
    """Return why an install is not rolled back, who has the client, and what to do."""
    states = [MemberState.SUCCEEDED.value, MemberState.VERIFYING.value]
    have = _store.members_page(tx, record.id, None, states, Page(1, SHOWN))
    if not have.total:
        return f"{NO_WAY_BACK}; none of its members has one"
    named = ", ".join(each.member.client_id for each in have.items)
    more = ", ..." if have.total > SHOWN else ""
    shown = f"`backfleet rollout show {record.id} --members`"
    return f"{NO_WAY_BACK}; {have.total} of its members have one ({named}{more}), see {shown}"


def approve(tx: Transaction, record: RolloutRecord, by: By, *, ring: int | None = None) -> RolloutRecord:
    """Approve a ring: by default the next one that asks for it. One person counts once.

    Raises:
        NotNow: nothing waits for an approval, or the rollout has ended.
        NotAnApprover: the author and the starter do not count, nor does somebody who cannot be told apart from others.
    """
    _must_be_readable(record)
    if record.state in ENDED:
        raise _not_now(record, f"it is {record.state}")
    wanted = ring if ring is not None else _asking_ring(record)
    rings = record.document.rings
    if wanted is None or not 0 <= wanted < len(rings) or not _asks(record, wanted):
        raise _not_now(record, "no ring of it waits for an approval")
    person = person_of(tx, by.caller)
    if person == NOBODY:
        raise NotAnApprover("it is not known which person this session belongs to; begin a new one")
    if any(may_be_same(tx, by.caller, read_caller(text)) for text in (record.author, record.starter) if text):
        raise NotAnApprover("its author and its starter cannot approve it; ask somebody else")
    if not _store.approve(tx, record.id, wanted, person, "approval", by.now):
        return record
    why = (
        f"ring {rings[wanted].name}; policy {record.policy_sha256}, target {record.target_version},"
        f" members {members_sha256(_store.members_and_rings(tx, record.id))}, artifacts {_artifacts(tx, record)}"
    )
    return _happened(tx, record, [_person(tx, by, "approved", why)], by.now)


def hold(tx: Transaction, record: RolloutRecord, by: By, client_id: str, *, is_held: bool) -> RolloutRecord:
    """Take a member out of the way, or let it in again. What is under way ends by itself. Raises MemberMissing."""
    found = _store.member(tx, record.id, client_id)
    if found is None:
        raise MemberMissing(client_id)
    changed = replace(found, member=found.member._replace(is_held=is_held))
    _store.change_members(tx, record.id, [changed])
    event = _person(tx, by, "held" if is_held else "released", client_id)
    return _happened(tx, record, [event], by.now)


def retry(tx: Transaction, record: RolloutRecord, by: By, client_ids: Sequence[str]) -> tuple[RolloutRecord, int]:
    """Let final members that did not succeed begin again: these, or all of them. Return how many do.

    Raises:
        NotNow: the rollout has ended, or goes back.
        MemberMissing: one of these is no member.
    """
    if record.state in ENDED:
        raise _not_now(record, f"it is {record.state}")
    if record.state is _R.ROLLING_BACK:
        raise _not_now(record, f"it is {record.state}; nothing begins again until that is over")
    found = {each.member.client_id: each for each in _store.members_of(tx, record.id)}
    for client_id in client_ids:
        if client_id not in found:
            raise MemberMissing(client_id)
    meant = [found[client_id] for client_id in dict.fromkeys(client_ids or found)]
    ended = [each for each in meant if each.member.state in FINAL and may_move(each.member.state, MemberState.PENDING)]
    has_it = having_it(tx, record, [each.member for each in ended])
    chosen = [_again(each, by.now, has_it=each.member.client_id in has_it) for each in ended]
    _store.change_members(tx, record.id, chosen)
    events = [_person(tx, by, "retried", f"{len(chosen)} members")]
    return _happened(tx, record, events, by.now), len(chosen)


def _again(found: MemberRecord, now: datetime, *, has_it: bool) -> MemberRecord:
    member = again(found.member, now, has_it=has_it)
    return replace(found, member=member) if has_it else MemberRecord(member)


def purge(tx: Transaction, *, before: datetime, now: datetime) -> None:
    """Delete rollouts that ended before a moment, and the ClientTokens whose time is over."""
    _store.purge(tx, before=before, now=now)


def find(tx: Transaction, account_id: str, rollout_id: str, *, locks: bool = False) -> RolloutRecord:
    """Return an account's rollout, locked where it is about to be changed. Raises RolloutMissing."""
    record = _store.lock(tx, rollout_id) if locks else _store.rollout(tx, account_id, rollout_id)
    if record is None or record.account_id != account_id:
        raise RolloutMissing(rollout_id)
    return record


def _waiting_ring(record: RolloutRecord) -> int | None:
    """Return the first ring that has not started."""
    rings = record.ring_runs
    return next((number for number, run in enumerate(rings) if run.started_at is None), None)


def _asking_ring(record: RolloutRecord) -> int | None:
    first = _waiting_ring(record)
    rings = range(len(record.document.rings)) if first is None else range(first, len(record.document.rings))
    return next((number for number in rings if _asks(record, number)), None)


def _asks(record: RolloutRecord, ring: int) -> bool:
    return any(isinstance(check, Approval) for check in record.document.rings[ring].checks)


def _must_be_readable(record: RolloutRecord) -> None:
    """Raises NotNow: this version cannot read its policy."""
    if record.unreadable:
        raise NotNow(record.unreadable)


def _artifacts(tx: Transaction, record: RolloutRecord) -> str:
    """Return the bytes that are rolled out: platform and SHA-256 of each; one hash over them where they are many."""
    found = [each for each in releases.find_all(tx, record.package) if each.version == record.target_version]
    listed = sorted(f"{each.platform}={each.sha256}" for each in found if each.withdrawn_at is None)
    if len(listed) <= MOST_ARTIFACTS:
        return " ".join(listed) or "none"
    return f"{len(listed)} of SHA-256 {hashlib.sha256(' '.join(listed).encode()).hexdigest()}"


def _not_now(record: RolloutRecord, why: str) -> NotNow:
    return NotNow(f"{why}; {next_steps(record)}")


def _moved(tx: Transaction, record: RolloutRecord, to: RolloutState, by: By, what: str, of: str = "") -> RolloutRecord:
    """Move a rollout because a person says so: all of it, or a part that `of` names. Raises NotNow."""
    if not rollout_may_move(record.state, to):
        raise _not_now(record, f"it is {record.state}")
    why = f"{what} {of} by {by.caller.arn}" if of else f"{what} by {by.caller.arn}"
    moved = record.in_state(to, why, by.now)
    ended = by.now if to in ENDED else None  # one that goes back has not ended
    named = f"{of} of {record.name}" if of else record.name
    events = [_person(tx, by, what, named), NewEvent("rollout", record.id, to.value, why)]
    moved = replace(moved, ended_at=ended)
    traces.record_end(tx, record.state, moved)
    return _happened(tx, moved, events, by.now)


def _person(tx: Transaction, by: By, what: str, why: str) -> NewEvent:
    return NewEvent("person", by.caller.arn[:128], what, f"{why} ({person_of(tx, by.caller) or 'person not known'})")


def _happened(tx: Transaction, record: RolloutRecord, new: Sequence[NewEvent], now: datetime) -> RolloutRecord:
    """Store a rollout with what happened to it, and have it decided at once."""
    added = chained(new, after=record.events, head=record.head, at=now)
    _store.add_events(tx, record.id, added)
    changed = replace(
        record,
        updated_at=now,
        decide_at=None if record.state is _R.DRAFT else now,
        revision=record.revision + 1,
        events=record.events + len(added),
        head=added[-1].hash if added else record.head,
    )
    _store.update(tx, changed)
    tx.publish(TOPIC)
    return changed
