"""The only SQL on invocations."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.commands._tables import invocations, lease_rounds
from backfleet.commands.model import FinalReport, NewInvocation
from backfleet.commands.states import State
from backfleet.storage import Prepared, Transaction

Row = sa.Row[Any]
_OUT = (State.HANDED, State.RUNNING, State.LOST)  # with the agent, as far as we know
_OPEN = (State.WAITING, *_OUT)
_OPEN_COLUMNS = ("id", "reference", "instance_id", "state", "lease_until", "started_ms")

# Every report of every host runs one of these. They are built once: building one costs more than running it.
_LOCKED = Prepared(
    sa.select(invocations)
    .where(invocations.c.id == sa.bindparam("task_id"), invocations.c.instance_id == sa.bindparam("host"))
    .with_for_update()
)
_NEWS = Prepared(
    sa.select(invocations)
    .where(invocations.c.topic == sa.bindparam("wanted"), invocations.c.revision != invocations.c.collected)
    .order_by(invocations.c.changed_at, invocations.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_HAS_NEWS = Prepared(
    sa.select(invocations.c.id)
    .where(invocations.c.topic == sa.bindparam("wanted"), invocations.c.revision != invocations.c.collected)
    .limit(1)
)
_LAST_ROUND = Prepared(sa.select(lease_rounds.c.at))
_LAST_ROUND_LOCKED = Prepared(sa.select(lease_rounds.c.at).with_for_update())
_COLLECTED = Prepared(
    sa.update(invocations).where(invocations.c.id == sa.bindparam("of")).values(collected=sa.bindparam("seen"))
)
_WORK = sa.or_(invocations.c.state == State.WAITING, sa.and_(invocations.c.stop_asked, invocations.c.state.in_(_OUT)))
_OLDEST_WORK = Prepared(
    sa.select(invocations.c.id)
    .where(invocations.c.instance_id == sa.bindparam("host"), _WORK)
    .order_by(invocations.c.created_at, invocations.c.id)
    .limit(1)
)
_OF_HOST = invocations.c.instance_id == sa.bindparam("host")
_WITH_AGENT = invocations.c.state.in_((State.HANDED, State.RUNNING))
_COUNT = Prepared(sa.select(sa.func.count()).select_from(invocations).where(_OF_HOST, _WITH_AGENT))
_WAITS = Prepared(sa.select(invocations.c.id).where(_OF_HOST, invocations.c.state == State.WAITING).limit(1))
# Locked rows are another replica's: skipped, not waited for. On SQLite this transaction is the only writer.
_TAKE = Prepared(
    sa.select(invocations)
    .where(invocations.c.instance_id == sa.bindparam("host"), invocations.c.state == State.WAITING)
    .order_by(invocations.c.created_at, invocations.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_HANDED = Prepared(
    sa.update(invocations)
    .where(invocations.c.id == sa.bindparam("of"))
    .values(state=State.HANDED, lease_until=sa.bindparam("until"), changed_at=sa.bindparam("at"))
)
_TO_STOP = Prepared(
    sa.select(invocations.c.id)
    .where(invocations.c.instance_id == sa.bindparam("host"), invocations.c.stop_asked, invocations.c.state.in_(_OUT))
    .limit(sa.bindparam("most"))
)
_RUNS = Prepared(
    sa.update(invocations)
    .where(invocations.c.id == sa.bindparam("of"))
    .values(
        state=State.RUNNING,
        lease_until=sa.bindparam("until"),
        output=sa.bindparam("new_output"),
        dropped=sa.bindparam("new_dropped"),
        started_ms=sa.bindparam("began_ms"),
        changed_at=sa.bindparam("at"),
        revision=sa.bindparam("number"),
    )
)
_ENDS = (
    "state", "output", "dropped", "exit_code", "error_code", "error_text", "ended_ms", "started_ms", "changed_at",
    "revision",
)  # fmt: skip
_ENDED = Prepared(
    sa.update(invocations)
    .where(invocations.c.id == sa.bindparam("of"))
    .values({name: sa.bindparam(f"new_{name}") for name in _ENDS} | {"lease_until": None})
)
_NAMED = sa.and_(
    invocations.c.topic == sa.bindparam("of_topic"),
    invocations.c.reference.in_(sa.bindparam("references", expanding=True)),
)
_KNOWN = Prepared(sa.select(invocations.c.reference).where(_NAMED))
# All open states are selected: a row that changes while we wait for its lock is then still found.
_OPEN_ONES = Prepared(
    sa.select(*(invocations.c[name] for name in _OPEN_COLUMNS))
    .where(_NAMED, invocations.c.state.in_(_OPEN))
    .order_by(invocations.c.id)
    .with_for_update()
)


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
    known = {row.reference for row in tx.rows(_KNOWN, {"of_topic": topic, "references": references})}
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
    found = tx.scalar(_OLDEST_WORK, {"host": instance_id})
    return None if found is None else str(found)


def instances_with_work(tx: Transaction, limit: int) -> list[str]:
    """Return instances whose agents should fetch their tasks."""
    query = sa.select(invocations.c.instance_id).where(_WORK).distinct().limit(limit)
    return [row.instance_id for row in tx.rows(query)]


def has_work(instance_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return a condition: something waits for the instance in this column, or is to be stopped there."""
    return sa.exists().where(invocations.c.instance_id == instance_id, _WORK)


def waiting(tx: Transaction, account_id: str, before: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Return instances for whose agents something waits since before a moment, the longest first, and since when."""
    oldest = sa.func.min(invocations.c.created_at, type_=invocations.c.created_at.type).label("since")
    late = sa.and_(invocations.c.state == State.WAITING, invocations.c.created_at < before)
    query = sa.select(invocations.c.instance_id, oldest).where(late, invocations.c.account_id == account_id)
    rows = tx.rows(query.group_by(invocations.c.instance_id).order_by(oldest, invocations.c.instance_id).limit(limit))
    return [(row.instance_id, row.since) for row in rows]


def count_with_agent(tx: Transaction, instance_id: str) -> int:
    """Return how many invocations the instance's agent has, as far as we know. Lost ones do not count."""
    return int(tx.scalar(_COUNT, {"host": instance_id}))


def with_agent(tx: Transaction, instance_id: str) -> Sequence[Row]:
    """Return the invocations that the instance's agent has, as far as we know, locked for this transaction."""
    columns = (invocations.c[name] for name in ("id", "topic", "state", "stop_asked"))
    query = sa.select(*columns).where(invocations.c.instance_id == instance_id, _WITH_AGENT)
    return tx.rows(query.order_by(invocations.c.id).with_for_update())


def has_waiting(tx: Transaction, instance_id: str) -> bool:
    """Return whether something waits for the instance's agent."""
    return tx.first(_WAITS, {"host": instance_id}) is not None


def take_waiting(tx: Transaction, instance_id: str, limit: int, now: datetime, lease_until: datetime) -> Sequence[Row]:
    """Mark the oldest waiting ones as handed out, for this transaction alone, and return them."""
    chosen = tx.rows(_TAKE, {"host": instance_id, "most": limit})
    if chosen:
        tx.run(_HANDED, [{"of": row.id, "until": lease_until, "at": now} for row in chosen])
    return chosen


def to_stop(tx: Transaction, instance_id: str, limit: int) -> list[str]:
    """Return what the agent has and should stop."""
    return [row.id for row in tx.rows(_TO_STOP, {"host": instance_id, "most": limit})]


def lost_among(tx: Transaction, ids: Sequence[str]) -> list[str]:
    """Return those of these whose outcome is not known."""
    query = sa.select(invocations.c.id).where(invocations.c.id.in_(ids), invocations.c.state == State.LOST)
    return [row.id for row in tx.rows(query)]


def open_ones(tx: Transaction, topic: str, references: Sequence[str]) -> Sequence[Row]:
    """Return those of a sender's invocations that have not ended, locked for this transaction."""
    return tx.rows(_OPEN_ONES, {"of_topic": topic, "references": references})


def open_on(tx: Transaction, instance_id: str) -> Sequence[Row]:
    """Return every sender's invocations on an instance that have not ended, locked for this transaction."""
    columns = (invocations.c[name] for name in ("id", "topic", "state"))
    query = sa.select(*columns).where(invocations.c.instance_id == instance_id, invocations.c.state.in_(_OPEN))
    return tx.rows(query.order_by(invocations.c.id).with_for_update())


def end_open(tx: Transaction, now: datetime) -> list[str]:
    """Mark all that have not ended as lost, which is news; return the topics of their senders."""
    topics = [
        row.topic for row in tx.rows(sa.select(invocations.c.topic).where(invocations.c.state.in_(_OPEN)).distinct())
    ]
    values = {"state": State.LOST, "changed_at": now, "revision": invocations.c.revision + 1, "lease_until": None}
    tx.run(sa.update(invocations).where(invocations.c.state.in_(_OPEN)).values(values))
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
    found: datetime | None = tx.scalar(_LAST_ROUND_LOCKED if locks else _LAST_ROUND, {})
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


def locked(tx: Transaction, instance_id: str, task_id: str) -> Row | None:
    """Return this instance's invocation, locked: several reports of one task may come at the same time."""
    return tx.first(_LOCKED, {"task_id": task_id, "host": instance_id})


def note_running(
    tx: Transaction,
    row: Row,
    output: bytes,
    dropped: int,
    started_ms: int | None,
    *,
    now: datetime,
    lease_until: datetime,
    news: bool,
) -> None:
    """Record that it runs, and renew its lease."""
    tx.run(
        _RUNS,
        {
            "of": row.id,
            "until": lease_until,
            "new_output": output if news else row.output,
            "new_dropped": dropped if news else row.dropped,
            "began_ms": started_ms if row.started_ms is None else row.started_ms,
            "at": now if news else row.changed_at,
            "number": row.revision + 1 if news else row.revision,
        },
    )


def note_ended(
    tx: Transaction, row: Row, to: State, report: FinalReport, output: bytes, dropped: int, now: datetime
) -> None:
    """Record that it ended, or that its outcome is not known."""
    values = {
        "new_state": to,
        "new_output": output,
        "new_dropped": dropped,
        "new_exit_code": report.exit_code,
        "new_error_code": report.error_code,
        "new_error_text": report.error_text,
        "new_ended_ms": report.ended_ms,
        "new_started_ms": row.started_ms if row.started_ms is not None else report.started_ms,
        "new_changed_at": now,
        "new_revision": row.revision + 1,
    }
    tx.run(_ENDED, {"of": row.id, **values})


def news(tx: Transaction, topic: str, limit: int) -> Sequence[Row]:
    """Return uncollected changes, oldest first, locked for this transaction."""
    return tx.rows(_NEWS, {"wanted": topic, "most": limit})


def has_news(tx: Transaction, topic: str) -> bool:
    """Return whether there is news for this sender."""
    return tx.first(_HAS_NEWS, {"wanted": topic}) is not None


def mark_collected(tx: Transaction, known: Sequence[tuple[str, int]]) -> None:
    """Mark invocations as collected up to this revision."""
    if known:
        tx.run(_COLLECTED, [{"of": task_id, "seen": revision} for task_id, revision in sorted(known)])


def drop_before(tx: Transaction, topic: str, moment: datetime) -> int:
    """Forget this sender's invocations that are older than this; return how many there were."""
    return tx.run(sa.delete(invocations).where(invocations.c.topic == topic, invocations.c.created_at < moment))
