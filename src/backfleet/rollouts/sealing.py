"""Sign the heads of rollouts where they matter, and seal what is exported as evidence."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from backfleet import upgrades
from backfleet.rollouts import _store
from backfleet.rollouts.events import Event
from backfleet.rollouts.evidence import EvidenceKey, digest_of, line_of, sign
from backfleet.rollouts.evidence.logs import chosen, digest_of_logs, within_bounds
from backfleet.rollouts.reading import shown_state
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.sending import origin_of
from backfleet.rollouts.states import ENDED, FINAL, RingState
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class SignedHead:
    """The hash of the newest event of a rollout, signed when a ring or the rollout came to an end or a halt."""

    events: int
    head: str
    at: datetime
    envelope: str  # JSON


@value_object
class Sealed:
    """Everything that is stored of a rollout, signed, and what only the seal's own transaction could read with it."""

    envelope: str  # JSON: the seal
    heads: Sequence[str]  # JSON: envelopes, oldest first
    logs: Sequence[str]  # JSON, as the seal covers them: what hosts said, the first that failed first


@value_object
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


def seal(tx: Transaction, record: RolloutRecord, key: EvidenceKey, *, now: datetime) -> Sealed:
    """Return the seal over everything that is stored of a rollout now, with the heads and logs that it covers.

    Args:
        tx: the transaction to read in.
        record: the rollout, as this transaction reads it.
        key: signs.
        now: the time.
    """
    heads = _store.heads_of(tx, record.id)
    rows = [member_row(record, each) for each in _store.members_of(tx, record.id)]
    logs, left_out = _logs(tx, record, [row["client_id"] for row in rows])
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
        "logs": len(logs),
        "logs_sha256": digest_of_logs(logs),
        "logs_left_out": left_out,
        **_subject(record, now),
    }
    return Sealed(json.dumps(sign(key, statement)), heads, [line_of(each) for each in logs])


def _logs(tx: Transaction, record: RolloutRecord, client_ids: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    """Return what hosts said of the rollout's orders that failed, and how many logs there is no space for."""
    spoken = upgrades.with_output(tx, record.account_id, origin_of(record))
    ids, left_out = chosen(spoken, client_ids)
    items = upgrades.find_items(tx, ids)
    logs, without_space = within_bounds([_log_row(items[each]) for each in ids if each in items])
    return logs, left_out + without_space


def _log_row(item: upgrades.Item) -> dict[str, Any]:
    return {
        "client_id": item.client_id,
        "instance_id": item.instance_id,
        "task_id": item.task_id,
        "to_version": item.to_version,
        "code": item.code,
        "at": None if item.completed_at is None else round(item.completed_at.timestamp() * 1000),
        "text": item.evidence,
    }


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
