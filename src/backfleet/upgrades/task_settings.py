"""Tasks that bring settings to clients: what hosts are given, and what is kept of it and of how it was before."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backfleet import fleet
from backfleet.fleet import Preferences
from backfleet.storage import Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.model import Item, Origin, Task


def settings_of(task: Task) -> dict[str, Any]:
    """Return the settings that a task brings, by their names on hosts; None where one is to be unset."""
    found: dict[str, Any] = json.loads(task.settings) if task.settings else {}
    return found


def settings_of_order(stored: Preferences, task: Task) -> dict[str, Any]:
    """Return the settings of an order: what is stored for its client, and what its task brings."""
    found = stored.as_dict() | settings_of(task)
    return {name: value for name, value in found.items() if value is not None}


def keep_settings(tx: Transaction, items: Sequence[Item], tasks: Mapping[str, Task], now: datetime) -> None:
    """Store for their clients the settings that hosts have saved, and how these were before.

    Later orders bring them again.
    """
    known = fleet.clients_for_update(tx, sorted({item.client_id for item in items if item.client_id})) if items else {}
    before = fleet.preferences_of(tx, sorted(known))
    for item in items:
        if item.client_id not in known:
            continue
        brings = settings_of(tasks[item.task_id])
        earlier = before.get(item.client_id, Preferences())
        _store.note_settings_before(
            tx, item.client_id, item.task_id, json.dumps({name: getattr(earlier, name) for name in brings}), now
        )
        taken = Preferences(**brings)
        before[item.client_id] = fleet.set_preferences(
            tx,
            item.client_id,
            taken,
            unset=[name for name, value in brings.items() if value is None],
            sealed_password=fleet.without_password(taken.proxy_kind),
            now=now,
        )


def settings_before(
    tx: Transaction, client_ids: Sequence[str], origin: Origin, carried: str
) -> dict[str, dict[str, Any]]:
    """Return how settings were before tasks carried others, by client.

    A client may have had several such tasks. How it was before the first one counts, unless a later one found a value
    that they had not carried: somebody had set that in between.

    Args:
        tx: the transaction to read in.
        client_ids: of these clients. Those of which nothing was changed are left out.
        origin: of the tasks.
        carried: what the tasks carried, as JSON; others of their origin do not count.

    Returns:
        Values by the names of what was carried; None stands for one that was not set.
    """
    brings: dict[str, Any] = json.loads(carried)
    found: dict[str, dict[str, Any]] = {}
    for client_id, text in _store.settings_before(tx, client_ids, origin, carried):
        earlier: dict[str, Any] = json.loads(text)
        known = found.setdefault(client_id, earlier)
        known.update({name: value for name, value in earlier.items() if value != brings[name]})
    return found
