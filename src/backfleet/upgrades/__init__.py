"""One task: these clients to these versions. Knows neither sockets nor wire names nor why a release can be believed.

Owns the tables tasks, client_upgrades and client_tokens. Verbs: `start`, `read`, `find`, `cancel`; `known_token` and
`remember_token` make a call idempotent; `look` is the worker's. Hears the bell `upgrades`.
"""

from backfleet.upgrades.states import ItemState, Kind, TaskState
from backfleet.upgrades.tasks import (
    TOPIC,
    Item,
    Target,
    Task,
    TokenReused,
    cancel,
    find,
    known_token,
    purge,
    read,
    remember_token,
    start,
)
from backfleet.upgrades.worker import look

__all__ = [
    "TOPIC",
    "Item",
    "ItemState",
    "Kind",
    "Target",
    "Task",
    "TaskState",
    "TokenReused",
    "cancel",
    "find",
    "known_token",
    "look",
    "purge",
    "read",
    "remember_token",
    "start",
]
