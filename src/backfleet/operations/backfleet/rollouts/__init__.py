"""Rollouts: a fleet moves to one version, in rings. The policy's language is described in docs/rollouts.md."""

from backfleet.operations.backfleet.rollouts import acting, creating, evidence, looking_up, simulating
from backfleet.operations.backfleet.rollouts.evidence import witness
from backfleet.operations.backfleet.rollouts.judging import Judge

__all__ = ["Judge", "acting", "creating", "evidence", "looking_up", "simulating", "witness"]
