"""The only SQL on the audit trail."""

from datetime import datetime

import sqlalchemy as sa

from backfleet.operations._tables import audit_events
from backfleet.operations.catalogue import Call, Operation
from backfleet.storage import Transaction


def write(
    tx: Transaction, call: Call, operation: Operation, access_key_id: str, *, allowed: bool, code: str = ""
) -> None:
    """Note that this call was made and what was decided. No parameter is kept: some are secrets."""
    tx.add(
        audit_events,
        [
            {
                "request_id": call.request_id,
                "at": call.now,
                "account_id": call.account_id,
                "principal": call.caller.arn,
                "access_key_id": access_key_id,
                "product": operation.product.code,
                "action": operation.name,
                "source_ip": call.source_ip,
                "verdict": "allowed" if allowed else "denied",
                "error_code": code,
            }
        ],
    )


def note_error(tx: Transaction, request_id: str, code: str) -> None:
    """Complete a call's row: it was allowed, and failed with this code."""
    tx.run(sa.update(audit_events).where(audit_events.c.request_id == request_id).values(error_code=code))


def drop_before(tx: Transaction, moment: datetime) -> int:
    """Forget calls older than this; how many."""
    return tx.run(sa.delete(audit_events).where(audit_events.c.at < moment))
