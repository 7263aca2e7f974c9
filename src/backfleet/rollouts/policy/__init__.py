"""Policies: the documents that say how a fleet is moved, as frozen values."""

from backfleet.rollouts.policy.amounts import Amount
from backfleet.rollouts.policy.checking import GOES_BACK
from backfleet.rollouts.policy.checks import (
    Approval,
    Backups,
    BudgetCheck,
    Check,
    Manual,
    Prometheus,
    Soak,
    Webhook,
)
from backfleet.rollouts.policy.faults import Fault, PolicyRefused, with_lines
from backfleet.rollouts.policy.model import (
    AtDeadline,
    Busy,
    Failure,
    Kind,
    Notify,
    Pace,
    Policy,
    Ring,
    Selector,
    Then,
    Verification,
    Window,
)
from backfleet.rollouts.policy.reading import read_policy

__all__ = [
    "GOES_BACK", "Amount", "Approval", "AtDeadline", "Backups", "BudgetCheck", "Busy", "Check", "Failure", "Fault",
    "Kind", "Manual", "Notify", "Pace", "Policy", "PolicyRefused", "Prometheus", "Ring", "Selector", "Soak", "Then",
    "Verification", "Webhook", "Window", "read_policy", "with_lines",
]  # fmt: skip
