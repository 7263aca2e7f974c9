"""The only SQL on rollouts, their members, events, approvals and answers."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.idempotency import TokenStore
from backfleet.paging import Listing, Page
from backfleet.rollouts._tables import ENDED_STATES, answers, approvals, events, heads, members, rollouts, tokens
from backfleet.rollouts.events import Event
from backfleet.rollouts.model import FirstRun, Member, OrderEnd
from backfleet.rollouts.policy import GOES_BACK
from backfleet.rollouts.records import MemberRecord, RolloutRecord, read_ended, write_ended
from backfleet.rollouts.states import MAY_GO_BACK, MemberState, RolloutState
from backfleet.storage import Transaction

AT_ONCE: Final = 500  # rows named in one statement
CLOCKS_DIFFER: Final = timedelta(minutes=1)  # a moment that is further ahead is of a clock that was set back
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
PURGED_AT_ONCE: Final = 5  # rollouts; each may have 50,000 members
_NOT_STORED: Final = ("is_reachable", "pinned", "moved_by", "elsewhere", "size")
_MEMBER_FIELDS: Final = tuple(name for name in Member._fields if name not in _NOT_STORED)

client_tokens: Final = TokenStore(tokens, "rollout_id")

_CHANGE_MEMBER: Final = (
    sa.update(members)
    .where(members.c.rollout_id == sa.bindparam("of_rollout"), members.c.client_id == sa.bindparam("of_client"))
    .values(
        {
            column.name: sa.bindparam(f"new_{column.name}")
            for column in members.c
            if column.name not in ("rollout_id", "client_id", "instance_id", "rank")
        }
    )
)


# --- Rollouts -------------------------------------------------------------------------------------------------------


def add(tx: Transaction, record: RolloutRecord) -> None:
    """Add a rollout."""
    tx.add(rollouts, [_row(record)])


def take_turn(tx: Transaction, account_id: str, region: str) -> None:
    """Wait until nobody else makes members of an account's clients: none of them is to be in two rollouts."""
    tx.take_turn(f"members of rollouts {account_id} {region}")


def rollout(tx: Transaction, account_id: str, rollout_id: str) -> RolloutRecord | None:
    """Return an account's rollout."""
    return _record(
        tx.first(sa.select(rollouts).where(rollouts.c.id == rollout_id, rollouts.c.account_id == account_id))
    )


def lock(tx: Transaction, rollout_id: str, *, waits: bool = True) -> RolloutRecord | None:
    """Return a rollout, locked for this transaction; None if it is gone, or another one has it and it does not wait."""
    query = sa.select(rollouts).where(rollouts.c.id == rollout_id)
    return _record(tx.first(query.with_for_update(skip_locked=not waits)))


def unfinished(tx: Transaction, account_id: str, region: str, name: str) -> RolloutRecord | None:
    """Return the newest rollout of this name that has not ended."""
    mine = sa.and_(rollouts.c.account_id == account_id, rollouts.c.region == region, rollouts.c.name == name)
    query = sa.select(rollouts).where(mine, rollouts.c.state.not_in(ENDED_STATES))
    return _record(tx.first(query.order_by(rollouts.c.created_at.desc()).limit(1)))


def page_of(tx: Transaction, account_id: str, region: str, states: Sequence[str], page: Page) -> Listing[RolloutRecord]:
    """Return a page of an account's rollouts, newest first."""
    mine = sa.and_(rollouts.c.account_id == account_id, rollouts.c.region == region)
    if states:
        mine = sa.and_(mine, rollouts.c.state.in_(states))
    query = sa.select(rollouts).where(mine).order_by(rollouts.c.created_at.desc(), rollouts.c.id)
    rows = tx.rows(query.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(rollouts).where(mine))
    return Listing([_known(row) for row in rows], total)


def due(tx: Transaction, now: datetime, limit: int, *, longest: timedelta) -> list[str]:
    """Return the ids of rollouts that must be decided now, those that wait for longest first.

    One that is to wait for longer than any does was put off by a clock that has been set back since: it is due.
    """
    is_due = sa.or_(rollouts.c.decide_at <= now, rollouts.c.decide_at > now + longest + CLOCKS_DIFFER)
    query = sa.select(rollouts.c.id).where(is_due).order_by(rollouts.c.decide_at, rollouts.c.id)
    return [row.id for row in tx.rows(query.limit(limit))]


def active(tx: Transaction) -> list[str]:
    """Return the ids of rollouts with members whose orders are under way, or whose first backups are awaited."""
    awaited = [MemberState.UPGRADING, MemberState.ROLLING_BACK, MemberState.VERIFYING]
    query = sa.select(members.c.rollout_id).distinct().where(members.c.state.in_(awaited))
    return sorted(row.rollout_id for row in tx.rows(query))


def running(tx: Transaction) -> list[RolloutRecord]:
    """Return the rollouts that run, those that wait for longest first."""
    query = sa.select(rollouts).where(rollouts.c.state == RolloutState.RUNNING.value)
    return [_known(row) for row in tx.rows(query.order_by(rollouts.c.decide_at, rollouts.c.id))]


def update(tx: Transaction, record: RolloutRecord) -> None:
    """Write what can change of a rollout."""
    row = _row(record)
    fixed = ("id", "account_id", "region", "name", "policy", "policy_sha256", "package", "kind", "author", "created_at")
    values = {name: value for name, value in row.items() if name not in fixed}
    tx.run(sa.update(rollouts).where(rollouts.c.id == record.id).values(values))


def purge(tx: Transaction, *, before: datetime, now: datetime) -> None:
    """Delete rollouts that ended before a moment with all that belongs to them, a few at once, and old ClientTokens."""
    old = sa.and_(rollouts.c.ended_at < before, rollouts.c.state.in_(ENDED_STATES))
    ended = sa.select(rollouts.c.id).where(old).order_by(rollouts.c.ended_at)
    ids = [row.id for row in tx.rows(ended.limit(PURGED_AT_ONCE).with_for_update(skip_locked=True))]
    if ids:
        for table in (members, events, approvals, answers, heads):
            tx.run(sa.delete(table).where(table.c.rollout_id.in_(ids)))
        tx.run(sa.delete(rollouts).where(rollouts.c.id.in_(ids)))
    client_tokens.purge(tx, before=now, results=ids)


def wake(tx: Transaction, rollout_ids: Iterable[str], now: datetime) -> None:
    """Have rollouts decided soon."""
    ids = sorted(rollout_ids)
    if ids:
        tx.run(sa.update(rollouts).where(rollouts.c.id.in_(ids)).values(decide_at=now))


# --- Members --------------------------------------------------------------------------------------------------------


def add_members(tx: Transaction, rollout_id: str, added: Sequence[MemberRecord]) -> None:
    """Add members."""
    tx.add(members, [{"rollout_id": rollout_id, **_member_row(record)} for record in added])


def members_of(tx: Transaction, rollout_id: str) -> list[MemberRecord]:
    """Return every member of a rollout."""
    return [_member(row) for row in tx.rows(sa.select(members).where(members.c.rollout_id == rollout_id))]


def member(tx: Transaction, rollout_id: str, client_id: str) -> MemberRecord | None:
    """Return one member."""
    row = tx.first(sa.select(members).where(members.c.rollout_id == rollout_id, members.c.client_id == client_id))
    return None if row is None else _member(row)


def members_page(
    tx: Transaction, rollout_id: str, ring: int | None, states: Sequence[str], page: Page
) -> Listing[MemberRecord]:
    """Return a page of members by ring and rank."""
    chosen = members.c.rollout_id == rollout_id
    if ring is not None:
        chosen = sa.and_(chosen, members.c.ring == ring)
    if states:
        chosen = sa.and_(chosen, members.c.state.in_(states))
    query = sa.select(members).where(chosen).order_by(members.c.ring, members.c.rank, members.c.client_id)
    rows = tx.rows(query.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(members).where(chosen))
    return Listing([_member(row) for row in rows], total)


def counts_of(tx: Transaction, rollout_ids: Sequence[str]) -> dict[str, dict[tuple[int, str], int]]:
    """Return how many members are in each ring and state, by rollout."""
    found: dict[str, dict[tuple[int, str], int]] = {rollout_id: {} for rollout_id in rollout_ids}
    if rollout_ids:
        group = (members.c.rollout_id, members.c.ring, members.c.state)
        query = sa.select(*group, sa.func.count().label("number")).where(members.c.rollout_id.in_(rollout_ids))
        for row in tx.rows(query.group_by(*group)):
            found[row.rollout_id][row.ring, row.state] = row.number
    return found


def counts_that_may_fail(
    tx: Transaction, rollout_ids: Sequence[str]
) -> list[tuple[str, int, MemberState, str, FirstRun, bool, bool, int]]:
    """Return rollout, ring, state, code, first run, whether its order left, and one to go back, and of how many."""
    of = members.c
    group = (of.rollout_id, of.ring, of.state, of.code, of.first_run, of.rolled_back_once)
    begun = sa.case((members.c.begun_at.is_not(None), 1), else_=0).label("begun")
    may = [state.value for state in MemberState if state not in (MemberState.PENDING, MemberState.SUCCEEDED)]
    query = sa.select(*group, begun, sa.func.count().label("number"))
    chosen = sa.and_(members.c.rollout_id.in_(rollout_ids), members.c.state.in_(may))
    return [
        (
            row.rollout_id,
            row.ring,
            MemberState(row.state),
            row.code,
            FirstRun(row.first_run),
            bool(row.begun),
            bool(row.rolled_back_once),
            row.number,
        )
        for row in (tx.rows(query.where(chosen).group_by(*group, begun)) if rollout_ids else ())
    ]


def oldest_waits(tx: Transaction, rollout_ids: Sequence[str]) -> dict[tuple[str, int], datetime]:
    """Return since when the member that waits for longest does, by rollout and ring; 1970 for one that never began."""
    moment = members.c.since.type
    oldest = sa.func.min(sa.func.coalesce(members.c.since, sa.literal(_NEVER, moment)), type_=moment).label("since")
    chosen = sa.and_(members.c.rollout_id.in_(rollout_ids), members.c.state == MemberState.PENDING.value)
    query = sa.select(members.c.rollout_id, members.c.ring, oldest).where(chosen)
    rows = tx.rows(query.group_by(members.c.rollout_id, members.c.ring)) if rollout_ids else []
    return {(row.rollout_id, row.ring): row.since for row in rows}


def latest(tx: Transaction, *, ended_after: datetime, limit: int) -> list[RolloutRecord]:
    """Return the newest rollouts that have not ended, or ended after this moment: no drafts."""
    lives = sa.or_(rollouts.c.state.not_in(ENDED_STATES), rollouts.c.ended_at > ended_after)
    shown = sa.and_(lives, rollouts.c.state != RolloutState.DRAFT.value)
    query = sa.select(rollouts).where(shown).order_by(rollouts.c.created_at.desc(), rollouts.c.id)
    return [_known(row) for row in tx.rows(query.limit(limit))]


def that_can_go_back(tx: Transaction, rollout_ids: Sequence[str], ring: int | None = None) -> frozenset[str]:
    """Return which of these rollouts have members that an order could take back: of one ring, or of all."""
    of, by_order = members.c, [state.value for state in MAY_GO_BACK]
    may = sa.or_(of.state == MemberState.UPGRADING.value, sa.and_(of.state.in_(by_order), of.given_at.is_not(None)))
    here = [of.rollout_id == rollouts.c.id, may, of.is_held.is_(False)] + ([] if ring is None else [of.ring == ring])
    query = sa.select(rollouts.c.id).where(rollouts.c.id.in_(rollout_ids), sa.exists().where(*here))
    return frozenset(row.id for row in tx.rows(query)) if rollout_ids else frozenset()


def items_under_way(tx: Transaction, rollout_id: str) -> list[str]:
    """Return the items of the orders of members that are being moved."""
    mine = sa.and_(members.c.rollout_id == rollout_id, members.c.state == MemberState.UPGRADING.value)
    return [row.item_id for row in tx.rows(sa.select(members.c.item_id).where(mine, members.c.item_id != ""))]


def change_members(tx: Transaction, rollout_id: str, changed: Sequence[MemberRecord]) -> None:
    """Write members, in the order of their ids."""
    if not changed:
        return
    rows = [_member_row(record) for record in sorted(changed, key=lambda record: record.member.client_id)]
    tx.run(
        _CHANGE_MEMBER,
        [
            {
                "of_rollout": rollout_id,
                "of_client": row["client_id"],
                **{f"new_{name}": value for name, value in row.items() if name not in _FIXED},
            }
            for row in rows
        ],
    )


def drop_members(tx: Transaction, rollout_id: str, client_ids: Sequence[str]) -> None:
    """Delete members whose clients are no more."""
    for start in range(0, len(client_ids), AT_ONCE):
        some = client_ids[start : start + AT_ONCE]
        tx.run(sa.delete(members).where(members.c.rollout_id == rollout_id, members.c.client_id.in_(some)))


def open_elsewhere(tx: Transaction, client_ids: Sequence[str], except_for: str) -> dict[str, str]:
    """Return which other rollout may still move each of these clients, or take it back, where there is one."""
    found: dict[str, str] = {}
    for start in range(0, len(client_ids), AT_ONCE):
        some = members.c.client_id.in_(client_ids[start : start + AT_ONCE])
        query = _open_members().where(some, members.c.rollout_id != except_for)
        found |= {row.client_id: row.rollout_id for row in tx.rows(query)}
    return found


def open_in_older(tx: Transaction, record: RolloutRecord) -> dict[str, str]:
    """Return which rollout that was created before this one may still move each of its members that have not begun."""
    mine = members.alias("mine")
    pending = sa.and_(mine.c.rollout_id == record.id, mine.c.state == MemberState.PENDING)
    of = rollouts.c
    is_older = sa.or_(of.created_at < record.created_at, sa.and_(of.created_at == record.created_at, of.id < record.id))
    here = members.c.client_id.in_(sa.select(mine.c.client_id).where(pending))
    query = _open_members().where(here, is_older).order_by(of.created_at.desc(), of.id.desc())  # the oldest is last
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


def rollouts_of_client(tx: Transaction, client_id: str, limit: int) -> list[tuple[str, MemberRecord]]:
    """Return the rollouts that a client was in, newest first."""
    query = (
        sa.select(members)
        .join(rollouts, rollouts.c.id == members.c.rollout_id)
        .where(members.c.client_id == client_id)
        .order_by(rollouts.c.created_at.desc())
    )
    return [(row.rollout_id, _member(row)) for row in tx.rows(query.limit(limit))]


# --- Events, approvals, answers -------------------------------------------------------------------------------------


def add_events(tx: Transaction, rollout_id: str, added: Sequence[Event]) -> None:
    """Add events."""
    fields = ("number", "at", "what", "name", "change", "why", "hash")
    tx.add(events, [{"rollout_id": rollout_id, **{name: getattr(one, name) for name in fields}} for one in added])


def events_after(tx: Transaction, rollout_id: str, number: int, limit: int) -> list[Event]:
    """Return events after this one, oldest first."""
    query = sa.select(events).where(events.c.rollout_id == rollout_id, events.c.number > number)
    return [
        Event(row.number, row.at, row.what, row.name, row.change, row.why, row.hash)
        for row in tx.rows(query.order_by(events.c.number).limit(limit))
    ]


def add_head(tx: Transaction, rollout_id: str, number: int, envelope: str, at: datetime) -> None:
    """Add what was signed over the events up to this one, unless that is there."""
    tx.add_if_new(heads, {"rollout_id": rollout_id, "number": number, "envelope": envelope, "at": at})


def newest_head(tx: Transaction, rollout_id: str) -> int:
    """Return the number of the newest event that a signed head covers; 0 if there is none."""
    return int(tx.scalar(sa.select(sa.func.max(heads.c.number)).where(heads.c.rollout_id == rollout_id)) or 0)


def heads_of(tx: Transaction, rollout_id: str) -> list[str]:
    """Return the signed heads, oldest first."""
    query = sa.select(heads.c.envelope).where(heads.c.rollout_id == rollout_id)
    return [row.envelope for row in tx.rows(query.order_by(heads.c.number))]


def members_and_rings(tx: Transaction, rollout_id: str) -> list[tuple[str, int]]:
    """Return each member with the number of its ring."""
    query = sa.select(members.c.client_id, members.c.ring).where(members.c.rollout_id == rollout_id)
    return [(row.client_id, row.ring) for row in tx.rows(query)]


# --- Rows -----------------------------------------------------------------------------------------------------------

_FIXED: Final = ("client_id", "instance_id", "rank")


def _row(record: RolloutRecord) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in rollouts.c} | {"state": record.state.value}


def _record(row: sa.Row[Any] | None) -> RolloutRecord | None:
    return None if row is None else _known(row)


def _known(row: sa.Row[Any]) -> RolloutRecord:
    return RolloutRecord(**{**row._mapping, "state": RolloutState(row.state)})


def _member_row(record: MemberRecord) -> dict[str, Any]:
    values = {name: getattr(record.member, name) for name in _MEMBER_FIELDS}
    values["state"] = record.member.state.value
    values["domains"] = json.dumps(record.member.domains)
    values["end"] = "" if record.member.end is None else record.member.end.value
    values["first_run"] = record.member.first_run.value
    values["ended"] = write_ended(record.member.ended)
    return values | {"task_id": record.task_id, "item_id": record.item_id}


def _member(row: sa.Row[Any]) -> MemberRecord:
    values = row._mapping
    known = {name: values[name] for name in _MEMBER_FIELDS}
    known["state"] = MemberState(row.state)
    known["domains"] = tuple((key, value) for key, value in json.loads(row.domains))
    known["end"] = OrderEnd(row.end) if row.end else None
    known["first_run"] = FirstRun(row.first_run)
    known["ended"] = read_ended(row.ended)
    return MemberRecord(Member(**known), row.task_id, row.item_id)
