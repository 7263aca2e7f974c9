"""Ending open items, and deriving a task's state from its items.

A transaction that changes a task takes its locks in one order, so that two can never wait for each other: invocations,
items (by id), clients (by id), tasks (by id).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import carriers, fleet
from backfleet.carriers import Reached
from backfleet.fleet import Change, Failure
from backfleet.storage import Transaction
from backfleet.upgrades import _store, traces
from backfleet.upgrades.model import Item, Task
from backfleet.upgrades.progress import progress_of
from backfleet.upgrades.states import ItemState, TaskState, task_state

TOPIC: Final = "upgrades"
NEW_TASKS: Final = "upgrades/new"  # published besides for a task that was just started: nothing is gained by waiting
AT_ONCE: Final = 100  # open tasks read at once
MOST_FORGOTTEN: Final = 2000  # tasks forgotten in one go; the next round takes the rest


def cancel(tx: Transaction, account_id: str, task_id: str, *, now: datetime) -> bool | None:
    """End a task's open items with TaskCancelled and withdraw their orders. A task that is over stays as it is.

    A host that has begun to switch finishes or rolls back by itself; its report still updates the client.

    Returns:
        Whether it ended an item; None if the account has no such task.
    """
    task = _store.task(tx, account_id, task_id)
    if task is None:
        return None
    if is_out_of_time(tx, task, now):
        expire(tx, task, now=now)
        return False
    return _end_open(tx, task, lambda item, reached: item.cancelled(at=now, reached=reached), now=now)


def withdraw(tx: Transaction, item_ids: Sequence[str], *, now: datetime) -> None:
    """Withdraw the orders of items that no host has fetched yet. What a host has goes on, and is reported as ever.

    An item whose order was never sent ends with TaskCancelled here; one whose order waits for its host, when the worker
    collects that.
    """
    if not item_ids:
        return
    carriers.withdraw(tx, TOPIC, item_ids, now=now)
    locked = list(_store.items_for_update(tx, item_ids).values())
    carriers.withdraw(tx, TOPIC, [item.id for item in locked if item.state is ItemState.SENT], now=now)  # sent since
    ended = [item.cancelled(at=now, reached=None) for item in locked if item.state is ItemState.WAITING]
    _store.update(tx, ended)
    traces.record_early(tx, ended)
    changes = [Change(item.client_id, status=item.new_client_status) for item in ended if item.client_id]
    fleet.set_clients(tx, changes, now=now)
    update_tasks(tx, {item.task_id for item in ended}, now=now)


def expire(tx: Transaction, task: Task, *, now: datetime) -> None:
    """End a task's open items with TaskExpired and withdraw their orders."""
    _end_open(tx, task, lambda item, reached: item.expired(at=task.deadline, reached=reached), now=now)


def is_out_of_time(tx: Transaction, task: Task, now: datetime) -> bool:
    """Return whether a task has expired. Where the clock was set, or no server looked, its time is about to begin anew.

    That is so for every task but one that waits for its hosts until a moment that its caller named.
    """
    if not task.is_overdue(now):
        return False
    return carriers.rounds_go_on(tx, now) or any(item.waits_until is not None for item in task.items)


def begin_anew(tx: Transaction, *, time: timedelta, now: datetime) -> None:
    """Give open tasks, and orders that are under way, their whole time again: no server looked, or the clock was set.

    Args:
        tx: the transaction to write in.
        time: what a task, and an order that waited for its host, have.
        now: the time.
    """
    _store.begin_anew(tx, now + time)


def expire_overdue(tx: Transaction, task_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Expire those of these tasks that are past their deadline, and return their ids."""
    late = [task for task in _store.overdue_among(tx, task_ids, now) if is_out_of_time(tx, task, now)]
    for task in late:
        expire(tx, task, now=now)
    return {task.id for task in late}


def end_restored(tx: Transaction, *, now: datetime) -> int:
    """Expire every open task: the database is an older copy, and what became of them since is not known here.

    Returns:
        How many there were.
    """
    _store.bring_deadlines_forward(tx, now)
    count = 0
    while late := _store.overdue(tx, now, AT_ONCE):
        for task in late:
            _end_open(tx, task, lambda item, _: item.restored(at=now), now=now)
            update_tasks(tx, [task.id], now=now)
        count += len(late)
    return count


def _end_open(tx: Transaction, task: Task, end: Callable[[Item, Reached | None], Item], *, now: datetime) -> bool:
    """End the items of a task that are open, and return whether one was."""
    seen = {item.id: item.state for item in task.items if item.is_open}
    if not seen:
        return False
    reached = carriers.cancel(tx, TOPIC, list(seen), now=now)
    locked = [item for item in _store.items_for_update(tx, list(seen)).values() if item.is_open]
    # These may have been sent since the task was read: then there was nothing to cancel yet.
    since = [item.id for item in locked if item.state is not seen[item.id]]
    reached |= carriers.cancel(tx, TOPIC, since, now=now)
    never_sent = {item.id for item in locked if item.waits}  # their clients are as they were
    ended = [_untouched_if(item.waits, end(item, reached.get(item.id))) for item in locked]
    _store.update(tx, ended)
    traces.record_early(tx, ended)
    changes = [
        Change(
            item.client_id,
            status=item.new_client_status,
            unsure=not item.deferred,
            failure=None if item.deferred else Failure(item.code, item.message, item.to_version, now),
        )
        for item in ended
        if item.client_id and item.id not in never_sent
    ]
    fleet.set_clients(tx, changes, now=now)
    update_tasks(tx, [task.id], now=now)
    return bool(ended)


def _untouched_if(waited: bool, item: Item) -> Item:
    return replace(item, deferred=True) if waited else item


def update_tasks(tx: Transaction, task_ids: Iterable[str], *, now: datetime) -> None:
    """Derive tasks' state and progress from their items, and publish the topics of those that end by that.

    A task that is over stays as it is. The tasks are locked before their items are read: of two workers the second
    sees what the first wrote.
    """
    tasks = [task for task in _store.tasks_for_update(tx, sorted(set(task_ids))) if task.state is TaskState.CREATED]
    statuses = _store.item_statuses(tx, [task.id for task in tasks])
    changed = []
    for task in tasks:
        state = task_state([item_state for item_state, _ in statuses[task.id]])
        progress = progress_of(statuses[task.id], task.progress)
        completed_at = None if state is TaskState.CREATED else min(now, task.deadline)
        changed.append((task.id, state, progress, completed_at or now, completed_at))
        if task.topic and state is not TaskState.CREATED:
            tx.publish(task.topic)
    _store.update_tasks(tx, changed)
    traces.record_over(tx, [task.id for task in tasks])


def purge(tx: Transaction, *, before: datetime) -> None:
    """Forget tasks that were over before this moment, with their orders and tokens; at most MOST_FORGOTTEN."""
    _store.forget(tx, before, MOST_FORGOTTEN)
    carriers.forget(tx, TOPIC, before=before)
