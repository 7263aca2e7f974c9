"""Rollouts in virtual time: the same strategy as the worker's, on hosts that are made up."""

from backfleet.rollouts.simulation.engine import Event, History, Host, Limits, run
from backfleet.rollouts.simulation.hosts import BAD_CANARY, PAST_FAILURES, Failures, FailuresRefused, read_failures
from backfleet.rollouts.simulation.inventory import InventoryRefused, read_inventory
from backfleet.rollouts.simulation.picture import curves_of, draw_curves
from backfleet.rollouts.simulation.presets import PRESETS, with_preset
from backfleet.rollouts.simulation.simulating import members_of, simulate

__all__ = [
    "BAD_CANARY", "PAST_FAILURES", "PRESETS", "Event", "Failures", "FailuresRefused", "History", "Host",
    "InventoryRefused", "Limits", "curves_of", "draw_curves", "members_of", "read_failures", "read_inventory", "run",
    "simulate", "with_preset",
]  # fmt: skip
