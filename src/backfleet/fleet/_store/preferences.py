"""Preferences of clients."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.fleet._tables import preferences
from backfleet.storage import Transaction


def of_clients(tx: Transaction, client_ids: Sequence[str], *, lock: bool) -> dict[str, str]:
    """Return the JSON of what was set, by client. Clients without preferences are left out."""
    if not client_ids:
        return {}
    query = sa.select(preferences).where(preferences.c.client_id.in_(client_ids))
    return {row.client_id: row.settings for row in tx.rows(query.with_for_update() if lock else query)}


def put(tx: Transaction, client_id: str, settings: str, sealed_password: str | None, now: datetime) -> None:
    """Store the preferences of a client as JSON. A password of None leaves the stored one as it is."""
    row = {"client_id": client_id, "settings": settings, "sealed_password": sealed_password or "", "updated_at": now}
    if tx.add_if_new(preferences, row):
        return
    changes: dict[str, Any] = {"settings": settings, "updated_at": now}
    if sealed_password is not None:
        changes["sealed_password"] = sealed_password
    tx.run(sa.update(preferences).where(preferences.c.client_id == client_id).values(changes))


def drop(tx: Transaction, client_id: str) -> None:
    """Delete the preferences of a client."""
    tx.run(sa.delete(preferences).where(preferences.c.client_id == client_id))
