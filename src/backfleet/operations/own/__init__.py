"""Backfleet 2026-11-01: operations of our own, in the same shape, for any official generic client."""

from backfleet.operations.own import instances, releasing, serving, tasks

__all__ = ["instances", "releasing", "serving", "tasks"]
