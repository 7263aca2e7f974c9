"""Clients that a `dynamic` selector means since the rollout began: they are taken in while it runs."""

from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet, releases
from backfleet.rollouts import _store
from backfleet.rollouts.assignment import Candidate, matches, ring_of_newcomer
from backfleet.rollouts.events import NewEvent
from backfleet.rollouts.loading import Loaded
from backfleet.rollouts.planning import candidate_of, is_newer, minimum_of, new_member
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.states import RolloutState
from backfleet.storage import Transaction

EVERY: Final = timedelta(minutes=1)  # the whole fleet is read for it
MOST_AT_ONCE: Final = 5000  # taken in by one decision; the others follow


def take_in(
    tx: Transaction, record: RolloutRecord, loaded: Loaded, *, now: datetime, reachable_within: timedelta
) -> list[NewEvent]:
    """Make members of the clients that a policy selects by now, and store them; return what happened.

    A client that has the target version, is a member of another rollout, or that no ring takes stays out. One comes
    into the first ring only while its host can be reached, as all of that ring could.

    Args:
        tx: the transaction to write in.
        record: the rollout, locked.
        loaded: its members; the newcomers are added.
        now: the time.
        reachable_within: see `plan`.
    """
    policy = record.document
    if not policy.select.dynamic or record.state is not RolloutState.RUNNING:
        return []
    if loaded.newcomers_at is not None and now - loaded.newcomers_at < EVERY:
        return []
    loaded.newcomers_at = now
    found = _newcomers(tx, record, loaded, now - reachable_within)
    busy = _store.open_elsewhere(tx, [each.client_id for each in found], record.id)
    sizes = [loaded.board.ring_size(ring) for ring in range(len(policy.rings))]
    taken, events = [], []
    for candidate in sorted(found, key=lambda each: each.client_id):
        ring = ring_of_newcomer(policy, candidate, sizes)
        if ring is None or candidate.client_id in busy or (ring == 0 and not candidate.is_reachable):
            continue
        sizes[ring] += 1
        member = new_member(policy, record.id, candidate, ring)
        taken.append(MemberRecord(member))
        loaded.board.put(member)
        events.append(NewEvent("member", member.client_id, "pending", f"it came in; ring {policy.rings[ring].name}"))
        if len(taken) == MOST_AT_ONCE:
            break
    _store.add_members(tx, record.id, taken)
    return events


def _newcomers(tx: Transaction, record: RolloutRecord, loaded: Loaded, reachable_since: datetime) -> list[Candidate]:
    policy, target = record.document, record.target_version
    known = fleet.clients_of_package(tx, record.account_id, record.region, record.package)
    away = fleet.out_of_reach(tx, record.account_id, record.region, reachable_since=reachable_since)
    scheme = releases.schemes_of(tx, [record.package])[record.package]
    minimum = minimum_of(tx, record.account_id, record.region, record.package)
    candidates = [
        candidate_of(client, instance, tags, away, scheme, minimum)
        for client, instance, tags in known
        if client.id not in loaded.board and (client.version != target or client.in_doubt)
    ]
    return [
        each
        for each in candidates
        if matches(policy.select, each) and not (policy.kind is Kind.UPGRADE and is_newer(each, target))
    ]
