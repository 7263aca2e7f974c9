"""Whether a rollout's starter may still do what it does: asked while it runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from backfleet import fleet, identity
from backfleet.identity import Caller
from backfleet.identity.policy import Target
from backfleet.operations.tag_conditions import resource_tags
from backfleet.storage import Transaction

UPGRADE: Final = "hbr:UpgradeBackupClients"


def judge(
    tx: Transaction, caller: Caller, action: str, region: str, client_ids: Sequence[str], now: datetime
) -> dict[str, str]:
    """Return why a caller may not go on: under "" what forbids the whole, under a client's id what forbids it to move.

    A client is named as for UpgradeBackupClients: by its own ARN and its instance's, whose tags are its tags.

    Args:
        tx: the transaction to read in.
        caller: the starter.
        action: the operation that it began with.
        region: of the rollout.
        client_ids: the members whose orders are about to leave.
        now: the time.
    """
    permissions = identity.permissions_of(tx, caller)
    context = _context(caller, now)
    start = f"{region}:{caller.account_id}"
    asked = [("", f"backfleet:{action}", Target((f"acs:backfleet:{start}:rollout/*",)), context)]
    if not client_ids:
        asked.append(("", UPGRADE, Target((f"acs:hbr:{start}:*",)), context))
    clients = fleet.resolve(tx, caller.account_id, region, [], client_ids).clients
    instances = {one: f"acs:ecs:{start}:instance/{client.instance_id}" for one, client in clients.items()}
    tags = resource_tags(tx, list(instances.values())) if permissions.depend_on_tags else {}
    for client_id, instance in instances.items():
        target = Target((f"acs:hbr:{start}:client/{client_id}", instance))
        asked.append((client_id, UPGRADE, target, {**tags.get(instance, {}), **context}))
    found: dict[str, str] = {}
    for client_id, name, target, here in asked:
        if not permissions.decide(name, target, here).allowed:
            found.setdefault(client_id, f"{caller.arn} is not allowed {name} on {target.arns[0]}")
    return found


def _context(caller: Caller, now: datetime) -> dict[str, str]:
    known = {
        "acs:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "acs:PrincipalARN": caller.principal_arn,
        "acs:SecureTransport": "true",
    }
    return known if caller.user_name is None else {**known, "acs:UserName": caller.user_name}
