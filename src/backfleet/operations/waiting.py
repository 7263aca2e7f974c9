"""Whether a caller may still do what they asked for, when an order leaves that has waited for its host."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from backfleet import identity
from backfleet.operations.backfleet.rollouts.judging import Judge
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, StillMay

ACTIONS: Final[Mapping[Kind, str]] = {
    Kind.UPGRADE: "hbr:UpgradeBackupClients",
    Kind.INSTALL: "hbr:InstallBackupClients",
    Kind.UNINSTALL: "hbr:UninstallBackupClients",
    Kind.ROLL_BACK: "backfleet:RollBackClients",
    Kind.PRECHECK: "backfleet:PrecheckClients",
    Kind.STAGE: "backfleet:StageClients",
    Kind.SETTINGS: "hbr:UpdateClientSettings",
}


def still_may(region: str) -> StillMay:
    """Return who judges callers again, by their policies as they are then, in a region."""

    def refused(tx: Transaction, caller: str, kind: Kind, clients: Mapping[str, str], now: datetime) -> dict[str, str]:
        return Judge(tx, identity.read_caller(caller), region, now, ACTIONS[kind]).moving(clients)

    return refused
