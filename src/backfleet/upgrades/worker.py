"""The loop that moves tasks on: expire what is out of time, collect what came back, send what waits.

Any number of replicas may run it at once: each step takes rows for itself, in small batches, one transaction each, and
does nothing the second time.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import carriers, fleet, releases
from backfleet.carriers import Carrier, Delivery, News, State
from backfleet.failpoints import failpoint
from backfleet.fleet import Change, Preferences
from backfleet.host_outputs import read_host_output
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction
from backfleet.upgrades import _store, short_cuts, traces
from backfleet.upgrades.ending import TOPIC, expire, update_tasks
from backfleet.upgrades.model import Item, Task
from backfleet.upgrades.outcomes import Judgement, LaterOrders, judge
from backfleet.upgrades.pacing import FEW_NEWS, ProgressPace
from backfleet.upgrades.states import ItemState
from backfleet.upgrades.task_settings import keep_settings, settings_of_order
from backfleet.upgrades.waiting import (
    REACHABLE_WITHIN,
    StillMay,
    after_busy,
    after_put_off,
    end_overdue,
    is_put_off,
    nobody_is_refused,
    refusals,
    refused,
)
from backfleet.values import changed, value_object
from backfleet_host.contract import LONGEST_TIMEOUT_SECONDS, Order

AT_ONCE: Final = 50  # items of one transaction: others wait only shortly for its locks
TASKS_AT_ONCE: Final = 10  # tasks expired in one round; each may have a hundred items, and a transaction of its own
ORDER_TIME: Final = timedelta(seconds=900)  # unless the settings say otherwise
SPARE: Final = timedelta(seconds=60)  # of a task's time that the host does not get: for rolling back and reporting

QUESTION_SECONDS: Final = 240  # that a host may take to say what came of an order; it may be in its midst
_SILENT: Final = (State.STOPPED, State.TIMED_OUT, State.LOST)

log = logging.getLogger(__name__)


@value_object
class Rules:
    """What the server's settings and its operations say about orders.

    `most_per_second`: how many bytes a host may download in a second; 0 = any number. `reachable_within`: a host can be
    given work if its agent used its socket or asked for its tasks within this time. `order_time`: what an order gets
    that waited for its host. `still_may` says which clients a caller may no longer move.
    """

    most_per_second: int = 0
    reachable_within: timedelta = REACHABLE_WITHIN
    order_time: timedelta = ORDER_TIME
    still_may: StillMay = nobody_is_refused


NO_RULES: Final = Rules()


@value_object
class Sending:
    """What every order of one round is sent with."""

    now: datetime
    draw: Draw
    carrier: Carrier
    rules: Rules

    @property
    def reachable_since(self) -> datetime:
        """Since when a host that is not reachable has not been."""
        return self.now - self.rules.reachable_within


def run_once(
    database: Database,
    *,
    now: datetime,
    draw: Draw,
    carrier: Carrier,
    rules: Rules = NO_RULES,
    progress: ProgressPace | None = None,
) -> bool:
    """Run one round; True if there may be more to do at once.

    Args:
        database: where everything is.
        now: the time.
        draw: makes ids.
        carrier: brings the orders to their hosts.
        rules: what the server's settings and its operations say about orders.
        progress: how often this worker collects how far hosts are; None = in this round.
    """
    sending, progress = Sending(now, draw, carrier, rules), progress or ProgressPace()
    with database.reading() as tx:
        overdue = _store.overdue(tx, now, TASKS_AT_ONCE)
        late = _store.overdue_items(tx, now, AT_ONCE)
        something_waits = _store.anything_waiting(tx, now, sending.reachable_since)
        pieces = carriers.count_news(tx, TOPIC, most=FEW_NEWS + 1)
    for task in overdue:
        _expire(database, task, now)
    more = _collect(database, sending, pieces, progress)
    if late:
        with database.transaction() as tx:
            ended = end_overdue(tx, late, now=now, draw=draw)
        for item in ended:
            _log_end(item)
    if something_waits:
        more = _send_waiting(database, sending) or more
    return more or len(overdue) == TASKS_AT_ONCE or len(late) == AT_ONCE


def _expire(database: Database, task: Task, now: datetime) -> None:
    with database.transaction() as tx:
        expire(tx, task, now=now)
    log.info("a task expired", extra={"task_id": task.id})


# --- Sending --------------------------------------------------------------------------------------------------------


def _send_waiting(database: Database, sending: Sending) -> bool:
    with database.transaction() as tx:
        waiting = _store.take_waiting(tx, sending.now, sending.reachable_since, AT_ONCE)
        if waiting:
            _send(tx, waiting, sending)
    if waiting:
        failpoint("commands sent")
    return len(waiting) == AT_ONCE


def _send(tx: Transaction, waiting: Sequence[Item], sending: Sending) -> None:
    now = sending.now
    tasks = _store.tasks_by_id(tx, list({item.task_id for item in waiting}))
    waited = [item for item in waiting if item.waits]
    why = refusals(tx, waited, tasks, sending.rules.still_may, now=now)
    going = [
        replace(item, order_until=now + sending.rules.order_time, not_before=None) if item.waits else item
        for item in waiting
        if item.id not in why
    ]
    sent = [sent_item(item, deadline_of(item, tasks) - now, now) for item in going]
    deliveries = _deliveries(tx, sent, tasks, sending)
    sending.carrier.send(tx, deliveries, topic=TOPIC, now=now, draw=sending.draw)
    _store.update(tx, [*sent, *(refused(item, why[item.id], now=now) for item in waited if item.id in why)])
    begun = [Change(item.client_id, status=item.new_client_status) for item in sent if item.order_until]
    fleet.set_clients(tx, [change for change in begun if change.client_id], now=now)
    update_tasks(tx, tasks, now=now)


def _deliveries(tx: Transaction, items: Sequence[Item], tasks: Mapping[str, Task], sending: Sending) -> list[Delivery]:
    orders = _orders(tx, items, tasks, sending.rules.most_per_second)
    return [
        Delivery(
            account_id=item.account_id,
            instance_id=item.instance_id,
            order=orders[item.id],
            timeout_seconds=seconds_of(deadline_of(item, tasks) - sending.now),
            reference=item.id,
        )
        for item in items
    ]


def _orders(
    tx: Transaction, items: Sequence[Item], tasks: Mapping[str, Task], most_per_second: int
) -> dict[str, Order]:
    """Return each item's order, with its client's settings and the oldest version that must read its backups."""
    client_ids = [item.client_id for item in items if item.client_id]
    by_package = releases.schemes_of(tx, {item.package for item in items})
    schemes = {item.client_id: by_package[item.package] for item in items}
    preferences, readers = fleet.preferences_of(tx, client_ids), fleet.oldest_readers(tx, client_ids, schemes)
    return {
        item.id: item.order(
            settings=settings_of_order(preferences.get(item.client_id, Preferences()), tasks[item.task_id]),
            oldest_reader=readers.get(item.client_id, ""),
            bytes_per_second=most_per_second,
        )
        for item in items
    }


def sent_item(item: Item, left: timedelta, now: datetime) -> Item:
    """Return the item as it is once sent. The host gets most of the time that its task has left, however late it is."""
    seconds = seconds_of(left - min(SPARE, left / 5))
    sent = item.moved(ItemState.SENT, at=now, message=item.message)
    return changed(sent, timeout_seconds=min(seconds, LONGEST_TIMEOUT_SECONDS))


def deadline_of(item: Item, tasks: Mapping[str, Task]) -> datetime:
    """Return when the order of an item ends: its own time if it waited for its host, else its task's."""
    return item.order_until or tasks[item.task_id].deadline


def seconds_of(left: timedelta) -> int:
    """Return whole seconds, at least one."""
    return max(1, int(left.total_seconds()))


# --- Collecting -----------------------------------------------------------------------------------------------------


def _collect(database: Database, sending: Sending, pieces: int, progress: ProgressPace) -> bool:
    only_ends = progress.only_ends(pieces, sending.now)
    if not pieces:
        return False
    with database.transaction() as tx:
        news = sending.carrier.news(tx, TOPIC, limit=AT_ONCE, only_ends=only_ends)
        ended, late = _record(tx, news, sending) if news else ([], [])
        _repeat_lost(tx, news, sending)
    if news:
        failpoint("outcome collected")
    outcomes = {one.reference: one.outcome for one in news}
    for item in ended:
        _log_end(item, outcomes[item.id].task_id)
    short_cuts.record(database, ended, outcomes)
    traces.record(database, ended, late, outcomes, sending.now)
    if not only_ends and len(news) < AT_ONCE:
        progress.collected_all(sending.now)
    return len(news) == AT_ONCE


def _record(tx: Transaction, news: Sequence[News], sending: Sending) -> tuple[list[Item], list[Item]]:
    """Write down what this news means; return the items that it ended, and those that had been ended before."""
    now = sending.now
    known = _store.items_for_update(tx, list({one.reference for one in news}))
    tasks = _store.tasks_by_id(tx, list({item.task_id for item in known.values()}))
    later = _later_orders(tx, list(known.values()), tasks)
    judged, newest = [], dict(known)  # one item may have several pieces of news: each builds on the one before
    for one in news:
        item = newest.get(one.reference)
        if item is not None:  # else its task was purged
            deadline, after = deadline_of(item, tasks), later.get(item.id, LaterOrders())
            judged.append(judge(item, one.outcome, deadline=deadline, later=after, now=now))
            newest[item.id] = judged[-1].item
    put_off = {item.id: item for item in newest.values() if known[item.id].is_open and is_put_off(item, now)}
    moved = [item for item in newest.values() if item != known[item.id] and item.id not in put_off]
    _store.update(tx, moved)
    _store.renew(tx, {key: after_busy(item, now=now, draw=sending.draw) for key, item in put_off.items()})
    judged = [after_put_off(each) if each.item.id in put_off else each for each in judged]
    fleet.set_clients(tx, _changes(judged, tasks), now=now)
    keep_settings(tx, [each.item for each in judged if each.has_settings], tasks, now)
    sending.carrier.mark_collected(tx, news)
    # These ran out of time before `run_once` came to their task: once that is over, nothing else would cancel them.
    expired = [item.id for item in moved if item.state is ItemState.EXPIRED]
    if expired:
        carriers.cancel(tx, TOPIC, expired, now=now)
    update_tasks(tx, [item.task_id for item in (*moved, *put_off.values())], now=now)
    _publish_bad_news(tx, moved, tasks)
    over = [item for item in moved if not item.is_open]
    return [item for item in over if known[item.id].is_open], [item for item in over if not known[item.id].is_open]


def _publish_bad_news(tx: Transaction, moved: Sequence[Item], tasks: Mapping[str, Task]) -> None:
    """Publish the topics of tasks of which an item failed or was lost: whoever started them may want to stop at once.

    Good news wait for the task's end: there are many of them, and nobody is hurt meanwhile.
    """
    for item in moved:
        topic = tasks[item.task_id].topic
        if topic and item.state in (ItemState.FAILED, ItemState.LOST):
            tx.publish(topic)


def _repeat_lost(tx: Transaction, news: Sequence[News], sending: Sending) -> None:
    """Offer the carrier the same order once more for each item whose outcome was lost."""
    repeats = {one.reference: one.repeats for one in news if one.outcome.state is State.LOST}
    items = [item for item in _store.items_for_update(tx, list(repeats)).values() if item.state is ItemState.LOST]
    _ask_what_came_of_ended(tx, news, sending)
    if not items:
        return
    tasks = _store.tasks_by_id(tx, list({item.task_id for item in items}))
    lost = [replace(each, repeats=repeats[each.reference]) for each in _deliveries(tx, items, tasks, sending)]
    sending.carrier.repeat(tx, lost, topic=TOPIC, now=sending.now, draw=sending.draw)


def _ask_what_came_of_ended(tx: Transaction, news: Sequence[News], sending: Sending) -> None:
    """Ask the hosts of items that were ended here what came of them, where a shell ended without a report.

    The question has the order's id and cannot begin it: a host that is just at it answers when it has ended.
    """
    silent = {one.reference: one.repeats for one in news if one.outcome.state in _SILENT and _has_no_report(one)}
    ended = (ItemState.CANCELLED, ItemState.EXPIRED)
    items = [item for item in _store.items_for_update(tx, list(silent)).values() if item.state in ended]
    questions = [
        Delivery(
            account_id=item.account_id,
            instance_id=item.instance_id,
            order=Order(item.id, "recover", item.package, timeout_seconds=QUESTION_SECONDS),
            timeout_seconds=QUESTION_SECONDS + seconds_of(SPARE),
            reference=item.id,
            repeats=silent[item.id],
        )
        for item in items
    ]
    sending.carrier.repeat(tx, questions, topic=TOPIC, now=sending.now, draw=sending.draw)


def _has_no_report(news: News) -> bool:
    return read_host_output(news.outcome.output).report is None


def _changes(judged: Sequence[Judgement], tasks: Mapping[str, Task]) -> list[Change]:
    """Return what is now known of clients. Of two orders for one client the later one's change comes last, and wins."""
    oldest_first = sorted(judged, key=lambda judgement: tasks[judgement.item.task_id].created_at)
    return [judgement.change for judgement in oldest_first if judgement.change is not None]


def _later_orders(tx: Transaction, items: Sequence[Item], tasks: Mapping[str, Task]) -> dict[str, LaterOrders]:
    """Return, for items that were over before this news, what has happened to their clients since."""
    over = [item for item in items if item.client_id and not item.is_open]
    if not over:
        return {}
    since = min(tasks[item.task_id].created_at for item in over)
    others = _store.items_since(tx, [item.client_id for item in over], since)
    return {item.id: later_orders(item, tasks[item.task_id].created_at, others) for item in over}


def later_orders(item: Item, created_at: datetime, others: Sequence[tuple[Item, datetime]]) -> LaterOrders:
    """Sum up what came after an item for its client.

    Args:
        created_at: when the item's task was made.
        others: items, each with the moment that its task was made; those of other clients do not count.
    """
    after = [other for other, at in others if other.client_id == item.client_id and at > created_at]
    reported = (ItemState.SUCCEEDED, ItemState.FAILED)
    return LaterOrders(
        is_open=any(other.is_open for other in after),
        was_reported=any(other.state in reported and other.stage for other in after),
    )


def _log_end(item: Item, command_id: str = "") -> None:
    facts = {"task_id": item.task_id, "instance_id": item.instance_id, "client_id": item.client_id}
    facts |= {"command_id": command_id} if command_id else {}
    log.info("%s of a client: %s", item.kind.value, item.state.value, extra={**facts, "code": item.code})
