"""What may be done while the server is held after a restore, and what is written down of it."""

import json
from datetime import datetime

from backfleet import identity
from backfleet.fleet import Instance
from backfleet.ids import Draw
from backfleet.operations import _store as audit
from backfleet.operations.audit_event import AuditEvent
from backfleet.operations.catalogue import BACKFLEET, Call
from backfleet.operations.errors import ServerHeld
from backfleet.storage import Transaction


def check_caller(tx: Transaction, call: Call) -> ServerHeld | None:
    """Return the refusal of a call while the server is held: only the administrator account may look at it."""
    watch = call.services.hold
    if watch is None or not watch.is_held():
        return None
    if call.caller != identity.ANONYMOUS and identity.is_administrator_account(tx, call.account_id):
        return None
    return ServerHeld("only the administrator account may act until it has looked")


def refuse_orders(call: Call) -> None:
    """Return if hosts may be given work.

    Raises:
        ServerHeld: the server was restored, and no operator has looked yet.
    """
    watch = call.services.hold
    if watch is not None and watch.is_held():
        raise ServerHeld("hosts get no orders until an operator has looked and run `backfleet server release-hold`")


def note_adoption(tx: Transaction, made: Instance, fingerprint: str, now: datetime, draw: Draw) -> None:
    """Write down that a host was taken in, in the audit trail of the account whose instance it is."""
    event = AuditEvent(
        request_id=draw(32),
        account_id=made.account_id,
        at=now,
        product=BACKFLEET.code,
        version=BACKFLEET.version,
        action="AdoptInstance",
        kind="Account",
        principal=f"acs:ecs::{made.account_id}:instance/{made.id}",
        principal_id=made.id,
        user_name="",
        access_key_id="",
        region=made.region,
        source_ip=made.internet_ip,
        user_agent="",
        named=json.dumps({"InstanceId": made.id, "KeyFingerprint": fingerprint}),
        verdict="allowed",
        error_code="",
    )
    audit.write(tx, event)
