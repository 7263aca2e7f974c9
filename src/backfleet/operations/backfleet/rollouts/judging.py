"""Whether a rollout's starter may still do what it does: asked while it runs."""

from collections.abc import Sequence
from datetime import datetime

from backfleet import identity
from backfleet.identity import Caller
from backfleet.storage import Transaction


def judge(tx: Transaction, caller: Caller, action: str, region: str, client_ids: Sequence[str], now: datetime) -> str:
    """Return why a caller may not go on; "" if they may.

    Args:
        tx: the transaction to read in.
        caller: the starter.
        action: the operation that it began with.
        region: of the rollout.
        client_ids: the members whose orders are about to leave.
        now: the time.
    """
    permissions = identity.permissions_of(tx, caller)
    context = {
        "acs:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "acs:PrincipalARN": caller.principal_arn,
        "acs:SecureTransport": "true",
    }
    asked = (
        (f"backfleet:{action}", f"acs:backfleet:{region}:{caller.account_id}:rollout/*"),
        ("hbr:UpgradeBackupClients", f"acs:hbr:{region}:{caller.account_id}:*"),
    )
    for name, resource in asked:
        if not permissions.decide(name, resource, context).allowed:
            return f"{caller.arn} is not allowed {name} on {resource}"
    return ""
