"""How other systems move a fleet, as policies to compare one's own with: their defaults, as far as published."""

from dataclasses import replace
from typing import Any, Final

from backfleet.rollouts.policy import Amount, Failure, Pace, Policy, Ring, Verification

_NO_FAILURE: Final = Failure()
_BEARS_ALL: Final = Failure(Amount(percent=100))
_TENTH: Final = Amount(percent=10)

PRESETS: Final[dict[str, dict[str, Any]]] = {
    # Systems Manager: a share at one time, and a share of errors that stops it.
    "ssm-ramp": {
        "rings": (Ring("all"),),
        "pace": Pace(_TENTH, ramp=False),
        "failure": Failure(_TENTH),
    },
    # Ansible: `serial: [1, 5, "20%"]`, any failure of a batch ends the play.
    "ansible-serial": {
        "rings": (Ring("first", count=1), Ring("second", count=5), Ring("rest")),
        "pace": Pace(Amount(percent=20), ramp=False),
        "failure": _NO_FAILURE,
    },
    # Elastic: a bulk upgrade that is spread over eight hours; nothing halts it.
    "elastic-spread": {
        "rings": (Ring("all"),),
        "pace": Pace(Amount(percent=100), ramp=False, per_hour=Amount(percent=12.5)),
        "failure": _BEARS_ALL,
    },
    # hawkBit: groups, each with an error threshold of its own.
    "hawkbit-thresholds": {
        "rings": (
            Ring("group 1", percent=10, max_failed=_TENTH),
            Ring("group 2", percent=20, max_failed=_TENTH),
            Ring("group 3", max_failed=_TENTH),
        ),
        "pace": Pace(Amount(percent=100), ramp=False),
        "failure": _BEARS_ALL,
    },
    # Teleport: a few canaries, then the group at once; a tenth may be missing afterwards.
    "teleport-canary": {
        "rings": (Ring("canary", count=5, max_failed=Amount(0)), Ring("rest", max_failed=_TENTH)),
        "pace": Pace(Amount(percent=100), ramp=False),
        "failure": _BEARS_ALL,
    },
    # Nebraska in safe mode: one instance at a time until the first succeeded, and a failure disables updates.
    "nebraska-safe-mode": {
        "rings": (Ring("first", count=1), Ring("rest")),
        "pace": Pace(_TENTH, ramp=False, per_hour=_TENTH),
        "failure": _NO_FAILURE,
    },
}
"""What each system sets, by name. None of them waits for a backup."""


def with_preset(policy: Policy, name: str) -> Policy:
    """Return a policy that moves the same clients as another system would: rings, pace and budget are that one's."""
    return replace(policy, **PRESETS[name], verification=Verification())
