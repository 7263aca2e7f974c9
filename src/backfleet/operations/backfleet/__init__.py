"""Backfleet 2026-11-01: our own operations, in the shape of the cloud's, for any official generic client."""

from backfleet.operations.backfleet import (
    accounts,
    audit_trail,
    calendars,
    channels,
    clients,
    instances,
    notifications,
    pins,
    releases,
    roll_backs,
    rollouts,
    runs,
    server,
    tasks,
    version_schemes,
)

__all__ = [
    "accounts",
    "audit_trail",
    "calendars",
    "channels",
    "clients",
    "instances",
    "notifications",
    "pins",
    "releases",
    "roll_backs",
    "rollouts",
    "runs",
    "server",
    "tasks",
    "version_schemes",
]
