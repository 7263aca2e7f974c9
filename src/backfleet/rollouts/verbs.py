"""What persons do to a whole rollout: start it, let it pause, resume it, cancel it."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet.identity import write_caller
from backfleet.rollouts import _answers, _some_members, _store
from backfleet.rollouts.by import By, by_person, happened, moved, must_be_readable, not_now
from backfleet.rollouts.errors import NotNow, RolloutMissing
from backfleet.rollouts.judging import judge_for, judge_of_starter, start_fault
from backfleet.rollouts.loading import Loaded, load_outline
from backfleet.rollouts.model import Signals
from backfleet.rollouts.planning import overlaps
from backfleet.rollouts.policy import Manual, PolicyRefused
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.signals import read_signals
from backfleet.rollouts.states import RolloutState
from backfleet.rollouts.stopping import withdraw_orders
from backfleet.rollouts.strategy import halts_at_once, ring_for_a_person
from backfleet.rollouts.timetables import timetable_of
from backfleet.storage import Transaction

_R: Final = RolloutState


def start(tx: Transaction, record: RolloutRecord, by: By, *, start_at: datetime | None = None) -> RolloutRecord:
    """Start a draft, or have it start later. Its members and its target stay as they were decided.

    Raises:
        NotNow: it is no draft, or would start after its deadline.
        PolicyRefused: whoever starts it may not; another rollout that has started since moves some of its clients.
    """
    must_be_readable(record)
    if record.state is not _R.DRAFT:
        raise not_now(tx, record, f"it is {record.state}; only a draft can be started")
    if (start_at or by.now) >= record.deadline:
        raise NotNow(f"its deadline is {record.deadline:%Y-%m-%d %H:%M} UTC; apply a policy with a later one")
    faults = start_fault(judge_for(by.judge(tx), record.kind), record.id, "have it started by somebody who may")
    _store.take_turn(tx, record.account_id, record.region)
    faults += overlaps(tx, record.document, _some_members.ids_of(tx, record.id), record.id)
    if faults:
        raise PolicyRefused(faults)
    return started(tx, record, by, start_at=start_at)


def started(tx: Transaction, record: RolloutRecord, by: By, *, start_at: datetime | None) -> RolloutRecord:
    """Start a draft whose starter may; now, or later. Raises NotNow."""
    later = start_at is not None and start_at > by.now
    record = replace(record, starter=write_caller(by.caller), start_at=start_at)
    return moved(tx, record, _R.SCHEDULED if later else _R.RUNNING, by, "started")


def pause(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """Stop it until somebody resumes it; orders that no host has yet are withdrawn. Raises NotNow."""
    withdraw_orders(tx, record.id, by.now)
    return moved(tx, record, _R.PAUSED, by, "paused")


def resume(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """Let a paused or halted rollout go on, and confirm the manual check that it waits for.

    Outside checks are asked anew. One that was paused before its time has come waits for that again.

    Raises:
        NotNow: it is neither paused nor halted, nor waits for a manual check, its deadline has come, or it would halt
            again at once.
    """
    must_be_readable(record)
    if record.state is _R.RUNNING:
        return _confirmed(tx, record, by)
    if record.state not in (_R.PAUSED, _R.HALTED):
        raise not_now(tx, record, f"it is {record.state}; only one that is paused or halted can be resumed")
    if by.now >= record.deadline:
        raise not_now(tx, record, f"its deadline was {record.deadline:%Y-%m-%d %H:%M} UTC", but="resume")
    _answers.forget_answers(tx, record.id)
    is_early = record.started_at is None and record.start_at is not None and record.start_at > by.now
    to = _R.SCHEDULED if is_early else _R.RUNNING
    why = _halts_again(tx, record.in_state(to, "", by.now), by)
    if why:
        raise not_now(tx, record, f"it would halt again at once: {why}", but="resume")
    return moved(tx, record, to, by, "resumed")


def _confirmed(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """Confirm the manual check that a rollout waits for. Raises NotNow: it waits for none."""
    ring = waiting_ring(record)
    if ring is None or not any(isinstance(check, Manual) for check in record.document.rings[ring].checks):
        raise not_now(tx, record, "it is running, and waits for no manual gate")
    loaded, signals = _as_of_now(tx, record, by)
    if ring in signals.resumed:
        return record  # sent twice
    if ring != ring_for_a_person(record.rollout(), loaded.board, signals, by.now):
        raise not_now(tx, record, "it is running, and waits for no manual gate")
    _answers.confirm_ring(tx, record.id, ring, by.now)
    event = by_person(tx, by, "resumed", f"manual check of ring {record.ring_names[ring]}")
    return happened(tx, record, [event], by.now)


def _halts_again(tx: Transaction, resumed: RolloutRecord, by: By) -> str:
    """Return why a rollout that is resumed would halt by what is known now, its orders' ends included; "" if not."""
    loaded, signals = _as_of_now(tx, resumed, by)
    return halts_at_once(resumed.rollout(), loaded.board, signals, timetable_of(tx, resumed), by.now)


def _as_of_now(tx: Transaction, record: RolloutRecord, by: By) -> tuple[Loaded, Signals]:
    loaded = load_outline(tx, record)
    judge = judge_of_starter(tx, record, by.read_judge, by.now)
    return loaded, read_signals(tx, record, loaded, judge, by.now)


def cancel(tx: Transaction, record: RolloutRecord, by: By) -> RolloutRecord:
    """End it: nothing new begins, orders that no host has yet are withdrawn, the others end by themselves.

    Raises:
        NotNow: it has ended, or goes back by a policy that can be read.
    """
    if record.state is _R.ROLLING_BACK and not record.unreadable:
        raise not_now(tx, record, f"it is {record.state}")
    withdraw_orders(tx, record.id, by.now)
    return moved(tx, record, _R.CANCELLED, by, "cancelled")


def purge(tx: Transaction, *, before: datetime, now: datetime) -> None:
    """Delete rollouts that ended before a moment, and the ClientTokens whose time is over."""
    _store.purge(tx, before=before, now=now)


def find(tx: Transaction, account_id: str, rollout_id: str, *, locks: bool = False) -> RolloutRecord:
    """Return an account's rollout, locked where it is about to be changed. Raises RolloutMissing."""
    record = _store.lock(tx, rollout_id) if locks else _store.rollout(tx, account_id, rollout_id)
    if record is None or record.account_id != account_id:
        raise RolloutMissing(rollout_id)
    return record


def waiting_ring(record: RolloutRecord) -> int | None:
    """Return the first ring that has not started."""
    rings = record.ring_runs
    return next((number for number, run in enumerate(rings) if run.started_at is None), None)
