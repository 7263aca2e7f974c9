"""The only SQL on tasks, client upgrades and client tokens."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backfleet.fleet import Found, Page
from backfleet.storage import Transaction
from backfleet.upgrades._tables import items, tasks, tokens
from backfleet.upgrades.states import OPEN, ItemState, Kind, TaskState

if TYPE_CHECKING:
    from backfleet.upgrades.tasks import Item, Task

_OPEN = sorted(OPEN)


def add(tx: Transaction, task: "Task", made: "Sequence[Item]") -> None:
    """A new task and its items."""
    tx.add(tasks, [{f.name: getattr(task, f.name) for f in fields(task) if f.name != "items"}])
    tx.add(items, [{f.name: getattr(item, f.name) for f in fields(item)} for item in made])


def live_tasks_of(tx: Transaction, client_ids: Sequence[str]) -> dict[str, str]:
    """For each of these clients that is being moved now, the task that does it."""
    if not client_ids:
        return {}
    live = sa.and_(items.c.client_id.in_(client_ids), items.c.state.in_(_OPEN))
    return {row.client_id: row.task_id for row in tx.rows(sa.select(items.c.client_id, items.c.task_id).where(live))}


def task(tx: Transaction, account_id: str, task_id: str, *, lock: bool = False) -> "Task | None":
    """An account's task with its items."""
    query = sa.select(tasks).where(tasks.c.id == task_id, tasks.c.account_id == account_id)
    row = tx.first(query.with_for_update() if lock else query)
    return None if row is None else _task(row, _items(tx, [task_id]).get(task_id, []))


def tasks_for_update(tx: Transaction, task_ids: Sequence[str]) -> "list[Task]":
    """Tasks with their items, locked in the order of their ids."""
    if not task_ids:
        return []
    rows = tx.rows(sa.select(tasks).where(tasks.c.id.in_(task_ids)).order_by(tasks.c.id).with_for_update())
    found = _items(tx, task_ids)
    return [_task(row, found.get(row.id, [])) for row in rows]


def tasks_page(tx: Transaction, account_id: str, page: Page) -> "Found[Task]":
    """Newest first, without items."""
    mine = tasks.c.account_id == account_id
    ordered = sa.select(tasks).where(mine).order_by(tasks.c.created_at.desc(), tasks.c.id)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(tasks).where(mine))
    return Found([_task(row, []) for row in rows], total)


def overdue(tx: Transaction, now: datetime, limit: int) -> "list[Task]":
    """Open tasks whose time is over, for this transaction alone."""
    late = sa.and_(tasks.c.state == TaskState.CREATED, tasks.c.deadline <= now)
    query = sa.select(tasks).where(late).order_by(tasks.c.id).limit(limit).with_for_update(skip_locked=True)
    rows = tx.rows(query)
    found = _items(tx, [row.id for row in rows])
    return [_task(row, found.get(row.id, [])) for row in rows]


def update_task(
    tx: Transaction, task_id: str, state: TaskState, progress: int, now: datetime, completed_at: datetime | None
) -> None:
    """A task's new state and progress."""
    values = {"state": state, "progress": progress, "updated_at": now, "completed_at": completed_at}
    tx.run(sa.update(tasks).where(tasks.c.id == task_id).values(values))


def take_waiting(tx: Transaction, limit: int) -> "list[Item]":
    """Items to be sent, oldest first, for this transaction alone."""
    query = sa.select(items).where(items.c.state == ItemState.WAITING).order_by(items.c.id).limit(limit)
    return [_item(row) for row in tx.rows(query.with_for_update(skip_locked=True))]


def items_for_update(tx: Transaction, item_ids: Sequence[str]) -> "dict[str, Item]":
    """Items by id, locked in the order of their ids."""
    if not item_ids:
        return {}
    query = sa.select(items).where(items.c.id.in_(item_ids)).order_by(items.c.id).with_for_update()
    return {row.id: _item(row) for row in tx.rows(query)}


def update(tx: Transaction, changed: "Sequence[Item]") -> None:
    """Write items' new states, in one statement."""
    if not changed:
        return
    names = ("state", "stage", "code", "message", "current_version", "started_at", "completed_at")
    tx.run(
        sa.update(items).where(items.c.id == sa.bindparam("of")).values({n: sa.bindparam(f"new_{n}") for n in names}),
        [
            {"of": item.id, **{f"new_{n}": getattr(item, n) for n in names}}
            for item in sorted(changed, key=lambda item: item.id)
        ],
    )


def token(tx: Transaction, account_id: str, value: str, now: datetime) -> sa.Row[Any] | None:
    """What a token was bound to, if that is not over."""
    named = sa.and_(tokens.c.account_id == account_id, tokens.c.token == value)
    tx.run(sa.delete(tokens).where(named, tokens.c.until < now))
    return tx.first(sa.select(tokens).where(named))


def add_token(tx: Transaction, account_id: str, value: str, fingerprint: str, task_id: str, until: datetime) -> bool:
    """True for the one request that bound it."""
    row = {"account_id": account_id, "token": value, "fingerprint": fingerprint, "task_id": task_id, "until": until}
    return tx.add_if_new(tokens, row)


def drop_before(tx: Transaction, moment: datetime) -> None:
    """Forget tasks that were over before this moment."""
    over = sa.select(tasks.c.id).where(tasks.c.state != TaskState.CREATED, tasks.c.created_at < moment)
    tx.run(sa.delete(items).where(items.c.task_id.in_(over)))
    tx.run(sa.delete(tasks).where(tasks.c.state != TaskState.CREATED, tasks.c.created_at < moment))
    tx.run(sa.delete(tokens).where(tokens.c.until < moment))


def _items(tx: Transaction, task_ids: Sequence[str]) -> "dict[str, list[Item]]":
    found: dict[str, list[Item]] = {}
    if task_ids:
        query = sa.select(items).where(items.c.task_id.in_(task_ids)).order_by(items.c.task_id, items.c.position)
        for row in tx.rows(query):
            found.setdefault(row.task_id, []).append(_item(row))
    return found


def _item(row: sa.Row[Any]) -> "Item":
    from backfleet.upgrades.tasks import Item

    return Item(**{**row._mapping, "kind": Kind(row.kind), "state": ItemState(row.state)})


def _task(row: sa.Row[Any], made: "list[Item]") -> "Task":
    from backfleet.upgrades.tasks import Task

    known = {**row._mapping, "kind": Kind(row.kind), "state": TaskState(row.state)}
    return Task(**known, items=tuple(made))
