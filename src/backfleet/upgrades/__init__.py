"""One task: these clients to these versions. Knows neither sockets nor wire names nor why a release can be believed.

Owns the tables tasks, client_upgrades and client_tokens. Verbs: `start` a task, once per ClientToken
(`started_before`); `read`, `find` and `cancel`; `purge` forgets; `look` and `check` are the workers'. Hears the pubsub
`upgrades` and `checkups`.
"""

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.idempotency import TokenReused
from backfleet.upgrades.checkups import CHECKUPS, run_checkups_once
from backfleet.upgrades.ending import TOPIC, cancel, purge
from backfleet.upgrades.items import IllegalMove, Item, TaskTarget
from backfleet.upgrades.reading import are_moving, find, read
from backfleet.upgrades.starting import start, started_before
from backfleet.upgrades.states import ItemState, Kind, TaskState
from backfleet.upgrades.tasks import Task
from backfleet.upgrades.worker import run_once

__all__ = [
    "CHECKUPS",
    "TOPIC",
    "Bootstrap",
    "IllegalMove",
    "Item",
    "ItemState",
    "Kind",
    "Task",
    "TaskState",
    "TaskTarget",
    "TokenReused",
    "are_moving",
    "cancel",
    "find",
    "purge",
    "read",
    "run_checkups_once",
    "run_once",
    "start",
    "started_before",
]
