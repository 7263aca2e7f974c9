"""Boots of hosts that nothing has reacted to yet."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from backfleet.fleet._tables import boots
from backfleet.storage import Prepared, Transaction

_ANY: Final = Prepared(sa.select(boots.c.instance_id).limit(1))


def note(tx: Transaction, instance_id: str, now: datetime) -> None:
    """Record a boot; a later one of the same host replaces it."""
    if not tx.add_if_new(boots, {"instance_id": instance_id, "at": now}):
        tx.run(sa.update(boots).where(boots.c.instance_id == instance_id).values(at=now))


def exist(tx: Transaction) -> bool:
    """Return whether a boot is recorded."""
    return tx.first(_ANY, {}) is not None


def take(tx: Transaction, limit: int) -> dict[str, datetime]:
    """Remove recorded boots and return them by instance. Each goes to one transaction only."""
    rows = tx.rows(sa.select(boots).order_by(boots.c.at).limit(limit).with_for_update(skip_locked=True))
    found = {row.instance_id: row.at for row in rows}
    if found:
        tx.run(sa.delete(boots).where(boots.c.instance_id.in_(list(found))))
    return found
