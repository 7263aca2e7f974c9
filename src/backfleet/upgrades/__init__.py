"""One task: move these clients to these versions. Knows neither sockets nor the API's words.

Owns the tables `tasks`, `client_upgrades` and `client_tokens`. Subscribes to `upgrades` and `checkups`; publishes the
topic that a task was started with when it ends.

Planning what a task does, in the caller's transaction:
    plan_for_instance, plan_for_client: one target for each client, by the rules of a planner
    UpgradePlanner, UninstallPlanner, RollBackPlanner: which clients are meant, what becomes of each, what is refused
    no_carrier: what no order can reach is refused
    plan_installs: which package and version each instance gets
    releases_by_offer, newest_versions, summaries: what releases offer to clients
Tasks:
    start: store a task made of a NewTask; started_before: find the one that a ClientToken started
    running_like, remember_token: find a running task that was asked to do the same, and let a ClientToken find it
    read, find, find_items, are_moving, ended_badly, unsent_since, with_output: read tasks
    settings_before: how settings were before tasks changed them
    cancel: end what is open; withdraw: orders that no host has yet; purge: forget old tasks;
      end_restored: expire all, after a restore; begin_anew: give the time of all of them again
For the workers:
    run_once: send, collect and expire; run_checkups_once: ask hosts for the status of their clients
    ProgressPace: how often one worker collects how far hosts are
"""

from backfleet.idempotency import TokenReused
from backfleet.upgrades.checkups import CHECKUPS, run_checkups_once
from backfleet.upgrades.ending import NEW_TASKS, TOPIC, begin_anew, cancel, end_restored, purge, withdraw
from backfleet.upgrades.installing import InstallOptions, PackageUnclear, plan_installs
from backfleet.upgrades.model import EndedBadly, IllegalMove, Item, NewTask, Origin, Task, TaskTarget
from backfleet.upgrades.offers import Offer, OfferSummary, newest_versions, releases_by_offer, summaries
from backfleet.upgrades.pacing import PROGRESS_APART, ProgressPace
from backfleet.upgrades.planning import (
    Planner,
    RollBackPlanner,
    UninstallPlanner,
    UpgradePlanner,
    no_carrier,
    plan_for_client,
    plan_for_instance,
    refuse_clones,
    unknown_client,
)
from backfleet.upgrades.reading import (
    are_moving,
    count_ended,
    count_open,
    ended_badly,
    find,
    find_items,
    read,
    unsent_since,
    with_output,
)
from backfleet.upgrades.starting import remember_token, running_like, start, started_before
from backfleet.upgrades.states import ItemState, Kind, TaskState
from backfleet.upgrades.task_settings import settings_before
from backfleet.upgrades.waiting import StillMay
from backfleet.upgrades.worker import Rules, run_once

__all__ = [
    "CHECKUPS",
    "NEW_TASKS",
    "PROGRESS_APART",
    "TOPIC",
    "EndedBadly",
    "IllegalMove",
    "InstallOptions",
    "Item",
    "ItemState",
    "Kind",
    "NewTask",
    "Offer",
    "OfferSummary",
    "Origin",
    "PackageUnclear",
    "Planner",
    "ProgressPace",
    "RollBackPlanner",
    "Rules",
    "StillMay",
    "Task",
    "TaskState",
    "TaskTarget",
    "TokenReused",
    "UninstallPlanner",
    "UpgradePlanner",
    "are_moving",
    "begin_anew",
    "cancel",
    "count_ended",
    "count_open",
    "end_restored",
    "ended_badly",
    "find",
    "find_items",
    "newest_versions",
    "no_carrier",
    "plan_for_client",
    "plan_for_instance",
    "plan_installs",
    "purge",
    "read",
    "refuse_clones",
    "releases_by_offer",
    "remember_token",
    "run_checkups_once",
    "run_once",
    "running_like",
    "settings_before",
    "start",
    "started_before",
    "summaries",
    "unknown_client",
    "unsent_since",
    "with_output",
    "withdraw",
]
