"""The only SQL on tasks, client upgrades and client tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from backfleet.idempotency import TokenStore
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Transaction, reader
from backfleet.upgrades import _statements
from backfleet.upgrades._tables import items, tasks, tokens
from backfleet.upgrades._tables import settings_before as settings_before_tasks
from backfleet.upgrades.model import LONGEST_PAUSE, EndedBadly, Item, Origin, Task
from backfleet.upgrades.progress import ItemStatus
from backfleet.upgrades.states import ItemState, Kind, TaskState

IDS_AT_ONCE: Final = 500  # in one statement
_BAD: Final = sorted({ItemState.FAILED, ItemState.EXPIRED})
_TASK_FIELDS: Final = [field.name for field in fields(Task) if field.name != "items"]
_ITEM_FIELDS: Final = [field.name for field in fields(Item)]
# Of an item that was made just now the others are what its columns have without being told.
_NEW_FIELDS: Final = [name for name in _ITEM_FIELDS if name not in _statements.NOT_YET]
_NEW_VALUES: Final = attrgetter(*_NEW_FIELDS)
_CHANGING_VALUES: Final = attrgetter(*_statements.CHANGING)
_CHANGING_NAMES: Final = [f"new_{name}" for name in _statements.CHANGING]
_PLACE: Final = attrgetter("client_id", "id")
_READ_ITEM: Final = reader(items, Item, kind=Kind, state=ItemState)

client_tokens: Final = TokenStore(tokens, "task_id")


# --- Tasks ----------------------------------------------------------------------------------------------------------


def add(tx: Transaction, task: Task) -> None:
    """Add a task and its items, as `new_item` makes them.

    Raises:
        Conflict: one of the clients is being moved by another task.
    """
    tx.add(tasks, [{name: getattr(task, name) for name in _TASK_FIELDS}])
    # By client, so that two calls that name the same clients in another order cannot wait for each other.
    ordered = sorted(task.items, key=_PLACE)
    tx.add_rows(items, _NEW_FIELDS, list(map(_NEW_VALUES, ordered)))


def task(tx: Transaction, account_id: str, task_id: str) -> Task | None:
    """Return an account's task with its items."""
    row = tx.first(_statements.ONE_TASK, {"of": task_id, "in": account_id})
    return None if row is None else _task(row, _items_of(tx, [task_id]).get(task_id, []))


def tasks_by_id(tx: Transaction, task_ids: Sequence[str]) -> dict[str, Task]:
    """Return tasks by id, without their items."""
    if not task_ids:
        return {}
    return {row.id: _task(row, []) for row in tx.rows(_statements.TASKS_BY_ID, {"ids": task_ids})}


def tasks_for_update(tx: Transaction, task_ids: Sequence[str]) -> list[Task]:
    """Return tasks without their items, locked in the order of their ids."""
    if not task_ids:
        return []
    return [_task(row, []) for row in tx.rows(_statements.TASKS_LOCKED, {"ids": task_ids})]


def tasks_page(tx: Transaction, account_id: str, page: Page, instance_id: str | None) -> Listing[Task]:
    """Return a page of an account's tasks, newest first; their items only of the instance, if one is asked for."""
    mine = tasks.c.account_id == account_id
    if instance_id is not None:
        mine &= tasks.c.id.in_(sa.select(items.c.task_id).where(items.c.instance_id == instance_id))
    ordered = sa.select(tasks).where(mine).order_by(tasks.c.created_at.desc(), tasks.c.id)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(tasks).where(mine))
    found = _items_of(tx, [row.id for row in rows], instance_id) if instance_id is not None else {}
    return Listing([_task(row, found.get(row.id, [])) for row in rows], total)


def overdue(tx: Transaction, now: datetime, limit: int) -> list[Task]:
    """Return open tasks past their deadline, with their items; not locked."""
    return _with_items(tx, _statements.OVERDUE, {"now": now, "most": limit})


def bring_deadlines_forward(tx: Transaction, now: datetime) -> None:
    """Let the time of every open task be over now."""
    still = sa.and_(tasks.c.state == TaskState.CREATED, tasks.c.deadline > now)
    tx.run(sa.update(tasks).where(still).values(deadline=now))


def begin_anew(tx: Transaction, end: datetime) -> None:
    """Let the time of open tasks, and of orders that are out although they waited for their hosts, end then.

    How long a task may wait for hosts stays as it is.
    """
    is_open = sa.and_(items.c.state.in_(_statements.OPEN_STATES), items.c.waits_until.is_not(None))
    waiting = sa.select(items.c.task_id).where(is_open)
    running = waiting.where(items.c.state != ItemState.WAITING)
    either = sa.or_(tasks.c.id.not_in(waiting), sa.and_(tasks.c.deadline < end, tasks.c.id.in_(running)))
    tx.run(sa.update(tasks).where(tasks.c.state == TaskState.CREATED, either).values(deadline=end))
    out = sa.and_(is_open, items.c.order_until.is_not(None))
    tx.run(sa.update(items).where(out).values(order_until=end))


def overdue_among(tx: Transaction, task_ids: Sequence[str], now: datetime) -> list[Task]:
    """Return those of these tasks that are open past their deadline, with their items; not locked."""
    return _with_items(tx, _statements.OVERDUE_AMONG, {"now": now, "ids": task_ids}) if task_ids else []


def ended_badly(tx: Transaction, account_id: str, since: datetime, limit: int) -> list[EndedBadly]:
    """Return tasks that ended since a moment with items that failed, those of other modules left out."""
    bad = sa.func.count().label("bad")
    query = sa.select(tasks.c.id, tasks.c.kind, bad, sa.func.min(items.c.code).label("code"))
    joined = query.select_from(tasks.join(items, items.c.task_id == tasks.c.id)).where(
        tasks.c.account_id == account_id, tasks.c.completed_at >= since, tasks.c.topic == "", items.c.state.in_(_BAD)
    )
    rows = tx.rows(joined.group_by(tasks.c.id, tasks.c.kind).order_by(tasks.c.id).limit(limit))
    return [EndedBadly(row.id, row.kind, row.bad, row.code) for row in rows]


def count_ended(tx: Transaction, since: datetime, account_id: str | None) -> dict[tuple[str, str, str, str, str], int]:
    """Return how many items ended since a moment, by account, package, kind, state and code; None = of any account."""
    by = (tasks.c.account_id, items.c.package, items.c.kind, items.c.state, items.c.code)
    recent = sa.or_(tasks.c.completed_at.is_(None), tasks.c.completed_at >= since)
    query = sa.select(*by, sa.func.count().label("number")).select_from(
        tasks.join(items, items.c.task_id == tasks.c.id)
    )
    where = [] if account_id is None else [tasks.c.account_id == account_id]
    rows = tx.rows(query.where(recent, items.c.completed_at >= since, *where).group_by(*by))
    return {tuple(row[:5]): row.number for row in rows}


def count_open(tx: Transaction) -> dict[tuple[str, str], tuple[int, datetime]]:
    """Return how many items are open and since when the oldest is, by account and state."""
    by = (items.c.account_id, items.c.state)
    query = sa.select(*by, sa.func.count().label("number"), sa.func.min(tasks.c.created_at).label("oldest"))
    joined = query.select_from(items.join(tasks, items.c.task_id == tasks.c.id)).where(
        items.c.state.in_(_statements.OPEN_STATES)
    )
    return {(row.account_id, row.state): (row.number, row.oldest) for row in tx.rows(joined.group_by(*by))}


def _with_items(tx: Transaction, chosen: Prepared, values: Mapping[str, Any]) -> list[Task]:
    rows = tx.rows(chosen, values)
    found = _items_of(tx, [row.id for row in rows])
    return [_task(row, found.get(row.id, [])) for row in rows]


def update_tasks(tx: Transaction, changed: Sequence[tuple[str, TaskState, int, datetime, datetime | None]]) -> None:
    """Write tasks' new states and progress, when that was, and when they were completed, in one statement."""
    if changed:
        names = ("of", "new_state", "new_progress", "new_updated_at", "new_completed_at")
        tx.run(_statements.CHANGE_TASK, [dict(zip(names, values, strict=True)) for values in changed])


def forget(tx: Transaction, before: datetime, limit: int) -> None:
    """Forget tasks that were over before this moment, with their tokens, and tokens that had expired by then."""
    over = sa.and_(tasks.c.state != TaskState.CREATED, tasks.c.completed_at < before)
    chosen = sa.select(tasks.c.id).where(over).order_by(tasks.c.created_at).limit(limit)
    ids = [row.id for row in tx.rows(chosen.with_for_update(skip_locked=True))]
    if ids:
        for table in (items, settings_before_tasks):
            tx.run(sa.delete(table).where(table.c.task_id.in_(ids)))
        tx.run(sa.delete(tasks).where(tasks.c.id.in_(ids)))
    client_tokens.purge(tx, before=before, results=ids)


# --- Settings -------------------------------------------------------------------------------------------------------


def note_settings_before(tx: Transaction, client_id: str, task_id: str, settings: str, now: datetime) -> None:
    """Store how settings of a client were before a task, unless that is stored already."""
    row = {"client_id": client_id, "task_id": task_id, "settings": settings, "at": now}
    tx.add_if_new(settings_before_tasks, row)


def settings_before(
    tx: Transaction, client_ids: Sequence[str], origin: Origin, carried: str
) -> Iterator[tuple[str, str]]:
    """Yield a client and its settings as JSON before each task of an origin that carried these, oldest first."""
    table = settings_before_tasks
    joined = table.join(tasks, tasks.c.id == table.c.task_id)
    meant = sa.and_(_of(origin), tasks.c.settings == carried)
    for start in range(0, len(client_ids), IDS_AT_ONCE):
        chosen = sa.and_(table.c.client_id.in_(client_ids[start : start + IDS_AT_ONCE]), meant)
        query = sa.select(table).select_from(joined).where(chosen).order_by(table.c.at, table.c.task_id)
        for row in tx.rows(query):
            yield row.client_id, row.settings


# --- Items ----------------------------------------------------------------------------------------------------------


def live_tasks_of(tx: Transaction, account_id: str, client_ids: Sequence[str]) -> dict[str, str]:
    """Return the task that is moving it, for each of these clients that is being moved."""
    if not client_ids:
        return {}
    return {row.client_id: row.task_id for row in tx.rows(_statements.LIVE, {"ids": client_ids, "in": account_id})}


def anything_waiting(tx: Transaction, now: datetime, reachable_since: datetime) -> bool:
    """Return whether there is an item to send."""
    return tx.first(_statements.ANY_WAITING, _moments(now, reachable_since)) is not None


def unsent_since(tx: Transaction, account_id: str, now: datetime, reachable_since: datetime) -> datetime | None:
    """Return when the oldest item was made that could be sent and was not; None if there is none."""
    made_at: datetime | None = tx.scalar(
        _statements.WAITING.with_only_columns(sa.func.min(tasks.c.created_at, type_=tasks.c.created_at.type)).where(
            items.c.account_id == account_id, items.c.waits_until.is_(None)
        ),
        _moments(now, reachable_since),
    )
    return made_at


def take_waiting(tx: Transaction, now: datetime, reachable_since: datetime, limit: int) -> list[Item]:
    """Return items to send, those of the oldest tasks first, locked for this transaction."""
    return tx.read(_READ_ITEM, _statements.TAKE_WAITING, {**_moments(now, reachable_since), "most": limit})


def _moments(now: datetime, reachable_since: datetime) -> dict[str, datetime]:
    """Return the values of `_statements.WAITING`."""
    return {"now": now, "since": reachable_since, "after_pauses": now + LONGEST_PAUSE}


def overdue_items(tx: Transaction, now: datetime, limit: int) -> list[Item]:
    """Return open items of which the wait, or the order that is out, is over before their task; not locked."""
    return tx.read(_READ_ITEM, _statements.LATE_ITEMS, {"now": now, "most": limit})


def waiting_of(tx: Transaction, account_id: str, client_ids: Sequence[str]) -> list[Item]:
    """Return the items of these clients that wait for their hosts, locked in the order of their ids."""
    if not client_ids:
        return []
    return tx.read(_READ_ITEM, _statements.WAITING_LOCKED, {"ids": client_ids, "in": account_id})


def renew(tx: Transaction, renewed: Mapping[str, Item]) -> None:
    """Write items that wait for another order, which has another id; they are locked and given by the old one."""
    for item_id in sorted(renewed):
        values = {name: getattr(renewed[item_id], name) for name in ("id", *_statements.CHANGING)}
        tx.run(sa.update(items).where(items.c.id == item_id).values(values))


def items_for_update(tx: Transaction, item_ids: Sequence[str]) -> dict[str, Item]:
    """Return items by id, locked in the order of their ids."""
    if not item_ids:
        return {}
    return {item.id: item for item in tx.read(_READ_ITEM, _statements.ITEMS_LOCKED, {"ids": item_ids})}


def items_by_id(tx: Transaction, item_ids: Sequence[str]) -> dict[str, Item]:
    """Return items by id, without locking them."""
    found: dict[str, Item] = {}
    for start in range(0, len(item_ids), IDS_AT_ONCE):
        chosen = items.c.id.in_(item_ids[start : start + IDS_AT_ONCE])
        found |= {row.id: _item(row) for row in tx.rows(sa.select(items).where(chosen))}
    return found


def items_since(tx: Transaction, client_ids: Sequence[str], moment: datetime) -> list[tuple[Item, datetime]]:
    """Return items of these clients in tasks made after this moment, each with the moment its own task was made."""
    if not client_ids:
        return []
    query = (
        sa.select(items, tasks.c.created_at.label("task_created_at"))
        .join(tasks, tasks.c.id == items.c.task_id)
        .where(items.c.client_id.in_(client_ids), tasks.c.created_at > moment)
    )
    return [(_item(row), row.task_created_at) for row in tx.rows(query)]


def with_output(tx: Transaction, account_id: str, origin: Origin) -> list[tuple[str, str]]:
    """Return ids and clients of items that did not succeed and whose hosts said something, the first to end first."""
    query = (
        sa.select(items.c.id, items.c.client_id)
        .join(tasks, tasks.c.id == items.c.task_id)
        .where(tasks.c.account_id == account_id, _of(origin))
        .where(items.c.account_id == account_id, items.c.evidence != "", items.c.state != ItemState.SUCCEEDED.value)
        .order_by(items.c.completed_at, items.c.id)
    )
    return [(row.id, row.client_id) for row in tx.rows(query)]


def _of(origin: Origin) -> sa.ColumnElement[bool]:
    since, until = tasks.c.created_at >= origin.since, origin.until
    within = since if until is None else since & (tasks.c.created_at <= until)
    unknown = sa.and_(tasks.c.origin == "", tasks.c.topic == origin.topic, tasks.c.label == origin.label, within)
    return sa.or_(tasks.c.origin == origin.id, unknown)


def item_statuses(tx: Transaction, task_ids: Sequence[str]) -> dict[str, dict[ItemStatus, int]]:
    """Return how many of each task's items have each status."""
    found: dict[str, dict[ItemStatus, int]] = {task_id: {} for task_id in task_ids}
    if task_ids:
        for row in tx.rows(_statements.ITEM_STATUSES, {"ids": task_ids}):
            found[row.task_id][ItemState(row.state), row.stage] = row.number
    return found


def update(tx: Transaction, changed: Sequence[Item]) -> None:
    """Write the fields of items that can change, in one statement for those that have the same ones.

    This transaction has locked them.
    """
    alike: dict[tuple[Any, ...], list[str]] = {}
    for item in changed:
        alike.setdefault(_CHANGING_VALUES(item), []).append(item.id)
    for values, ids in alike.items():
        tx.run(_statements.CHANGE_ITEMS, {"ids": ids, **dict(zip(_CHANGING_NAMES, values, strict=True))})


# --- Rows -----------------------------------------------------------------------------------------------------------


def _items_of(tx: Transaction, task_ids: Sequence[str], instance_id: str | None = None) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    if task_ids:
        only = None if instance_id is None else items.c.instance_id == instance_id
        query = _statements.ITEMS_OF if only is None else _statements.ITEMS_OF.statement.where(only)
        for item in tx.read(_READ_ITEM, query, {"ids": task_ids}):
            found.setdefault(item.task_id, []).append(item)
    return found


def _item(row: sa.Row[Any]) -> Item:
    return _READ_ITEM(row)


def _task(row: sa.Row[Any], made: Sequence[Item]) -> Task:
    values = row._mapping
    known = {name: values[name] for name in _TASK_FIELDS}
    return Task(**known | {"kind": Kind(row.kind), "state": TaskState(row.state)}, items=tuple(made))
