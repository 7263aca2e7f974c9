"""Sign the heads of rollouts where they matter, and seal what is exported as evidence."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backfleet.rollouts import _store
from backfleet.rollouts.events import Event
from backfleet.rollouts.evidence import EvidenceKey, digest_of, sign
from backfleet.rollouts.reading import shown_state
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.states import ENDED, FINAL, RingState
from backfleet.storage import Transaction


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The hash of the newest event of a rollout, signed when a ring or the rollout came to an end or a halt."""

    events: int
    head: str
    at: datetime
    envelope: str  # JSON


@dataclass(frozen=True, slots=True)
class Witness:
    """Who signs heads, and who else is to know of them: the audit trail, in the same transaction."""

    key: EvidenceKey
    note: Callable[[Transaction, RolloutRecord, SignedHead], None]


def sign_head(
    tx: Transaction, record: RolloutRecord, happened: Sequence[Event], witness: Witness, *, now: datetime
) -> None:
    """Sign the newest event of a rollout if a ring or the rollout came to an end or to a halt.

    Args:
        tx: the transaction that writes what happened.
        record: the rollout with it.
        happened: the events of this decision.
        witness: signs.
        now: the time.
    """
    matters = any(event.what == "rollout" or _ends_a_ring(event) for event in happened)
    if not matters and (record.state not in ENDED or _store.newest_head(tx, record.id) == record.events):
        return
    statement = {"statement": "head", "events": record.events, "head": record.head, **_subject(record, now)}
    head = SignedHead(record.events, record.head, now, json.dumps(sign(witness.key, statement)))
    _store.add_head(tx, record.id, head.events, head.envelope, now)
    witness.note(tx, record, head)


def seal(tx: Transaction, record: RolloutRecord, key: EvidenceKey, *, now: datetime) -> tuple[str, list[str]]:
    """Return the seal over everything that is stored of a rollout now, and the heads that were signed: envelopes.

    Args:
        tx: the transaction to read in.
        record: the rollout, as this transaction reads it.
        key: signs.
        now: the time.
    """
    heads = _store.heads_of(tx, record.id)
    rows = [member_row(record, each) for each in _store.members_of(tx, record.id)]
    statement = {
        "statement": "seal",
        "name": record.name,
        "package": record.package,
        "kind": record.kind,
        "state": record.state.value,
        "reason": record.reason,
        "events": record.events,
        "head": record.head,
        "heads": len(heads),
        "members": len(rows),
        "members_sha256": digest_of(rows),
        **_subject(record, now),
    }
    return json.dumps(sign(key, statement)), heads


def member_row(record: RolloutRecord, found: MemberRecord) -> dict[str, Any]:
    """Return what is sealed of a member. Why it ended is; what it waits for changes by the hour."""
    member = found.member
    return {
        "client_id": member.client_id,
        "instance_id": member.instance_id,
        "ring": record.ring_names[member.ring],
        "state": shown_state(record, member),
        "reason": member.reason if member.state in FINAL else "",
        "code": member.code,
        "from_version": member.from_version,
        "first_run": member.first_run.value,
        "task_id": found.task_id,
        "held": member.is_held,
        "attempts": member.attempts,
    }


def _subject(record: RolloutRecord, now: datetime) -> dict[str, Any]:
    return {
        "rollout_id": record.id,
        "account_id": record.account_id,
        "region": record.region,
        "policy_sha256": record.policy_sha256,
        "target_version": record.target_version,
        "signed_at": now.isoformat(timespec="milliseconds"),
    }


def _ends_a_ring(event: Event) -> bool:
    return event.what == "ring" and event.change == RingState.FINISHED.value
