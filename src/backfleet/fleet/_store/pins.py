"""Pins of clients."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.fleet._tables import pins
from backfleet.fleet.model import Pin, PinKind
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Transaction

_ORDER = [pins.c.expires_at, pins.c.kind, pins.c.name, pins.c.value, pins.c.package]
_ACTIVE = Prepared(
    sa.select(pins)
    .where(pins.c.account_id == sa.bindparam("in"), pins.c.region == sa.bindparam("of_region"))
    .where(pins.c.expires_at > sa.bindparam("now"))
    .order_by(*_ORDER)
)


def put(tx: Transaction, pin: Pin) -> Pin | None:
    """Store a pin in place of the one on the same thing, and return that one.

    Raises:
        Conflict: another call is storing a pin on the same thing.
    """
    before = find(tx, pin)
    delete(tx, pin)
    tx.add(pins, [{column.name: getattr(pin, column.name) for column in pins.c}])
    return before


def find(tx: Transaction, pin: Pin) -> Pin | None:
    """Return the pin on the same thing as this one."""
    row = tx.first(sa.select(pins).where(_same(pin)))
    return None if row is None else _pin(row)


def delete(tx: Transaction, pin: Pin) -> None:
    """Delete the pin on the same thing as this one."""
    tx.run(sa.delete(pins).where(_same(pin)))


def count(tx: Transaction, account_id: str) -> int:
    """Return how many pins an account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(pins).where(pins.c.account_id == account_id)))


def exist(tx: Transaction, account_id: str, region: str, now: datetime) -> bool:
    """Return whether an account has a pin that has not expired."""
    mine = sa.and_(pins.c.account_id == account_id, pins.c.region == region, pins.c.expires_at > now)
    return tx.first(sa.select(pins.c.kind).where(mine).limit(1)) is not None


def active(tx: Transaction, account_id: str, region: str, now: datetime) -> list[Pin]:
    """Return an account's pins that have not expired."""
    return [_pin(row) for row in tx.rows(_ACTIVE, {"in": account_id, "of_region": region, "now": now})]


def page_of(tx: Transaction, account_id: str, region: str, page: Page) -> Listing[Pin]:
    """Return a page of an account's pins, those first that end first."""
    mine = sa.and_(pins.c.account_id == account_id, pins.c.region == region)
    rows = tx.rows(sa.select(pins).where(mine).order_by(*_ORDER).limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(pins).where(mine))
    return Listing([_pin(row) for row in rows], total)


def drop_instance(tx: Transaction, instance_id: str) -> None:
    """Delete the pins on an instance."""
    tx.run(sa.delete(pins).where(pins.c.kind == PinKind.INSTANCE, pins.c.name == instance_id))


def purge(tx: Transaction, before: datetime) -> None:
    """Delete pins that had expired before this moment."""
    tx.run(sa.delete(pins).where(pins.c.expires_at < before))


_KEY = [column.name for column in pins.primary_key.columns]


def _same(pin: Pin) -> sa.ColumnElement[bool]:
    return sa.and_(*(pins.c[name] == getattr(pin, name) for name in _KEY))


def _pin(row: sa.Row[Any]) -> Pin:
    return Pin(**{**row._mapping, "kind": PinKind(row.kind)})
