"""What a person can do with a rollout that waits for somebody, as commands."""

from typing import Any, Final

NEEDS_SOMEBODY: Final = {
    "draft": "`backfleet rollout start {id}` starts it",
    "paused": "`backfleet rollout resume {id}` lets it go on",
    "halted": "why: `backfleet rollout show {id} --members`. Then {back}`retry {id}` and `resume {id}` go on, "
    "`cancel {id}` ends it",
}
"""By state. Nothing moves until somebody does one of these."""

_BACK: Final = "`roll-back {id}` rolls back who has it, "
_ASKS: Final = {
    "approval:": "ring {ring} waits for an approval: `backfleet rollout approve {id} --ring {ring}`, by somebody who "
    "neither wrote the policy nor started it",
    "manual:": "ring {ring} waits for a person: `backfleet rollout resume {id}` lets it start",
    "no success:": "`backfleet rollout retry {id}` tries again who ended without success, `hold {id} NAME --release` "
    "lets in who is held, `cancel {id}` ends it",
}
"""By how what a running rollout waits for begins."""


def next_step(found: dict[str, Any]) -> str:
    """Return what somebody is to do about a rollout, for people; "" where nobody is waited for.

    Args:
        found: the rollout, as the API describes it.
    """
    if found["State"] in NEEDS_SOMEBODY:
        back = _BACK if found.get("CanGoBack", True) else ""  # an older server does not say it
        return NEEDS_SOMEBODY[found["State"]].format(id=found["RolloutId"], back=back.format(id=found["RolloutId"]))
    waiting = (ring["Name"] for ring in found["Rings"] if ring["State"] == "pending")
    waits_for = found["WaitsFor"]
    if " has no member that succeeded" in waits_for:
        waits_for = "no success:"
    asks = next((text for begin, text in _ASKS.items() if waits_for.startswith(begin)), "")
    return asks.format(id=found["RolloutId"], ring=next(waiting, "")) if found["State"] == "running" else ""
