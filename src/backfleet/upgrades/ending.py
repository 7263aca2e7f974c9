"""Ending what is open, and bringing a task in line with its items.

Whoever changes a task takes its locks in one order, so that two can never wait for each other: commands, items (by id),
clients (by id), tasks (by id).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from backfleet import commands, fleet
from backfleet.carriers.bootstrap import references_of
from backfleet.fleet import Change
from backfleet.storage import Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.progress import progress_of
from backfleet.upgrades.states import ItemState, TaskState, task_state
from backfleet.upgrades.tasks import CANCELLED, EXPIRED, Task

TOPIC: Final = "upgrades"
MOST_FORGOTTEN = 2000  # tasks forgotten in one go; the next round takes the rest


def cancel(tx: Transaction, account_id: str, task_id: str, *, now: datetime) -> bool:
    """End what is open with TaskCancelled and stop its commands. False if the account has no such task.

    A task that is over stays as it is. A host that has begun to switch finishes or goes back by itself; its report
    still tells the truth about the client.
    """
    task = _store.task(tx, account_id, task_id)
    if task is None:
        return False
    if task.is_overdue(now):
        expire(tx, task, now=now)
    else:
        _end_open(tx, task, ItemState.CANCELLED, CANCELLED, at=now, now=now)
    return True


def expire(tx: Transaction, task: Task, *, now: datetime) -> None:
    """End what is open with TaskExpired and stop its commands."""
    _end_open(tx, task, ItemState.EXPIRED, EXPIRED, at=task.deadline, now=now)


def expire_overdue(tx: Transaction, task_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Expire those of these tasks that are past their deadline; which they are."""
    late = _store.overdue_among(tx, task_ids, now)
    for task in late:
        expire(tx, task, now=now)
    return {task.id for task in late}


def _end_open(tx: Transaction, task: Task, to: ItemState, why: tuple[str, str], *, at: datetime, now: datetime) -> None:
    seen = {item.id: item.state for item in task.items if item.is_open}
    if not seen:
        return
    commands.stop(tx, TOPIC, references_of(seen), now=now)
    held = [item for item in _store.items_for_update(tx, list(seen)).values() if item.is_open]
    # Sent since we looked, so that there was nothing to stop then.
    since = [item.id for item in held if item.state is not seen[item.id]]
    commands.stop(tx, TOPIC, references_of(since), now=now)
    code, message = why
    ended = [item.moved(to, at=at, code=code, message=message) for item in held]
    _store.update(tx, ended)
    changes = [Change(item.client_id, status=item.client_status, unsure=True) for item in ended if item.client_id]
    fleet.set_clients(tx, changes, now=now)
    settle(tx, [task.id], now=now)


def settle(tx: Transaction, task_ids: Iterable[str], *, now: datetime) -> None:
    """Bring tasks' state and progress in line with their items. A task that is over stays as it is.

    The tasks are locked before their items are read: of two workers the second sees what the first wrote.
    """
    wanted = sorted(set(task_ids))
    tasks = [task for task in _store.tasks_for_update(tx, wanted) if task.state is TaskState.CREATED]
    standings = _store.standings(tx, [task.id for task in tasks])
    for task in tasks:
        state = task_state([item_state for item_state, _ in standings[task.id]])
        progress = progress_of(standings[task.id], task.progress)
        completed_at = None if state is TaskState.CREATED else min(now, task.deadline)
        _store.update_task(tx, task.id, state, progress, completed_at or now, completed_at)


def purge(tx: Transaction, *, before: datetime) -> None:
    """Forget tasks that were over before this moment, with their commands and tokens; at most MOST_FORGOTTEN."""
    _store.forget(tx, before, MOST_FORGOTTEN)
    commands.drop_before(tx, TOPIC, before)
