"""Some members of a rollout, as rows: where a verb must not read fifty thousand to change three."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from backfleet.rollouts._store import AT_ONCE, member_of_row
from backfleet.rollouts._tables import members
from backfleet.rollouts.model import FirstRun, Member
from backfleet.rollouts.records import MemberRecord
from backfleet.rollouts.states import FINAL, MemberState
from backfleet.storage import Transaction


def ids_of(tx: Transaction, rollout_id: str) -> list[str]:
    """Return the client of every member."""
    return [row.client_id for row in tx.rows(sa.select(members.c.client_id).where(members.c.rollout_id == rollout_id))]


def in_states(tx: Transaction, rollout_id: str, states: Iterable[MemberState]) -> list[MemberRecord]:
    """Return the members in some states."""
    return _those(tx, members.c.rollout_id == rollout_id, members.c.state.in_(sorted(states)))


def named(tx: Transaction, rollout_id: str, client_ids: Sequence[str]) -> list[MemberRecord]:
    """Return the members among some clients."""
    parts = (client_ids[start : start + AT_ONCE] for start in range(0, len(client_ids), AT_ONCE))
    mine = members.c.rollout_id == rollout_id
    return [each for some in parts for each in _those(tx, mine, members.c.client_id.in_(some))]


def sent_back(tx: Transaction, rollout_id: str) -> list[MemberRecord]:
    """Return the members that an order to go back has left for, and that have ended with what the rollout brings."""
    of = members.c
    may_have_it = sa.and_(of.rolled_back_once.is_(True), of.given_at.is_not(None))
    return _those(tx, of.rollout_id == rollout_id, may_have_it, of.state.in_(sorted(FINAL)))


def outline(tx: Transaction, rollout_id: str) -> list[MemberRecord]:
    """Return a rollout's members, with one in place of all that are alike and whose end is no question.

    Those have the version, or have not begun. A decision whether the rollout halts comes out the same.
    """
    of = members.c
    untouched = sa.and_(of.state == MemberState.PENDING.value, of.given_at.is_(None))
    alike = sa.or_(of.state.in_([MemberState.SUCCEEDED.value, MemberState.ALREADY_THERE.value]), untouched)
    mine = of.rollout_id == rollout_id
    group = (of.ring, of.state, of.first_run, of.begun_at.is_not(None))
    begun, number = sa.func.min(of.begun_at).label("begun"), sa.func.count().label("number")
    query = sa.select(of.ring, of.state, of.first_run, begun, number).where(mine, alike).group_by(*group)
    found = [
        Member(
            client_id=f"{row.ring} {row.state} {row.first_run} {row.begun}",
            instance_id="",
            ring=row.ring,
            rank=0,
            state=MemberState(row.state),
            first_run=FirstRun(row.first_run),
            begun_at=row.begun,
            size=row.number,
        )
        for row in tx.rows(query)
    ]
    return [*map(MemberRecord, found), *_those(tx, mine, sa.not_(alike))]


def _those(tx: Transaction, *conditions: sa.ColumnElement[bool]) -> list[MemberRecord]:
    return [member_of_row(row) for row in tx.rows(sa.select(members).where(*conditions))]
