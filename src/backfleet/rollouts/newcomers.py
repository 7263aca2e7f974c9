"""Clients that a `dynamic` selector means since the rollout began: they are taken in while it runs."""

from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet, releases
from backfleet.ids import Draw
from backfleet.rollouts import _overlaps, _store
from backfleet.rollouts.assignment import Candidate, matches, ring_of_newcomer
from backfleet.rollouts.events import NewEvent
from backfleet.rollouts.installing import clients_meant, with_clients
from backfleet.rollouts.loading import Loaded
from backfleet.rollouts.model import Member
from backfleet.rollouts.planning import candidate_of, is_newer, is_there, minimum_of, new_member
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.states import RolloutState
from backfleet.storage import Transaction

EVERY: Final = timedelta(minutes=1)  # the whole fleet is read for it
MOST_AT_ONCE: Final = 5000  # taken in by one decision; the others follow


def take_in(
    tx: Transaction, record: RolloutRecord, loaded: Loaded, *, now: datetime, draw: Draw, reachable_within: timedelta
) -> list[NewEvent]:
    """Make members of the clients that a policy selects by now, and store them; return what happened.

    An install takes hosts in, and makes their clients. A client that has the target version, is a member of another
    rollout, or that no ring takes stays out. One comes into the first ring only while its host can be reached, as all
    of that ring could.

    Args:
        tx: the transaction to write in.
        record: the rollout, locked.
        loaded: its members; the newcomers are added.
        now: the time.
        draw: makes ids.
        reachable_within: see `plan`.
    """
    policy = record.document
    if not policy.select.dynamic or record.state is not RolloutState.RUNNING:
        return []
    if loaded.newcomers_at is not None and now - loaded.newcomers_at < EVERY:
        return []
    loaded.newcomers_at = now
    _store.take_turn(tx, record.account_id, record.region)
    found = _newcomers(tx, record, loaded, now, now - reachable_within)
    busy = _overlaps.open_elsewhere(tx, [each.client_id for each in found], record.id)
    sizes = [loaded.board.ring_size(ring) for ring in range(len(policy.rings))]
    taken: list[Member] = []
    for candidate in sorted(found, key=lambda each: each.client_id):
        ring = ring_of_newcomer(policy, candidate, sizes)
        if ring is None or candidate.client_id in busy or (ring == 0 and not candidate.is_reachable):
            continue
        sizes[ring] += 1
        taken.append(new_member(policy, record.id, candidate, ring))
        if len(taken) == MOST_AT_ONCE:
            break
    if policy.kind is Kind.INSTALL:
        made = with_clients(tx, record.account_id, record.region, policy, taken, now=now, draw=draw)
        busy = _overlaps.open_elsewhere(
            tx, [each.client_id for each in made], record.id
        )  # just made by another rollout
        taken = [each for each in made if each.client_id not in busy]
    _store.add_members(tx, record.id, [MemberRecord(member) for member in taken])
    for member in taken:
        loaded.board.put(member)
    return [
        NewEvent("member", each.client_id, "pending", f"it came in; ring {policy.rings[each.ring].name}")
        for each in taken
    ]


def _newcomers(
    tx: Transaction, record: RolloutRecord, loaded: Loaded, now: datetime, reachable_since: datetime
) -> list[Candidate]:
    policy, target = record.document, record.target_version
    known = clients_meant(tx, record.account_id, record.region, policy, now=now)
    away = fleet.out_of_reach(tx, record.account_id, record.region, reachable_since=reachable_since)
    scheme = releases.schemes_of(tx, [record.package])[record.package]
    minimum = minimum_of(tx, record.account_id, record.region, record.package)
    candidates = [
        candidate_of(client, instance, tags, away, scheme, minimum)
        for client, instance, tags in known
        if client.id not in loaded.board and not is_there(policy, target, client)
    ]
    return [
        each
        for each in candidates
        if matches(policy.select, each) and not (policy.kind is Kind.UPGRADE and is_newer(each, target))
    ]
