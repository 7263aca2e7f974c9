"""One task: these clients to these versions. Knows neither sockets nor wire names nor why a release can be believed.

Owns the tables tasks, client_upgrades and client_tokens. Verbs: `start` a task, once per ClientToken
(`started_before`); `read`, `find` and `cancel`; `purge` forgets; `look` and `check` are the workers'. Hears the pubsub
`upgrades` and `checkups`.
"""

from backfleet.idempotency import TokenReused
from backfleet.upgrades.bootstrap import Bringing
from backfleet.upgrades.checkups import CHECKUPS, check
from backfleet.upgrades.ending import TOPIC, cancel, purge
from backfleet.upgrades.items import IllegalMove, Item, Target
from backfleet.upgrades.reading import are_moving, find, read
from backfleet.upgrades.starting import start, started_before
from backfleet.upgrades.states import ItemState, Kind, TaskState
from backfleet.upgrades.tasks import Task
from backfleet.upgrades.worker import look

__all__ = [
    "CHECKUPS",
    "TOPIC",
    "Bringing",
    "IllegalMove",
    "Item",
    "ItemState",
    "Kind",
    "Target",
    "Task",
    "TaskState",
    "TokenReused",
    "are_moving",
    "cancel",
    "check",
    "find",
    "look",
    "purge",
    "read",
    "start",
    "started_before",
]
