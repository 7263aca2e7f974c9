"""Preferences of clients."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet._tables import preferences
from backfleet.storage import Prepared, Transaction

_THEIRS: Final = sa.select(preferences).where(preferences.c.client_id.in_(sa.bindparam("ids", expanding=True)))
_OF_CLIENTS: Final = Prepared(_THEIRS)
_OF_CLIENTS_LOCKED: Final = Prepared(_THEIRS.with_for_update())


def of_clients(tx: Transaction, client_ids: Sequence[str], *, lock: bool) -> dict[str, str]:
    """Return the JSON of what was set, by client. Clients without preferences are left out."""
    if not client_ids:
        return {}
    found = tx.rows(_OF_CLIENTS_LOCKED if lock else _OF_CLIENTS, {"ids": client_ids})
    return {row.client_id: row.settings for row in found}


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
