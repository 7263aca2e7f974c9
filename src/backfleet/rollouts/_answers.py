"""What people and other systems said of rollouts, as rows: approvals, confirmations, and answers of outside checks."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from backfleet.rollouts._store import CLOCKS_DIFFER
from backfleet.rollouts._tables import answers, approvals
from backfleet.rollouts.model import CheckAnswer
from backfleet.storage import Transaction


def approve(tx: Transaction, rollout_id: str, ring: int, person: str, now: datetime) -> bool:
    """Note that a person approved a ring; return whether that is new."""
    row = {"rollout_id": rollout_id, "ring": ring, "person": person, "at": now, "kind": "approval"}
    return tx.add_if_new(approvals, row)


def approvals_of(tx: Transaction, rollout_id: str) -> list[tuple[int, str]]:
    """Return ring and person of each approval."""
    query = sa.select(approvals).where(approvals.c.rollout_id == rollout_id, approvals.c.kind == "approval")
    return [(row.ring, row.person) for row in tx.rows(query)]


def confirm_ring(tx: Transaction, rollout_id: str, ring: int, now: datetime) -> bool:
    """Note that the manual check of a ring was confirmed, by whomever its event names; return whether that is new."""
    row = {"rollout_id": rollout_id, "ring": ring, "person": "", "at": now, "kind": "resume"}  # they may approve, too
    return tx.add_if_new(approvals, row)


def confirmed_rings(tx: Transaction, rollout_id: str) -> frozenset[int]:
    """Return the rings whose manual checks were confirmed."""
    query = sa.select(approvals.c.ring).where(approvals.c.rollout_id == rollout_id, approvals.c.kind == "resume")
    return frozenset(row.ring for row in tx.rows(query))


def fresh_answers(
    tx: Transaction, rollout_id: str, *, now: datetime, within: timedelta
) -> dict[tuple[int, int], CheckAnswer]:
    """Return the newest answer of each outside check that is no older than this, by ring and position.

    One that is still to come was given before the clock was set back: how old it is, nobody knows.
    """
    is_fresh = sa.and_(answers.c.at > now - within, answers.c.at <= now + CLOCKS_DIFFER)
    query = sa.select(answers).where(answers.c.rollout_id == rollout_id, is_fresh)
    return {(row.ring, row.position): CheckAnswer(row.holds, row.why) for row in tx.rows(query)}


def put_answers(tx: Transaction, rollout_id: str, found: Mapping[tuple[int, int], CheckAnswer], now: datetime) -> None:
    """Replace answers of outside checks."""
    for (ring, position), answer in sorted(found.items()):
        at = sa.and_(answers.c.rollout_id == rollout_id, answers.c.ring == ring, answers.c.position == position)
        tx.run(sa.delete(answers).where(at))
        row = {"rollout_id": rollout_id, "ring": ring, "position": position, "at": now}
        tx.add(answers, [row | {"holds": answer.holds, "why": answer.why}])


def forget_answers(tx: Transaction, rollout_id: str) -> None:
    """Have the outside checks of a rollout asked anew."""
    tx.run(sa.delete(answers).where(answers.c.rollout_id == rollout_id))
