"""Inventories that hosts reported."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

import sqlalchemy as sa

from backfleet.fleet._tables import inventories
from backfleet.fleet.model import Inventory, StoredKind
from backfleet.storage import Transaction


def of_instance(tx: Transaction, instance_id: str) -> list[Inventory]:
    """Return every kind of inventory of an instance, by name."""
    query = sa.select(inventories).where(inventories.c.instance_id == instance_id).order_by(inventories.c.kind)
    return [Inventory(**row._mapping) for row in tx.rows(query)]


def stored(tx: Transaction, instance_id: str) -> dict[str, StoredKind]:
    """Return what is stored of each kind, without the contents."""
    names = ("kind", "content_hash", "received_at", "count")
    size = sa.func.length(inventories.c.content).label("size")
    query = sa.select(*(inventories.c[name] for name in names), size).where(inventories.c.instance_id == instance_id)
    return {row.kind: StoredKind(**row._mapping) for row in tx.rows(query)}


def forget(tx: Transaction, instance_id: str, kinds: Sequence[str]) -> None:
    """Forget kinds of an instance."""
    if kinds:
        these = sa.and_(inventories.c.instance_id == instance_id, inventories.c.kind.in_(kinds))
        tx.run(sa.delete(inventories).where(these))


def put(tx: Transaction, inventory: Inventory) -> None:
    """Store an inventory in place of an older one of its kind."""
    values = {field.name: getattr(inventory, field.name) for field in fields(inventory)}
    if not tx.add_if_new(inventories, values):
        tx.run(sa.update(inventories).where(_is(inventory.instance_id, inventory.kind)).values(values))


def note_unchanged(tx: Transaction, instance_id: str, kind: str, captured_at: str, now: datetime) -> None:
    """Record that a kind was reported again with the content that is stored."""
    renewed = sa.update(inventories).where(_is(instance_id, kind)).values(captured_at=captured_at, received_at=now)
    tx.run(renewed)


def _is(instance_id: str, kind: str) -> sa.ColumnElement[bool]:
    return sa.and_(inventories.c.instance_id == instance_id, inventories.c.kind == kind)
