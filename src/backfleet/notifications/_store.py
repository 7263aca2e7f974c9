"""The only SQL on notifications."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.notifications._tables import conditions, destinations, notices
from backfleet.notifications.kinds import Kind
from backfleet.notifications.model import Destination, Notice, Way
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

TOPIC: Final = "notifications"
IDS_AT_ONCE: Final = 500  # in one statement
_COLUMNS: Final = [notices.c[field.name] for field in fields(Notice)]


def put_destination(tx: Transaction, destination: Destination) -> bool:
    """Store a destination in place of the one of its name; return whether there was none."""
    row = asdict(destination) | {"kinds": json.dumps(destination.kinds)}
    replaced = delete_destination(tx, destination.account_id, destination.name)
    tx.add(destinations, [row])
    return not replaced


def delete_destination(tx: Transaction, account_id: str, name: str) -> bool:
    """Delete a destination; return whether there was one."""
    mine = sa.and_(destinations.c.account_id == account_id, destinations.c.name == name)
    return bool(tx.run(sa.delete(destinations).where(mine)))


def find_destination(tx: Transaction, account_id: str, name: str) -> Destination | None:
    """Return a destination."""
    mine = sa.and_(destinations.c.account_id == account_id, destinations.c.name == name)
    row = tx.first(sa.select(destinations).where(mine))
    return None if row is None else _destination(row)


def destinations_of(tx: Transaction, account_id: str) -> list[Destination]:
    """Return an account's destinations by name."""
    mine = sa.select(destinations).where(destinations.c.account_id == account_id).order_by(destinations.c.name)
    return [_destination(row) for row in tx.rows(mine)]


def accounts(tx: Transaction) -> list[str]:
    """Return the accounts that have destinations."""
    rows = tx.rows(sa.select(destinations.c.account_id).distinct().order_by(destinations.c.account_id))
    return [row.account_id for row in rows]


def _destination(row: Any) -> Destination:
    kinds = tuple(Kind(name) for name in json.loads(row.kinds) if name in set(Kind))
    return Destination(**{**row._mapping, "kinds": kinds, "way": Way(row.way)})


def known_conditions(tx: Transaction, account_id: str, kinds: Iterable[Kind]) -> set[tuple[str, str]]:
    """Return kind and subject of the conditions of these kinds that people were notified of, and lock nothing."""
    query = sa.select(conditions.c.kind, conditions.c.subject)
    mine = sa.and_(conditions.c.account_id == account_id, conditions.c.kind.in_(list(kinds)))
    return {(row.kind, row.subject) for row in tx.rows(query.where(mine))}


def add_condition(tx: Transaction, account_id: str, kind: Kind, subject: str, now: datetime) -> bool:
    """Note a condition; return False if another process has noted it at the same time."""
    return tx.add_if_new(conditions, {"account_id": account_id, "kind": kind, "subject": subject[:128], "since": now})


def remove_conditions(tx: Transaction, account_id: str, over: Iterable[tuple[str, str]]) -> None:
    """Forget conditions that are over."""
    pairs, place = sorted(over), sa.tuple_(conditions.c.kind, conditions.c.subject)
    for start in range(0, len(pairs), IDS_AT_ONCE):
        chosen = place.in_(pairs[start : start + IDS_AT_ONCE])
        tx.run(sa.delete(conditions).where(conditions.c.account_id == account_id, chosen))


def add_notices(tx: Transaction, added: Iterable[Notice]) -> None:
    """Put notices into the outbox."""
    rows = [asdict(notice) for notice in added]
    if rows:
        tx.add(notices, rows)
        tx.publish(TOPIC)


def find_notice(tx: Transaction, account_id: str, notice_id: str) -> Notice | None:
    """Return a notice of an account."""
    mine = sa.and_(notices.c.id == notice_id, notices.c.account_id == account_id)
    row = tx.first(sa.select(*_COLUMNS).where(mine))
    return None if row is None else _notice(row)


def notices_of(tx: Transaction, account_id: str, destination: str | None, page: Page) -> Listing[Notice]:
    """Return a page of an account's notices, the newest first."""
    where = [notices.c.account_id == account_id]
    where += [] if destination is None else [notices.c.destination == destination]
    total = tx.scalar(sa.select(sa.func.count()).select_from(notices).where(*where))
    query = sa.select(*_COLUMNS).where(*where).order_by(notices.c.created_at.desc(), notices.c.id)
    return Listing([_notice(row) for row in tx.rows(query.limit(page.size).offset(page.offset))], total)


def undelivered(tx: Transaction, account_id: str, due_before: datetime, since: datetime, limit: int) -> list[Notice]:
    """Return an account's notices that were not delivered, newest first: due before a moment, or failed since one."""
    late = sa.and_(notices.c.next_at < due_before, notices.c.tries == 0)
    failed = sa.and_(notices.c.tries > 0, notices.c.created_at >= since)
    where = sa.and_(notices.c.account_id == account_id, notices.c.delivered_at.is_(None), sa.or_(late, failed))
    query = sa.select(*_COLUMNS).where(where).order_by(notices.c.created_at.desc(), notices.c.id).limit(limit)
    return [_notice(row) for row in tx.rows(query)]


def take_due(tx: Transaction, now: datetime, until: datetime, limit: int) -> list[Notice]:
    """Return notices whose time has come, and put their next try to `until`, so that no other process sends them."""
    due = sa.select(*_COLUMNS).where(notices.c.next_at <= now).order_by(notices.c.next_at).limit(limit)
    found = [_notice(row) for row in tx.rows(due.with_for_update(skip_locked=True))]
    if found:
        ids = [notice.id for notice in found]
        tx.run(sa.update(notices).where(notices.c.id.in_(ids)).values(next_at=until))
    return found


def change(tx: Transaction, notice_id: str, values: Mapping[str, Any]) -> None:
    """Write what became of a notice."""
    tx.run(sa.update(notices).where(notices.c.id == notice_id).values(**values))


def purge(tx: Transaction, before: datetime) -> None:
    """Delete notices made before a moment that are delivered or given up."""
    tx.run(sa.delete(notices).where(notices.c.created_at < before, notices.c.next_at.is_(None)))


def count(tx: Transaction, account_id: str) -> int:
    """Return how many notices of an account wait."""
    waiting = sa.and_(notices.c.account_id == account_id, notices.c.next_at.is_not(None))
    found: int = tx.scalar(sa.select(sa.func.count()).select_from(notices).where(waiting))
    return found


def count_waiting(tx: Transaction) -> dict[str, tuple[int, datetime]]:
    """Return how many notices wait and since when the oldest does, by account."""
    query = sa.select(
        notices.c.account_id, sa.func.count().label("number"), sa.func.min(notices.c.created_at).label("oldest")
    ).where(notices.c.next_at.is_not(None))
    return {row.account_id: (row.number, row.oldest) for row in tx.rows(query.group_by(notices.c.account_id))}


def _notice(row: Any) -> Notice:
    return Notice(**{**row._mapping, "kind": Kind(row.kind)})
