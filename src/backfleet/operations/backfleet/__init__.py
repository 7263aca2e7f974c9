"""Backfleet 2026-11-01: operations of our own, in the same shape, for any official generic client."""

from backfleet.operations.backfleet import accounts, audit_trail, instances, releases, server, tasks

__all__ = ["accounts", "audit_trail", "instances", "releases", "server", "tasks"]
