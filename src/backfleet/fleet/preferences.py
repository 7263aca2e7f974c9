"""What operators set for one client: how it reaches its data, how much of the host it may take.

Kept here, told to the host with its next order, and shown to whoever may look; but for the proxy's password, which
comes sealed, stays sealed, and is shown to nobody. Source: HBR 2017-09-08, UpdateClientSettings.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from backfleet.fleet import _store
from backfleet.storage import Transaction


@dataclass(frozen=True, slots=True)
class Preferences:
    """Of one client; None where nothing was set."""

    network: str | None = None
    proxy_kind: str | None = None
    proxy_host: str | None = None
    proxy_port: int | None = None
    proxy_user: str | None = None
    most_cores: int | None = None  # 0 = no limit, like the two below
    most_workers: int | None = None
    most_memory: int | None = None  # bytes
    https: bool | None = None
    alert_on_partial: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """What was set, by the names above."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def set_preferences(
    tx: Transaction, client_id: str, changes: Preferences, *, sealed_password: str | None, now: datetime
) -> Preferences:
    """Change what `changes` names and leave the rest; the whole as it is now. "" takes the password away."""
    known = preferences_of(tx, [client_id], lock=True).get(client_id, Preferences())
    changed = replace(known, **changes.as_dict())
    _store.put_preferences(tx, client_id, json.dumps(changed.as_dict()), sealed_password, now)
    return changed


def preferences_of(tx: Transaction, client_ids: Sequence[str], *, lock: bool = False) -> dict[str, Preferences]:
    """By client: only of those for which something was set."""
    return {row.client_id: Preferences(**json.loads(row.told)) for row in _store.preferences(tx, client_ids, lock)}
