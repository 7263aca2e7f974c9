"""The only SQL on fleet's tables, one module for each noun. Locks are taken in the order of ids, so none deadlock."""

from backfleet.fleet._store import (
    activations,
    boots,
    clients,
    enrolling,
    instances,
    inventories,
    minimums,
    overview,
    pins,
    preferences,
    replay_cache,
    runs,
    tags,
)

__all__ = [
    "activations",
    "boots",
    "clients",
    "enrolling",
    "instances",
    "inventories",
    "minimums",
    "overview",
    "pins",
    "preferences",
    "replay_cache",
    "runs",
    "tags",
]
