"""The carrier `assist`: agents come to our gateway and fetch their commands.

Our own agent takes an order as it is. Any other one runs shell commands, so the order goes as a command that fetches
our host program and hands it the order.
"""

from collections.abc import Sequence

from backfleet import fleet
from backfleet.carriers.bootstrap import Bootstrap
from backfleet.fleet import AgentKind, Instance
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class Gateway:
    """The way through the agents' endpoint.

    `bootstrap` is for hosts whose agent is not ours; without it they get the order as it is, and refuse it.
    """

    bootstrap: Bootstrap | None = None

    def bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        """Return the bootstrap of each host whose agent is not ours. See `Way.bootstraps`."""
        if self.bootstrap is None:
            return {}
        kinds = fleet.agent_kinds(tx, instance_ids)
        return {each: self.bootstrap for each, kind in kinds.items() if kind is not AgentKind.BACKFLEET}


def takes_orders(instance: Instance) -> bool:
    """Return whether this instance can be sent orders.

    Our own agent takes them as they are; with any other agent, or none, it takes our host program, which there is for
    Linux.
    """
    return instance.agent_kind is AgentKind.BACKFLEET or instance.platform.startswith("linux-")
