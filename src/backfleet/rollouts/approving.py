"""Approve a ring: by persons who neither wrote the policy nor started the rollout."""

import hashlib
from typing import Final

from backfleet import releases
from backfleet.identity import read_caller
from backfleet.rollouts import _answers, _store
from backfleet.rollouts.by import By, by_person, happened, must_be_readable, not_now
from backfleet.rollouts.errors import NotAnApprover
from backfleet.rollouts.people import NOBODY, may_be_same, person_of
from backfleet.rollouts.planning import members_sha256
from backfleet.rollouts.policy import Approval
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.signals import who_agreed
from backfleet.rollouts.states import ENDED
from backfleet.storage import Transaction
from backfleet.values import value_object

MOST_ARTIFACTS: Final = 4  # named in an event


@value_object
class Approved:
    """A rollout after an approval: of which ring, how many persons agreed, and how many must.

    `counted_before`: this person had approved that ring already; nothing changed.
    """

    record: RolloutRecord
    ring: str
    agreed: int
    wanted: int
    counted_before: bool


def approve(tx: Transaction, record: RolloutRecord, by: By, *, ring: int | None = None) -> Approved:
    """Approve a ring: by default the next one that asks for it. One person counts once.

    Raises:
        NotNow: nothing waits for an approval, or the rollout has ended.
        NotAnApprover: the author and the starter do not count, nor does somebody who cannot be told apart from others.
    """
    must_be_readable(record)
    if record.state in ENDED:
        raise not_now(tx, record, f"it is {record.state}")
    wanted = ring if ring is not None else _asking_ring(record)
    rings = record.document.rings
    if wanted is None or record.ring_runs[wanted].started_at is not None or not _asks(record, wanted):
        raise not_now(tx, record, "no ring of it waits for an approval")
    person = person_of(tx, by.caller)
    if person == NOBODY:
        raise NotAnApprover("it is not known which person this session belongs to; begin a new one")
    if any(may_be_same(tx, by.caller, read_caller(text)) for text in (record.author, record.starter) if text):
        raise NotAnApprover("its author and its starter cannot approve it; ask somebody else")
    is_new = _answers.approve(tx, record.id, wanted, person, by.now)
    if is_new:
        why = (
            f"ring {rings[wanted].name}; policy {record.policy_sha256}, target {record.target_version},"
            f" members {members_sha256(_store.members_and_rings(tx, record.id))}, artifacts {_artifacts(tx, record)}"
        )
        record = happened(tx, record, [by_person(tx, by, "approved", why)], by.now)
    agreed = who_agreed(tx, record).get(wanted, frozenset())
    return Approved(record, rings[wanted].name, len(agreed), _people_asked(record, wanted), not is_new)


def _asking_ring(record: RolloutRecord) -> int | None:
    """Return the first ring that has not started and asks for an approval."""
    runs = record.ring_runs
    return next((number for number, run in enumerate(runs) if run.started_at is None and _asks(record, number)), None)


def _asks(record: RolloutRecord, ring: int) -> bool:
    return _people_asked(record, ring) > 0


def _people_asked(record: RolloutRecord, ring: int) -> int:
    """Return how many persons must agree before a ring starts; 0 = nobody is asked."""
    checks = record.document.rings[ring].checks
    return max((check.people for check in checks if isinstance(check, Approval)), default=0)


def _artifacts(tx: Transaction, record: RolloutRecord) -> str:
    """Return the bytes that are rolled out: platform and SHA-256 of each; one hash over them where they are many."""
    found = [each for each in releases.find_all(tx, record.package) if each.version == record.target_version]
    listed = sorted(f"{each.platform}={each.sha256}" for each in found if each.withdrawn_at is None)
    if len(listed) <= MOST_ARTIFACTS:
        return " ".join(listed) or "none"
    return f"{len(listed)} of SHA-256 {hashlib.sha256(' '.join(listed).encode()).hexdigest()}"
