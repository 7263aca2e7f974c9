"""GetRolloutEvidence and GetEvidenceKey; and what the audit trail has of heads that were signed."""

import json
import uuid
from typing import Any, Final

from backfleet import rollouts
from backfleet.identity import read_caller
from backfleet.operations import _store as audit
from backfleet.operations.audit_event import AuditEvent, user_name_of
from backfleet.operations.backfleet.rollouts.creating import one_rollout
from backfleet.operations.backfleet.rollouts.errors import ERRORS, refusals
from backfleet.operations.catalogue import BACKFLEET, Call, Services, operation
from backfleet.rollouts import EvidenceKey, RolloutRecord, SignedHead, Witness
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import text

ACTION: Final = "SignRolloutHead"
PURPOSE: Final = "evidence of rollouts"


@value_object
class GetRolloutEvidence:
    """A rollout."""

    rollout_id: str = text("RolloutId", required=True, longest=64)


@value_object
class GetEvidenceKey:
    """Nothing is asked."""


@operation(
    BACKFLEET,
    "GetRolloutEvidence",
    action="backfleet:GetRolloutEvidence",
    resources=one_rollout,
    answer={"RolloutId": str, "Seal": str, "Heads": [str], "Logs": [str]},
    errors=ERRORS,
)
def get_rollout_evidence(call: Call, asked: GetRolloutEvidence) -> dict[str, Any]:
    """Sign everything that is stored of a rollout now: its policy, events and members, and what hosts said.

    Seal and Heads are DSSE envelopes as JSON. Logs are JSON, too: the first and last lines that hosts sent of orders
    that failed or were rolled back, the first that failed first: at most 200, 3 of a member, 4,000 characters each,
    262,144 in all. The seal says how many are left out. `backfleet rollout evidence export` makes a file of all that.
    """
    with refusals(), call.services.database.reading() as tx:
        record = rollouts.find(tx, call.account_id, asked.rollout_id)
        found = rollouts.seal(tx, record, key_of(call.services), now=call.now)
    return {"RolloutId": record.id, "Seal": found.envelope, "Heads": list(found.heads), "Logs": list(found.logs)}


@operation(BACKFLEET, "GetEvidenceKey", action="backfleet:GetEvidenceKey", answer={"KeyId": str, "PublicKey": str})
def get_evidence_key(call: Call, asked: GetEvidenceKey) -> dict[str, Any]:
    """Return the public key (PEM) that this installation's evidence is verified with. It is the same for ever."""
    key = key_of(call.services)
    return {"KeyId": key.signer.public_key.keyid, "PublicKey": key.public}


def key_of(services: Services) -> EvidenceKey:
    """Return the key of an installation: all its servers have it, as they have the key of its secrets."""
    return EvidenceKey(services.vault.secret(PURPOSE))


def witness(services: Services) -> Witness:
    """Return who signs the heads of rollouts, and writes them into the audit trail."""
    return Witness(key_of(services), _note)


def _note(tx: Transaction, record: RolloutRecord, head: SignedHead) -> None:
    caller = read_caller(record.starter or record.author)
    event = AuditEvent(
        request_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{record.id} {head.events} {head.head}")).upper(),
        account_id=record.account_id,
        at=head.at,
        product=BACKFLEET.code,
        version=BACKFLEET.version,
        action=ACTION,
        kind=caller.kind,
        principal=caller.arn,
        principal_id=caller.principal_id,
        user_name=user_name_of(caller),
        access_key_id=caller.access_key_id,
        region=record.region,
        source_ip="",
        user_agent="",
        named=json.dumps({"RolloutId": record.id, "Events": str(head.events), "Head": head.head}),
        verdict="allowed",
        error_code="",
    )
    audit.write(tx, event)
