"""Calls of every cloud's API, counted by what came of them."""

from collections.abc import Callable
from typing import Any, Final

from prometheus_client import Counter

from backfleet.carriers.ecs.model import EcsProblem
from backfleet.fleet import CarrierKind

CALLS: Final = Counter(
    "backfleet_cloud_calls_total",
    "Calls of clouds by the carriers ecs and ssm: answered, or our code of the problem without its prefix.",
    ["carrier", "action", "outcome"],
)
DRY_RUN: Final = "DryRunOperation"  # what ECS answers where a call without that flag would have succeeded


def counted(carrier: CarrierKind, action: str, call: Callable[[], Any]) -> Any:
    """Make a call, and count it.

    Args:
        carrier: whose call it is.
        action: such as `ecs:RunCommand`.
        call: makes it.

    Raises:
        EcsProblem: as `call`.
    """
    outcome = "Abandoned"
    try:
        answer = call()
        outcome = "answered"
    except EcsProblem as problem:
        outcome = "answered" if problem.cloud_code == DRY_RUN else problem.code.removeprefix(carrier.value.capitalize())
        raise
    finally:
        CALLS.labels(carrier.value, action, outcome).inc()
    return answer
