"""PreviewClients: what a call that moves clients would do with each of them, without starting a task."""

from typing import Any, Final

from backfleet.operations.backfleet.roll_backs import plan_roll_backs
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.identifiers import LONGEST_ID, read_ids
from backfleet.operations.hbr.lifecycle import MOST_UPGRADES, plan_upgrades
from backfleet.operations.hbr.requests import expires_in_seconds, release_version
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.starting import planned, select_for
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, TaskTarget, UninstallPlanner
from backfleet.values import value_object
from backfleet.wire.parameters import json_list, text

KINDS: Final = (Kind.UPGRADE, Kind.ROLL_BACK, Kind.UNINSTALL)


@value_object
class PreviewClients:
    """Clients, and what would be done with them: an upgrade, a roll-back or an uninstall."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    kind: str = text("Kind", default=Kind.UPGRADE.value, choices=[each.value for each in KINDS])
    release_version: str | None = release_version()
    expires_in_seconds: int | None = expires_in_seconds()


@operation(
    BACKFLEET,
    "PreviewClients",
    action="backfleet:PreviewClients",
    resources=call_targets,
    answer={
        "Clients": [
            {
                "InstanceId": str, "ClientId": str, "PackageName": str, "FromVersion": str, "ToVersion": str,
                "ErrorCode": str, "ErrorMessage": str,
            }
        ]
    },
)  # fmt: skip
def preview_clients(call: Call, asked: PreviewClients) -> dict[str, Any]:
    """Return what a task would do with each client, and what this server would refuse and why. Nothing is started.

    What only a host knows (whether it has the space, or a backup runs) PrecheckClients finds out.
    """
    named = read_ids(asked.instance_ids, asked.client_ids, most=MOST_UPGRADES)

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        if asked.kind == Kind.UNINSTALL:
            return selected.targets(UninstallPlanner(selected.holds(tx, call.now)))
        plans = plan_roll_backs if asked.kind == Kind.ROLL_BACK else plan_upgrades
        return plans(tx, call, selected, asked.release_version or "")

    with call.services.database.reading() as tx:
        selected = select_for(tx, call, named, waits=asked.expires_in_seconds is not None)
        return {"Clients": [_answer(each) for each in planned(tx, selected, plan, call.now)]}


def _answer(target: TaskTarget) -> dict[str, Any]:
    code, message = target.resolved or ("", "")
    return {
        "InstanceId": target.instance_id,
        "ClientId": target.client_id,
        "PackageName": target.package,
        "FromVersion": target.from_version,
        "ToVersion": "" if code else target.to_version,
        "ErrorCode": code,
        "ErrorMessage": message,
    }
