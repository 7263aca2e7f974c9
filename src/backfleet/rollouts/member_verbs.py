"""What persons do to members: hold them, let them in again, and have them tried again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backfleet.rollouts import _store
from backfleet.rollouts.by import By, by_person, happened, not_now
from backfleet.rollouts.errors import MemberMissing
from backfleet.rollouts.reading import that_can_go_back
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.retrying import again, having_it
from backfleet.rollouts.states import ENDED, FINAL, MemberState, RolloutState, may_move
from backfleet.storage import Transaction


def hold(tx: Transaction, record: RolloutRecord, by: By, client_id: str, *, is_held: bool) -> RolloutRecord:
    """Take a member out of the way, or let it in again. What is under way ends by itself.

    Raises:
        MemberMissing: it is no member.
        NotNow: the rollout has ended, and nobody can go back: there is nothing to keep a member from.
    """
    found = _store.member(tx, record.id, client_id)
    if found is None:
        raise MemberMissing(client_id)
    if found.member.is_held is is_held:
        return record
    if is_held and record.state in ENDED and not that_can_go_back(tx, [record]):
        raise not_now(tx, record, f"it is {record.state}, and moves nobody; a pin keeps the client where it is")
    changed = replace(found, member=found.member._replace(is_held=is_held))
    _store.change_members(tx, record.id, [changed])
    event = by_person(tx, by, "held" if is_held else "released", client_id)
    return happened(tx, record, [event], by.now)


def retry(tx: Transaction, record: RolloutRecord, by: By, client_ids: Sequence[str]) -> tuple[RolloutRecord, int]:
    """Let final members that did not succeed begin again: these, or all of them. Return how many do.

    Raises:
        NotNow: the rollout has ended, or goes back.
        MemberMissing: one of these is no member.
    """
    if record.state in ENDED:
        raise not_now(tx, record, f"it is {record.state}")
    if record.state is RolloutState.ROLLING_BACK:
        raise not_now(tx, record, f"it is {record.state}; nothing begins again until that is over")
    found = {each.member.client_id: each for each in _store.members_of(tx, record.id)}
    for client_id in client_ids:
        if client_id not in found:
            raise MemberMissing(client_id)
    meant = [found[client_id] for client_id in dict.fromkeys(client_ids or found)]
    ended = [each for each in meant if each.member.state in FINAL and may_move(each.member.state, MemberState.PENDING)]
    has_it = having_it(tx, record, [each.member for each in ended])
    chosen = [_again(each, by.now, has_it=each.member.client_id in has_it) for each in ended]
    if not chosen:
        return record, 0
    _store.change_members(tx, record.id, chosen)
    events = [by_person(tx, by, "retried", f"{len(chosen)} members")]
    return happened(tx, record, events, by.now), len(chosen)


def _again(found: MemberRecord, now: datetime, *, has_it: bool) -> MemberRecord:
    member = again(found.member, now, has_it=has_it)
    return replace(found, member=member) if has_it else MemberRecord(member)
