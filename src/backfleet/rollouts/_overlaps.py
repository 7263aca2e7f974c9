"""Clients that several rollouts may move, as rows."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from backfleet.rollouts._store import AT_ONCE
from backfleet.rollouts._tables import ENDED_STATES, members, rollouts
from backfleet.rollouts.policy import GOES_BACK
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import MemberState, RolloutState
from backfleet.storage import Transaction


def open_elsewhere(tx: Transaction, client_ids: Sequence[str], except_for: str) -> dict[str, str]:
    """Return which other rollout may still move each of these clients, or take it back, where there is one."""
    found: dict[str, str] = {}
    for start in range(0, len(client_ids), AT_ONCE):
        some = members.c.client_id.in_(client_ids[start : start + AT_ONCE])
        query = _open_members().where(some, members.c.rollout_id != except_for)
        found |= {row.client_id: row.rollout_id for row in tx.rows(query)}
    return found


def open_in_older(tx: Transaction, record: RolloutRecord, client_ids: Sequence[str] = ()) -> dict[str, str]:
    """Return which rollout that started before this one may still move each of its members that have not begun.

    Args:
        tx: the transaction to read in.
        record: the rollout.
        client_ids: ask for these members only, at most a page of them; none = for all.
    """
    if record.started_at is None:
        return {}
    of, ours = rollouts.c, members.alias("ours")
    at_once = sa.and_(of.started_at == record.started_at, of.id < record.id)
    older = sa.and_(
        of.account_id == record.account_id,
        of.region == record.region,
        of.package == record.package,
        of.id != record.id,
        of.state.not_in([*ENDED_STATES, RolloutState.DRAFT]),
        sa.or_(of.started_at < record.started_at, at_once),
    )
    if tx.first(sa.select(of.id).where(older)) is None:  # as nearly always
        return {}
    pending = sa.and_(ours.c.rollout_id == record.id, ours.c.state == MemberState.PENDING)
    named = [ours.c.client_id.in_(client_ids)] if client_ids else []
    here = members.c.client_id.in_(sa.select(ours.c.client_id).where(pending, *named))
    query = _open_members().where(here, older).order_by(of.started_at.desc(), of.id.desc())  # the oldest is last
    return {row.client_id: row.rollout_id for row in tx.rows(query)}


def _open_members() -> sa.Select[Any]:
    """Return the query of client and rollout of each member that its rollout may still move, or take back."""
    unfinished = [MemberState.PENDING, MemberState.UPGRADING, MemberState.VERIFYING, MemberState.ROLLING_BACK]
    to_go_back = sa.and_(
        rollouts.c.state == RolloutState.ROLLING_BACK,
        rollouts.c.kind.in_(GOES_BACK),
        sa.or_(rollouts.c.roll_back_ring.is_(None), rollouts.c.roll_back_ring == members.c.ring),
        members.c.given_at.is_not(None),
        members.c.rolled_back_once.is_(False),
    )
    return (
        sa.select(members.c.client_id, members.c.rollout_id)
        .join(rollouts, rollouts.c.id == members.c.rollout_id)
        .where(
            sa.or_(members.c.state.in_(unfinished), to_go_back),
            rollouts.c.state.not_in([*ENDED_STATES, RolloutState.DRAFT]),
        )
    )
