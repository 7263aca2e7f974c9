"""PrecheckClients and StageClients: what an upgrade would be refused for, and having all of it on the hosts before."""

from dataclasses import dataclass, replace
from typing import Any

from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import STARTED
from backfleet.operations.hbr.errors import TokenMismatch
from backfleet.operations.hbr.identifiers import LONGEST_ID, read_ids
from backfleet.operations.hbr.lifecycle import ERRORS_OF_ONE, MOST_UPGRADES, plan_upgrades
from backfleet.operations.hbr.requests import expires_in_seconds, release_version
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.starting import TaskRequest, start_task
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, TaskTarget
from backfleet.wire.parameters import boolean, json_list, text


@dataclass(frozen=True, slots=True)
class PrepareClients:
    """Clients, and the version that an upgrade would go to: without one, the newest for each."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    release_version: str | None = release_version()
    try_again: bool | None = boolean("TryAgain", default=False)
    client_token: str | None = text("ClientToken", longest=64)
    expires_in_seconds: int | None = expires_in_seconds()


@operation(
    BACKFLEET,
    "PrecheckClients",
    action="backfleet:PrecheckClients",
    resources=call_targets,
    answer=STARTED,
    errors=(TokenMismatch, *ERRORS_OF_ONE),
)
def precheck_clients(call: Call, asked: PrepareClients) -> dict[str, Any]:
    """Start asking hosts what an upgrade would be refused for, and return at once. Nothing is touched there.

    Raises:
        ApiError: as UpgradeBackupClients.
    """
    return _prepare(call, asked, Kind.PRECHECK)


@operation(
    BACKFLEET,
    "StageClients",
    action="backfleet:StageClients",
    resources=call_targets,
    answer=STARTED,
    errors=(TokenMismatch, *ERRORS_OF_ONE),
)
def stage_clients(call: Call, asked: PrepareClients) -> dict[str, Any]:
    """Start downloading and verifying a version on hosts, for an upgrade within a week, and return at once.

    Raises:
        ApiError: as UpgradeBackupClients.
    """
    return _prepare(call, asked, Kind.STAGE)


def _prepare(call: Call, asked: PrepareClients, kind: Kind) -> dict[str, Any]:
    named = read_ids(asked.instance_ids, asked.client_ids, most=MOST_UPGRADES)

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        targets = plan_upgrades(tx, call, selected, asked.release_version or "")
        return [replace(target, tries_again=bool(asked.try_again)) for target in targets]

    return start_task(TaskRequest(call, call, kind, named, plan, asked, asked.client_token))
