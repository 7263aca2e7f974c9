"""The only SQL on invocations."""

from collections.abc import Collection, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from backfleet.commands import _statements
from backfleet.commands._tables import invocations, lease_rounds
from backfleet.commands.model import NewInvocation, Progress
from backfleet.commands.states import State
from backfleet.storage import Transaction

Row = sa.Row[Any]
_WITH_AGENT = invocations.c.state.in_((State.HANDED, State.RUNNING))
_REPORT: Final = attrgetter("id", *_statements.REPORTED)
_NAMES: Final = ("of", *(f"new_{name}" for name in _statements.REPORTED))


def add(
    tx: Transaction, asked: Sequence[tuple[str, NewInvocation]], topic: str, now: datetime, gone: Collection[str]
) -> bool:
    """Queue invocations under new ids. One whose topic and reference are there already is left as it is.

    Args:
        gone: instances that are deregistered: what is for them has ended, which is news.

    Returns:
        Whether there is such news.
    """
    references = [new.reference for _, new in asked]
    known = {row.reference for row in tx.rows(_statements.KNOWN, {"of_topic": topic, "references": references})}
    fresh = [
        {
            "id": task_id,
            "account_id": new.account_id,
            "instance_id": new.instance_id,
            "content": new.content,
            "timeout_seconds": new.timeout_seconds,
            "kind": new.kind,
            "working_directory": new.working_directory,
            "username": new.username,
            "termination": new.termination,
            "topic": topic,
            "reference": new.reference,
            "state": State.GONE if new.instance_id in gone else State.WAITING,
            "created_at": now,
            "changed_at": now,
            "revision": 1 if new.instance_id in gone else 0,
            "collected": 0,
            "output": b"",
        }
        for task_id, new in {new.reference: (task_id, new) for task_id, new in reversed(asked)}.values()
        if new.reference not in known
    ]
    tx.add(invocations, fresh)
    return any(row["state"] is State.GONE for row in fresh)


def oldest_work_for(tx: Transaction, instance_id: str) -> str | None:
    """Return the oldest invocation that this agent should fetch, to run or to stop it."""
    found = tx.scalar(_statements.OLDEST_WORK, {"host": instance_id})
    return None if found is None else str(found)


def instances_with_work(tx: Transaction, limit: int) -> list[str]:
    """Return instances whose agents should fetch their tasks."""
    query = sa.select(invocations.c.instance_id).where(_statements.WORK).distinct().limit(limit)
    return [row.instance_id for row in tx.rows(query)]


def has_work(instance_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return a condition: something waits for the instance in this column, or is to be stopped there."""
    return sa.exists().where(invocations.c.instance_id == instance_id, _statements.WORK)


def waiting(tx: Transaction, account_id: str, before: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Return instances for whose agents something waits since before a moment, the longest first, and since when."""
    oldest = sa.func.min(invocations.c.created_at, type_=invocations.c.created_at.type).label("since")
    late = sa.and_(invocations.c.state == State.WAITING, invocations.c.created_at < before)
    query = sa.select(invocations.c.instance_id, oldest).where(late, invocations.c.account_id == account_id)
    rows = tx.rows(query.group_by(invocations.c.instance_id).order_by(oldest, invocations.c.instance_id).limit(limit))
    return [(row.instance_id, row.since) for row in rows]


def with_agent(tx: Transaction, instance_ids: Sequence[str]) -> Sequence[Row]:
    """Return the invocations that these instances' agents have, as far as we know, locked in the order of their ids."""
    columns = (invocations.c[name] for name in ("id", "topic", "state", "stop_asked"))
    query = sa.select(*columns).where(invocations.c.instance_id.in_(instance_ids), _WITH_AGENT)
    return tx.rows(query.order_by(invocations.c.id).with_for_update())


def waiting_on(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Return those of these instances for whose agents something waits."""
    found = tx.rows(_statements.WAITING_ON, {"hosts": instance_ids}) if instance_ids else ()
    return [row.instance_id for row in found]


def open_on_each(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, list[Row]]:
    """Return what has not ended on each of these instances, the oldest first; not locked. Others are left out."""
    found: dict[str, list[Row]] = {}
    for row in tx.rows(_statements.OPEN_ON, {"hosts": instance_ids}) if instance_ids else ():
        found.setdefault(row.instance_id, []).append(row)
    return found


def take(tx: Transaction, ids: Sequence[str], now: datetime, lease_until: datetime) -> Sequence[Row]:
    """Mark those of these as handed out that wait, for this transaction alone, and return them, the oldest first."""
    chosen = tx.rows(_statements.TAKE, {"ids": ids}) if ids else ()
    if chosen:
        tx.run(_statements.HANDED, {"ids": [row.id for row in chosen], "until": lease_until, "at": now})
    return chosen


def lost_among(tx: Transaction, ids: Sequence[str]) -> list[str]:
    """Return those of these whose outcome is not known."""
    query = sa.select(invocations.c.id).where(invocations.c.id.in_(ids), invocations.c.state == State.LOST)
    return [row.id for row in tx.rows(query)]


def open_ones(tx: Transaction, topic: str, references: Sequence[str]) -> Sequence[Row]:
    """Return those of a sender's invocations that have not ended, locked for this transaction."""
    return tx.rows(_statements.OPEN_ONES, {"of_topic": topic, "references": references})


def open_on(tx: Transaction, instance_id: str) -> Sequence[Row]:
    """Return every sender's invocations on an instance that have not ended, locked for this transaction."""
    columns = (invocations.c[name] for name in ("id", "topic", "state"))
    here = sa.and_(invocations.c.instance_id == instance_id, invocations.c.state.in_(_statements.OPEN))
    query = sa.select(*columns).where(here)
    return tx.rows(query.order_by(invocations.c.id).with_for_update())


def end_open(tx: Transaction, now: datetime) -> list[str]:
    """Mark all that have not ended as lost, which is news; return the topics of their senders."""
    are_open = invocations.c.state.in_(_statements.OPEN)
    topics = [row.topic for row in tx.rows(sa.select(invocations.c.topic).where(are_open).distinct())]
    values = {"state": State.LOST, "changed_at": now, "revision": invocations.c.revision + 1, "lease_until": None}
    tx.run(sa.update(invocations).where(are_open).values(values))
    return topics


def is_withdrawn(tx: Transaction, topic: str, reference: str) -> bool:
    """Return whether a sender has cancelled this one, or wants it stopped."""
    named = sa.and_(invocations.c.topic == topic, invocations.c.reference == reference)
    withdrawn = sa.or_(invocations.c.stop_asked, invocations.c.state == State.CANCELLED)
    return tx.first(sa.select(invocations.c.id).where(named, withdrawn)) is not None


def still_wanted(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Return those of these that are with their agents, and that nobody wants stopped."""
    wanted = sa.and_(invocations.c.id.in_(ids), _WITH_AGENT, ~invocations.c.stop_asked)
    return {row.id for row in tx.rows(sa.select(invocations.c.id).where(wanted))}


def mark_to_stop(tx: Transaction, ids: Sequence[str]) -> None:
    """Have their agents stop them."""
    if ids:
        tx.run(sa.update(invocations).where(invocations.c.id.in_(ids)).values(stop_asked=True))


def overdue(tx: Transaction, now: datetime, limit: int) -> Sequence[Row]:
    """Return handed and running ones whose lease ran out, locked for this transaction."""
    late = sa.and_(invocations.c.state.in_((State.HANDED, State.RUNNING)), invocations.c.lease_until < now)
    query = sa.select(*(invocations.c[name] for name in ("id", "instance_id", "topic", "state", "stop_asked")))
    return tx.rows(query.where(late).order_by(invocations.c.id).limit(limit).with_for_update(skip_locked=True))


def last_round(tx: Transaction, *, locks: bool = False) -> datetime | None:
    """Return when leases were last looked at; None if they never were."""
    found: datetime | None = tx.scalar(_statements.LAST_ROUND_LOCKED if locks else _statements.LAST_ROUND, {})
    return found


def note_round(tx: Transaction, now: datetime) -> None:
    """Store that leases are looked at now."""
    if not tx.add_if_new(lease_rounds, {"id": 1, "at": now}):
        tx.run(sa.update(lease_rounds).values(at=now))


def renew(tx: Transaction, state: State, until: datetime) -> None:
    """Let every lease of handed or of running ones begin anew, which is no news."""
    tx.run(sa.update(invocations).where(invocations.c.state == state).values(lease_until=until))


def count_waiting(tx: Transaction) -> dict[str, tuple[int, datetime]]:
    """Return how many wait to be fetched and since when the oldest does, by account."""
    query = sa.select(
        invocations.c.account_id,
        sa.func.count().label("number"),
        sa.func.min(invocations.c.created_at).label("oldest"),
    ).where(invocations.c.state == State.WAITING)
    return {row.account_id: (row.number, row.oldest) for row in tx.rows(query.group_by(invocations.c.account_id))}


def put_back(tx: Transaction, ids: Sequence[str], now: datetime) -> None:
    """Let locked ones wait again, which is no news. The old lease stays: it shows that they were handed out before."""
    if ids:
        tx.run(sa.update(invocations).where(invocations.c.id.in_(ids)).values(state=State.WAITING, changed_at=now))


def give_up(tx: Transaction, ids: Sequence[str], to: State, now: datetime) -> None:
    """Mark locked ones as lost, cancelled or gone, which is news."""
    if ids:
        values = {"state": to, "changed_at": now, "revision": invocations.c.revision + 1}
        if to is not State.GONE:  # whether its agent has fetched it is told by the lease
            values["lease_until"] = None
        tx.run(sa.update(invocations).where(invocations.c.id.in_(ids)).values(values))


def locked(tx: Transaction, ids: Sequence[str]) -> dict[str, Progress]:
    """Return invocations by id, locked in the order of their ids: several reports of one may come at the same time."""
    found = tx.rows(_statements.LOCKED, {"ids": ids}) if ids else ()
    return {row.id: _progress(row) for row in found}


def _progress(row: Row) -> Progress:
    task_id, instance_id, topic, state, *reported = tuple(row)
    return Progress(task_id, instance_id, topic, State(state), *reported)


def note_reported(tx: Transaction, changed: Sequence[Progress]) -> None:
    """Record what agents reported, in one statement, in the order of the ids."""
    if changed:
        rows = sorted(map(_REPORT, changed))  # each begins with its id, and no two have the same
        tx.run(_statements.REPORT, [dict(zip(_NAMES, row, strict=True)) for row in rows])


def news(tx: Transaction, topic: str, limit: int, *, only_ends: bool) -> Sequence[Row]:
    """Return uncollected changes, oldest first, locked for this transaction; of what runs none if `only_ends`."""
    statement = _statements.NEWS_OF_ENDS if only_ends else _statements.NEWS
    return tx.rows(statement, {"wanted": topic, "most": limit})


def count_news(tx: Transaction, topic: str, most: int) -> int:
    """Return how many pieces of news there are for this sender, `most` if there are more."""
    return int(tx.scalar(_statements.COUNT_NEWS, {"wanted": topic, "most": most}))


def has_news(tx: Transaction, topic: str) -> bool:
    """Return whether there is news for this sender."""
    return tx.first(_statements.HAS_NEWS, {"wanted": topic}) is not None


def mark_collected(tx: Transaction, known: Sequence[tuple[str, int]]) -> None:
    """Mark invocations as collected up to this revision. This transaction has locked them."""
    alike: dict[int, list[str]] = {}
    for task_id, revision in known:
        alike.setdefault(revision, []).append(task_id)
    for revision, ids in alike.items():
        tx.run(_statements.COLLECTED, {"ids": ids, "seen": revision})


def drop_before(tx: Transaction, topic: str, moment: datetime) -> int:
    """Forget this sender's invocations that are older than this; return how many there were."""
    return tx.run(sa.delete(invocations).where(invocations.c.topic == topic, invocations.c.created_at < moment))
