"""Take a rollout back: every member that may have what it brings, or those of one ring."""

from dataclasses import replace
from typing import Final

from backfleet.identity import write_caller
from backfleet.paging import Page
from backfleet.rollouts import _store
from backfleet.rollouts.by import By, moved, must_be_readable, not_now
from backfleet.rollouts.errors import NotNow
from backfleet.rollouts.installing import NO_WAY_BACK
from backfleet.rollouts.judging import judge_for, judge_of_starter
from backfleet.rollouts.policy import GOES_BACK, Kind
from backfleet.rollouts.reading import goes_back_whole
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.retrying import to_go_back_again
from backfleet.rollouts.states import MemberState, RolloutState, rollout_may_move
from backfleet.rollouts.stopping import withdraw_orders
from backfleet.storage import Transaction

SHOWN: Final = 5  # members named in a refusal


def roll_back(tx: Transaction, record: RolloutRecord, by: By, *, ring: int | None = None) -> RolloutRecord:
    """Take every member, or a ring, back to the version it had; also who did not go back before.

    While a ring goes back, all of it can be told to.

    Raises:
        NotNow: its state or its kind do not allow it, nobody would go back, or nobody may move its clients.
    """
    must_be_readable(record)
    if record.kind == Kind.INSTALL:
        raise NotNow(_no_way_back(tx, record))
    if record.kind not in GOES_BACK:
        kinds = ", ".join(GOES_BACK)
        raise not_now(tx, record, f"it is a rollout of kind {record.kind}; only the kinds {kinds} can be rolled back")
    of = "" if ring is None else f"ring {record.ring_names[ring]}"
    if goes_back_whole(record) or (ring is not None and record.state is RolloutState.ROLLING_BACK):
        raise not_now(tx, record, f"it is {record.state}")
    is_possible = rollout_may_move(record.state, RolloutState.ROLLING_BACK)
    if is_possible and not _store.that_can_go_back(tx, [record.id], ring):
        raise not_now(tx, record, _nobody(record, of), but="" if of else "roll-back")
    record = _with_somebody_who_may(tx, record, by)
    withdraw_orders(tx, record.id, by.now)
    found = moved(tx, record, RolloutState.ROLLING_BACK, by, "rolls back", of)
    _store.change_members(tx, record.id, to_go_back_again(_store.members_of(tx, record.id), ring))
    found = replace(found, roll_back_ring=ring)
    _store.update(tx, found)
    return found


def _with_somebody_who_may(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """Return a rollout whose orders are judged as its starter; as whoever takes it back, where the starter may not.

    Raises:
        NotNow: neither of them may.
    """
    refused = judge_of_starter(tx, record, by.read_judge, by.now).starting(record.id)
    if not refused:
        return record
    too = judge_for(by.judge(tx), record.kind).starting(record.id)
    if too:
        raise NotNow(f"whoever started it may not move clients now: {refused}; nor may you: {too}")
    return replace(record, starter=write_caller(by.caller))


def _nobody(record: RolloutRecord, of: str) -> str:
    """Return that there is nothing to take back, and why that may be."""
    what = "settings" if record.kind == Kind.SETTINGS else "version"
    held = f"members on hold stay where they are until `backfleet rollout hold {record.id} NAME --release`"
    return f"no member of {of or 'it'} may have the {what} that it brings, so there is nothing to roll back; {held}"


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
