"""The loop that moves upgrades on: send what waits, collect what came back, end what is out of time.

Any number of replicas may run it at once: each step takes its rows for itself, in small batches, one transaction each,
and does nothing the second time.
"""

from dataclasses import replace
from datetime import datetime

from backfleet import commands, fleet
from backfleet.commands import Outcome, Send, State
from backfleet.fleet import Change, ClientStatus
from backfleet.ids import Draw
from backfleet.instants import passed
from backfleet.storage import Database, Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.states import FINAL, ItemState, Kind, may_move
from backfleet.upgrades.tasks import TOPIC, UNWELL, WELL, Item, end_open, settle
from backfleet_host.contract import Order, Report, read_output

AT_ONCE = 50  # rows of one transaction: a caller is never kept waiting long behind it

# How a command that brought no report ended -> the item's code and message.
_WITHOUT_REPORT = {
    State.TIMED_OUT: ("InternalError", "the host did not end in time"),
    State.STOPPED: ("TaskCancelled", "stopped on the host"),
    State.FAILED: ("InternalError", "the agent could not run the order"),
    State.REFUSED: ("UnsupportedPlatform", "the agent does not take orders"),
    State.CANCELLED: ("TaskCancelled", "cancelled before its agent asked for it"),
    State.FINISHED: ("InternalError", "the host ended without a report"),
}


def look(database: Database, *, now: datetime, draw: Draw) -> bool:
    """One look; True if there may be more to do at once."""
    sent = _send_waiting(database, now, draw)
    collected = _collect(database, now)
    expired = _expire(database, now)
    return sent or collected or expired


def _send_waiting(database: Database, now: datetime, draw: Draw) -> bool:
    with database.transaction() as tx:
        waiting = _store.take_waiting(tx, AT_ONCE)
        commands.send_many(tx, [_command(item) for item in waiting], topic=TOPIC, now=now, draw=draw)
        _store.update(tx, [item.moved(ItemState.SENT, at=now) for item in waiting])
        settle(tx, [item.task_id for item in waiting], now=now)
    if waiting:
        passed("commands sent")
    return len(waiting) == AT_ONCE


def _command(item: Item) -> Send:
    order = Order(
        order_id=item.id,
        kind=item.kind,
        package=item.package,
        version=item.to_version,
        platform=item.platform,
        patience=item.patience,
    )
    return Send(item.account_id, item.instance_id, order.as_command(), item.patience, item.id)


def _collect(database: Database, now: datetime) -> bool:
    with database.transaction() as tx:
        news = commands.outcomes(tx, TOPIC, limit=AT_ONCE)
        known = _store.items_for_update(tx, [outcome.reference for outcome in news])
        for outcome in news:
            if outcome.reference in known:
                _take(tx, known[outcome.reference], outcome, now)
        commands.collected(tx, news)
        settle(tx, [item.task_id for item in known.values()], now=now)
    if news:
        passed("outcome collected")
    return len(news) == AT_ONCE


def _take(tx: Transaction, item: Item, outcome: Outcome, now: datetime) -> None:
    """What one command's news means for its item and its client."""
    stage, report = read_output(outcome.output.decode(errors="replace"))
    if report is not None and report.order_id != item.id:
        report = None  # not the answer to this order, whatever it says
    judged = judge(item, outcome, stage, report, now)
    if judged != item:
        _store.update(tx, [judged])
    change = _client_change(item, judged, outcome, report)
    if change is not None:
        fleet.set_clients(tx, [change], now=now)


def judge(item: Item, outcome: Outcome, stage: str, report: Report | None, now: datetime) -> Item:
    """The item as it stands after this news. Pure."""
    to, code, message = _meaning(outcome, report)
    if item.state in FINAL or (to is not item.state and not may_move(item.state, to)):
        # Out of time or cancelled: the task is over; only what is known of the host may still grow.
        return replace(item, current_version=_truth(item, report))
    moved = item.moved(to, at=now, code=code, message=message)
    return replace(moved, stage=stage or item.stage, current_version=_truth(item, report))


def _meaning(outcome: Outcome, report: Report | None) -> tuple[ItemState, str, str]:
    if outcome.state is State.LOST:
        return ItemState.LOST, "HostUnreachable", "nothing is heard of this upgrade; its outcome will be asked for"
    if not outcome.is_final:
        return ItemState.RUNNING, "", ""
    if report is None:
        code, message = _WITHOUT_REPORT[outcome.state]
        return ItemState.FAILED, code, f"{message}: {outcome.error_text}" if outcome.error_text else message
    if report.outcome == "succeeded":
        return ItemState.SUCCEEDED, report.code, report.message
    return ItemState.FAILED, report.code or "InternalError", report.message


def _truth(item: Item, report: Report | None) -> str:
    return report.current_version if report is not None else item.current_version


def _client_change(before: Item, after: Item, outcome: Outcome, report: Report | None) -> Change | None:
    """What is now known of the client: the host's own word, also when it comes after the task is over."""
    if not before.client_id:
        return None
    if report is not None and outcome.is_final:
        status = WELL[before.kind] if report.outcome == "succeeded" else _status_after_failure(before, report)
        return Change(before.client_id, status=status, version=report.current_version)
    if after.state is before.state:
        return None
    if after.state is ItemState.LOST:
        return Change(before.client_id, status=ClientStatus.UNKNOWN)
    return Change(before.client_id, status=after.client_status)


def _status_after_failure(item: Item, report: Report) -> ClientStatus:
    if item.kind is Kind.INSTALL and report.current_version:
        return ClientStatus.UPGRADE_FAILED  # something is there and runs: the install did not remove it
    return UNWELL[item.kind]


def _expire(database: Database, now: datetime) -> bool:
    with database.transaction() as tx:
        overdue = _store.overdue(tx, now, AT_ONCE)
        for task in overdue:
            text = "the task's time was over; the host finishes or goes back by itself, and its word will be recorded"
            end_open(tx, task, ItemState.EXPIRED, "TaskExpired", text, now=now)
    return len(overdue) == AT_ONCE
