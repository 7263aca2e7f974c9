"""What the world says to a rollout: approvals, answers of outside checks, backups, and what its starter may do."""

from datetime import datetime, timedelta
from typing import Final

from backfleet.identity import read_caller
from backfleet.rollouts import _answers
from backfleet.rollouts.health import failed_runs_above_baseline
from backfleet.rollouts.judging import Judge
from backfleet.rollouts.loading import Loaded
from backfleet.rollouts.model import Signals
from backfleet.rollouts.people import person_of
from backfleet.rollouts.policy import Backups
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import RolloutState
from backfleet.storage import Transaction

ANSWERS_LAST: Final = timedelta(minutes=5)  # an older answer of an outside check is none


def read_signals(tx: Transaction, record: RolloutRecord, loaded: Loaded, judge: Judge, now: datetime) -> Signals:
    """Return what the world says to a rollout."""
    refused = ""
    if record.state is RolloutState.RUNNING and record.starter:
        refused = judge.starting(record.id)
    return Signals(
        answers=_answers.fresh_answers(tx, record.id, now=now, within=ANSWERS_LAST),
        approvals=who_agreed(tx, record),
        resumed=_answers.confirmed_rings(tx, record.id),
        failed_runs_above_baseline=_failed_runs(tx, record, loaded),
        starter_refused=refused,
    )


def who_agreed(tx: Transaction, record: RolloutRecord) -> dict[int, frozenset[str]]:
    """Return the persons who approved each ring; the author and the starter do not count."""
    excluded = {person_of(tx, read_caller(text)) for text in (record.author, record.starter) if text}
    found: dict[int, set[str]] = {}
    for ring, person in _answers.approvals_of(tx, record.id):
        found.setdefault(ring, set()).update({person} - excluded)
    return {ring: frozenset(people) for ring, people in found.items()}


def _failed_runs(tx: Transaction, record: RolloutRecord, loaded: Loaded) -> int | None:
    """Return what `backups` checks compare, where the policy has some."""
    checks = (check for ring in record.document.rings for check in ring.checks)
    if not any(isinstance(check, Backups) and check.failures_above_baseline is not None for check in checks):
        return 0
    return failed_runs_above_baseline(tx, record, has_begun=bool(loaded.sent))
