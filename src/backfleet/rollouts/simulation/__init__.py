"""Rollouts in virtual time: the same strategy as the worker's, on hosts that are made up."""

from backfleet.rollouts.simulation.engine import Event, History, Host, Limits, run

__all__ = ["Event", "History", "Host", "Limits", "run"]
