"""From a policy's text to a rollout, or to what it would be."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from backfleet.identity import write_caller
from backfleet.ids import Draw, new_id
from backfleet.rollouts import _store
from backfleet.rollouts.by import By, by_person, happened
from backfleet.rollouts.errors import NameTaken
from backfleet.rollouts.installing import with_clients
from backfleet.rollouts.judging import judge_for, start_fault
from backfleet.rollouts.model import RingRun
from backfleet.rollouts.planning import Plan, overlaps, plan
from backfleet.rollouts.policy import Kind, PolicyRefused, with_lines
from backfleet.rollouts.records import MemberRecord, RolloutRecord, write_rings
from backfleet.rollouts.states import RolloutState
from backfleet.rollouts.verbs import started
from backfleet.storage import Conflict, Transaction


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
        raise NameTaken(other.id, goes_back=other.state is RolloutState.ROLLING_BACK)
    rollout_id = new_id("ro", draw)
    found = plan(tx, account_id, by.region, policy, rollout_id, now=by.now, reachable_within=reachable_within)
    judge = judge_for(by.judge(tx), policy.kind)
    faults = by.faults_of(found, judge)
    if wants_start:
        faults += start_fault(judge, rollout_id, "apply it without a start, and have it started by somebody who may")
    if faults:
        raise PolicyRefused(with_lines(faults, text))
    found = _with_clients(tx, found, rollout_id, by, draw)
    record = _draft(found, text, digest, rollout_id, by)
    _store.add(tx, record)
    _store.add_members(tx, rollout_id, [MemberRecord(member) for member in found.members])
    why = f"policy {digest}, target {found.target_version or policy.kind}, members {found.members_sha256}"
    record = happened(tx, record, [by_person(tx, by, "created", why)], by.now)
    return (started(tx, record, by, start_at=start_at) if wants_start else record), True


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
        state=RolloutState.DRAFT,
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
