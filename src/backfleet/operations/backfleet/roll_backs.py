"""RollBackClients: take clients back to the version that their hosts had before, or down to a named one."""

from dataclasses import dataclass
from typing import Any

from backfleet import releases
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import STARTED
from backfleet.operations.hbr.errors import TokenMismatch
from backfleet.operations.hbr.identifiers import LONGEST_ID, read_ids
from backfleet.operations.hbr.lifecycle import ERRORS_OF_ONE, MOST_UPGRADES
from backfleet.operations.hbr.requests import release_version
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.starting import TaskRequest, start_task
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, RollBackPlanner, TaskTarget
from backfleet.wire.parameters import json_list, text


@dataclass(frozen=True, slots=True)
class RollBackClients:
    """Clients, and the version to go down to: without one, each host takes the verified version that it had before."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    release_version: str | None = release_version()
    client_token: str | None = text("ClientToken", longest=64)


@operation(
    BACKFLEET,
    "RollBackClients",
    action="backfleet:RollBackClients",
    resources=call_targets,
    answer=STARTED,
    errors=(TokenMismatch, *ERRORS_OF_ONE),
)
def roll_back_clients(call: Call, asked: RollBackClients) -> dict[str, Any]:
    """Start taking the named clients back, and return at once. Each host decides whether it goes down.

    Raises:
        ApiError: as UpgradeBackupClients.
    """
    named = read_ids(asked.instance_ids, asked.client_ids, most=MOST_UPGRADES)
    version = asked.release_version or ""

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        found = selected.found
        places = {
            (client.package, found.instances[instance_id].platform)
            for instance_id, clients in found.clients_on.items()
            for client in clients
        }
        known = {place: releases.find(tx, place[0], version, place[1]) for place in places} if version else {}
        return selected.targets(RollBackPlanner(version, known, selected.holds(tx, call.now)))

    return start_task(TaskRequest(call, call, Kind.ROLL_BACK, named, plan, asked, asked.client_token))
