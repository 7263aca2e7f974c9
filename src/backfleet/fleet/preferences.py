"""Preferences: what administrators set for one client.

They are stored here, sent to the host with its next order, and shown to callers who may read the client. The proxy's
password arrives sealed, stays sealed, and is shown to nobody. Source: HBR 2017-09-08, UpdateClientSettings.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backfleet.client_settings import CUSTOM
from backfleet.fleet import _store
from backfleet.fleet.model import Preferences
from backfleet.storage import Transaction


def set_preferences(
    tx: Transaction,
    client_id: str,
    changes: Preferences,
    *,
    sealed_password: str | None,
    now: datetime,
    unset: Sequence[str] = (),
) -> Preferences:
    """Change some preferences of a client. Return all of them as they are now.

    Args:
        tx: the transaction to write in.
        client_id: the client.
        changes: the new values; None leaves one as it is.
        sealed_password: the proxy's password, sealed; "" deletes it, None leaves it as it is.
        now: the time of the call.
        unset: those that are to be as if nobody had set them.
    """
    known = preferences_of(tx, [client_id], lock=True).get(client_id, Preferences())
    changed = replace(known, **changes.as_dict() | dict.fromkeys(unset))
    _store.preferences.put(tx, client_id, json.dumps(changed.as_dict()), sealed_password, now)
    return changed


def without_password(proxy_kind: str | None) -> str | None:
    """Return what becomes of a stored password where a proxy of this kind is set: None it stays, "" it is deleted."""
    return None if proxy_kind in (None, CUSTOM) else ""


def preferences_of(tx: Transaction, client_ids: Sequence[str], *, lock: bool = False) -> dict[str, Preferences]:
    """Return preferences by client. Clients for which nothing was set are left out."""
    stored = _store.preferences.of_clients(tx, client_ids, lock=lock)
    return {client_id: Preferences(**json.loads(settings)) for client_id, settings in stored.items()}
