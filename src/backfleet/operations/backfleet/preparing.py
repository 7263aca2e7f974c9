"""PrecheckClients and StageClients: what an upgrade would be refused for, and having all of it on the hosts before."""

from dataclasses import replace
from typing import Any

from backfleet.operations.backfleet.named_clients import ERRORS, NamedClients, start
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import STARTED
from backfleet.operations.hbr.lifecycle import plan_upgrades
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, TaskTarget
from backfleet.values import value_object
from backfleet.wire.parameters import boolean


@value_object
class PrepareClients(NamedClients):
    """Clients, and the version that an upgrade would go to: without one, the newest for each."""

    try_again: bool | None = boolean("TryAgain", default=False)


@operation(
    BACKFLEET,
    "PrecheckClients",
    action="backfleet:PrecheckClients",
    resources=call_targets,
    answer=STARTED,
    errors=ERRORS,
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
    errors=ERRORS,
)
def stage_clients(call: Call, asked: PrepareClients) -> dict[str, Any]:
    """Start downloading and verifying a version on hosts, for an upgrade within a week, and return at once.

    Raises:
        ApiError: as UpgradeBackupClients.
    """
    return _prepare(call, asked, Kind.STAGE)


def _prepare(call: Call, asked: PrepareClients, kind: Kind) -> dict[str, Any]:
    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        targets = plan_upgrades(tx, call, selected, asked.release_version or "")
        return [replace(target, tries_again=bool(asked.try_again)) for target in targets]

    return start(call, asked, kind, plan)
