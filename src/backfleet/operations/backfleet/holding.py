"""ReleaseServerHold: an operator has looked at a restored server, and hosts may be given work again."""

from typing import Any

from backfleet import fleet, hold
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.values import value_object


@value_object
class ReleaseServerHold:
    """No parameters."""


@operation(
    BACKFLEET,
    "ReleaseServerHold",
    action="backfleet:ReleaseServerHold",
    administrator_only=True,
    answer={"Released": bool},
)
def release_server_hold(call: Call, asked: ReleaseServerHold) -> dict[str, Any]:
    """End the held state after a restore. Released is false if the server was not held.

    From then on every account may act again, rollouts and repeated commands go on, and no further host is adopted.
    """
    with call.services.database.transaction() as tx:
        released = hold.release(tx, by=call.caller.arn, now=call.now)
        if released:
            fleet.doubt_all_clients(tx)  # of hosts that came back meanwhile, too
    return {"Released": released}
