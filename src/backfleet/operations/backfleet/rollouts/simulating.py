"""SimulateRollout: a policy on the account's own members, in virtual time."""

from typing import Any, Final

from backfleet import rollouts
from backfleet.operations.backfleet.rollouts.creating import LONGEST_POLICY, by, every_rollout, reachable_within
from backfleet.operations.backfleet.rollouts.errors import ERRORS, refusals
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.rollouts.simulation import PRESETS
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe

LARGEST_SEED: Final = 2**31 - 1


@value_object
class SimulateRollout:
    """A policy, what the release does to hosts, a seed, and another system to be like.

    The release fails on `2%` of them, as a `bad-canary`, or as upgrades and backups did in the `last-30-days`.
    """

    policy: str = text("Policy", required=True, longest=LONGEST_POLICY, raw=True)
    failures: str | None = text("Failures", longest=16)
    seed: int = integer("Seed", default=1, least=0, most=LARGEST_SEED)
    preset: str | None = text("Preset", longest=32)


@operation(
    BACKFLEET,
    "SimulateRollout",
    action="backfleet:SimulateRollout",
    resources=every_rollout,
    answer={
        "State": str,
        "Reason": str,
        "IsComplete": bool,
        "Members": int,
        "Reached": int,
        "BadReached": int,
        "Done": int,
        "StartedTime": Maybe(int),
        "FirstStop": str,
        "FirstStopTime": Maybe(int),
        "EndedTime": Maybe(int),
        "MostOrdersAMinute": int,
        "Decisions": int,
        "FailuresFound": str,
        "Rings": [
            {
                "Name": str,
                "Members": int,
                "Done": int,
                "Failed": int,
                "StartedTime": Maybe(int),
                "FinishedTime": Maybe(int),
            }
        ],
        "NotDone": [{"ClientId": str, "State": str, "Reason": str}],
        "NotDoneByReason": [{"State": str, "Reason": str, "Members": int}],
        "Curve": [{"Time": int, "Begun": int, "Done": int, "Failed": int}],
    },
    errors=(*ERRORS, InvalidParameter),
)
def simulate_rollout(call: Call, asked: SimulateRollout) -> dict[str, Any]:
    """Tell how a policy's rollout would go, on made-up hosts in virtual time. Nothing changes.

    Raises:
        ApiError: as `refusals`; InvalidParameter where it is not known what failures, or which preset, are meant.
    """
    if asked.preset and asked.preset not in PRESETS:
        raise InvalidParameter(f"Preset {asked.preset!r} is not known; give one of {', '.join(PRESETS)}.")
    with refusals(), call.services.database.reading() as tx:
        try:
            prepared = rollouts.prepare_simulation(
                tx,
                asked.policy,
                by(call),
                failures=asked.failures or "",
                preset=asked.preset or "",
                reachable_within=reachable_within(call),
            )
        except rollouts.FailuresRefused as problem:
            raise InvalidParameter(f"Failures: {problem}.") from None
    return rollouts.simulate(prepared, seed=asked.seed, now=call.now)
