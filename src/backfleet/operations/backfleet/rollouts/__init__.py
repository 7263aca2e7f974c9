"""Rollouts: a fleet moves to one version, in rings. The policy's language is described in docs/rollouts.md."""

from backfleet.operations.backfleet.rollouts import acting, creating, looking_up
from backfleet.operations.backfleet.rollouts.judging import judge

__all__ = ["acting", "creating", "judge", "looking_up"]
