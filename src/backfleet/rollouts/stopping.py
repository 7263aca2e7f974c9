"""Stop a rollout: nothing of it moves on, and its orders that no host has are withdrawn."""

from dataclasses import replace
from datetime import datetime

from backfleet import upgrades
from backfleet.rollouts import _store
from backfleet.rollouts.events import NewEvent, chained
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import RolloutState
from backfleet.storage import Transaction


def withdraw_orders(tx: Transaction, rollout_id: str, now: datetime) -> None:
    """Withdraw the orders of a rollout that no host has yet, in the transaction that stops it."""
    upgrades.withdraw(tx, _store.items_under_way(tx, rollout_id), now=now)


def keep_still(tx: Transaction, record: RolloutRecord, *, now: datetime, again_at: datetime) -> None:
    """Halt a rollout whose policy this version cannot read. One that has not started, or was stopped, stays so.

    One that goes back waits, and goes on back once its policy can be read: halted, it would be resumed forwards.

    Args:
        tx: the transaction to write in; it has the rollout's lock.
        record: the rollout.
        now: the time.
        again_at: when to look again: another version of this program may read it.
    """
    if record.state is not RolloutState.RUNNING:
        waits_for = (
            "a version that can read its policy" if record.state is RolloutState.ROLLING_BACK else record.waits_for
        )
        _store.update(tx, replace(record, decide_at=again_at, waits_for=waits_for))
        return
    withdraw_orders(tx, record.id, now)
    reason = record.unreadable
    halted = NewEvent("rollout", record.id, RolloutState.HALTED.value, reason)
    events = chained([halted], after=record.events, head=record.head, at=now)
    _store.add_events(tx, record.id, events)
    moved = replace(
        record.in_state(RolloutState.HALTED, reason, now),
        updated_at=now,
        decide_at=again_at,
        revision=record.revision + 1,
        events=events[-1].number,
        head=events[-1].hash,
    )
    _store.update(tx, moved)
