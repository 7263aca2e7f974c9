"""RollBackClients: take clients back to the version that their hosts had before, or down to a named one."""

from typing import Any

from backfleet import releases
from backfleet.operations.backfleet.named_clients import ERRORS, NamedClients, start
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import STARTED
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, RollBackPlanner, TaskTarget
from backfleet.values import value_object


@value_object
class RollBackClients(NamedClients):
    """Clients, and the version to go down to: without one, each host takes the verified version that it had before."""


@operation(
    BACKFLEET,
    "RollBackClients",
    action="backfleet:RollBackClients",
    resources=call_targets,
    answer=STARTED,
    errors=ERRORS,
)
def roll_back_clients(call: Call, asked: RollBackClients) -> dict[str, Any]:
    """Start taking the named clients back, and return at once. Each host decides whether it goes down.

    Raises:
        ApiError: as UpgradeBackupClients.
    """

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        return plan_roll_backs(tx, call, selected, asked.release_version or "")

    return start(call, asked, Kind.ROLL_BACK, plan)


def plan_roll_backs(tx: Transaction, call: Call, selected: Selection, version: str) -> list[TaskTarget]:
    """Return the way back of each selected client, to what its host had or to a named version, or why there is none."""
    found = selected.found
    places = {
        (client.package, found.instances[instance_id].platform)
        for instance_id, clients in found.clients_on.items()
        for client in clients
    }
    known = {place: releases.find(tx, place[0], version, place[1]) for place in places} if version else {}
    return selected.targets(RollBackPlanner(version, known, selected.holds(tx, call.now)))
