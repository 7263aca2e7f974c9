"""The only SQL on the audit trail and on the calls that accounts have left."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.operations._tables import audit_events, buckets
from backfleet.operations.audit_event import AuditEvent
from backfleet.storage import Transaction
from backfleet.values import value_object

_FIELDS: Final = [field.name for field in fields(AuditEvent)]
DELETED_AT_ONCE: Final = 5000  # rows in one transaction


@value_object
class EventFilter:
    """A choice of events: of an account, from `start` until before `end`, with these values in these columns."""

    account_id: str
    start: datetime
    end: datetime
    columns: Mapping[str, str]
    newest_first: bool = True


def write(tx: Transaction, event: AuditEvent) -> None:
    """Add an event."""
    row: dict[str, Any] = {name: getattr(event, name) for name in _FIELDS}
    tx.add(audit_events, [row | {"writes": event.writes}])


def note_error(tx: Transaction, request_id: str, code: str) -> None:
    """Write into the rows of a call that it was allowed and failed with this code."""
    known = sa.and_(audit_events.c.request_id == request_id, audit_events.c.error_code == "")
    tx.run(sa.update(audit_events).where(known).values(error_code=code))


def events(tx: Transaction, wanted: EventFilter, *, after: tuple[datetime, str] | None, limit: int) -> list[AuditEvent]:
    """Return events in order of time.

    Args:
        after: time and request id of the last event of the part before; None for the first part.
    """
    table = audit_events.c
    place = sa.tuple_(table.at, table.request_id)
    conditions: list[sa.ColumnElement[bool]] = [
        table.account_id == wanted.account_id,
        table.at >= wanted.start,
        table.at < wanted.end,
        *(_has(name, value) for name, value in wanted.columns.items()),
    ]
    if after is not None:
        there = sa.tuple_(sa.literal(after[0], table.at.type), sa.literal(after[1]))
        conditions.append(place < there if wanted.newest_first else place > there)
    order = [table.at.desc(), table.request_id.desc()] if wanted.newest_first else [table.at, table.request_id]
    chosen = sa.select(*(table[name] for name in _FIELDS)).where(*conditions).order_by(*order).limit(limit)
    return [AuditEvent(**row._mapping) for row in tx.rows(chosen)]


def _has(name: str, value: str) -> sa.ColumnElement[bool]:
    if name == "writes":
        return audit_events.c.writes.is_(value == "1") if value in ("0", "1") else sa.false()
    return audit_events.c[name] == value


def newest_before(tx: Transaction, moment: datetime) -> datetime | None:
    """Return the time of the newest event before a moment, None without any."""
    found: datetime | None = tx.scalar(sa.select(sa.func.max(audit_events.c.at)).where(audit_events.c.at < moment))
    return found


def delete_before(tx: Transaction, moment: datetime) -> bool:
    """Delete at most DELETED_AT_ONCE events older than a moment; return whether there may be more."""
    old = sa.select(audit_events.c.request_id, audit_events.c.account_id).where(audit_events.c.at < moment)
    chosen = old.order_by(audit_events.c.at).limit(DELETED_AT_ONCE).with_for_update(skip_locked=True)
    place = sa.tuple_(audit_events.c.request_id, audit_events.c.account_id)
    return tx.run(sa.delete(audit_events).where(place.in_(chosen))) == DELETED_AT_ONCE


# --- Calls left -----------------------------------------------------------------------------------------------------


def bucket_for_update(
    tx: Transaction, account_id: str, action: str, *, full: float, now: datetime
) -> tuple[float, datetime]:
    """Lock a bucket; return the calls left and the time of that count. The first call makes a full bucket."""
    locked = sa.select(buckets).where(_bucket(account_id, action)).with_for_update()
    row = tx.first(locked)
    if row is None:  # if another transaction adds it at the same time, this waits and then reads that row
        tx.add_if_new(buckets, {"account_id": account_id, "action": action, "calls_left": full, "at": now})
        [row] = tx.rows(locked)
    return row.calls_left, row.at


def put_bucket(tx: Transaction, account_id: str, action: str, calls_left: float, at: datetime) -> None:
    """Write the calls left in a locked bucket."""
    tx.run(sa.update(buckets).where(_bucket(account_id, action)).values(calls_left=calls_left, at=at))


def _bucket(account_id: str, action: str) -> sa.ColumnElement[bool]:
    return sa.and_(buckets.c.account_id == account_id, buckets.c.action == action)
