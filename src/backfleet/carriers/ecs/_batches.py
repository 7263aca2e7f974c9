"""The only SQL on commands that are on their way through the cloud."""

import dataclasses
import json
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.carriers.ecs._tables import ecs_batches, ecs_runs
from backfleet.carriers.ecs.model import Batch, CloudCommand, EcsAccount, Run
from backfleet.storage import Transaction

MOST_PAUSE: Final = timedelta(minutes=5)  # longer than between two questions about a batch


def add(tx: Transaction, batch: Batch) -> None:
    """Store a batch before anything of it is sent."""
    tx.add(ecs_batches, [{
        "token": batch.token, "account_id": batch.account_id, "ecs_account": batch.ecs_account,
        "region": batch.region, "command": json.dumps(dataclasses.asdict(batch.command)),
        "created_at": batch.created_at, "next_poll_at": batch.created_at,
    }])  # fmt: skip
    tx.add(ecs_runs, [{**dataclasses.asdict(run), "token": batch.token} for run in batch.runs])


def due(tx: Transaction, account: EcsAccount, now: datetime, limit: int) -> list[Batch]:
    """Return batches that are to be sent, or asked about, the longest due first."""
    mine = sa.and_(ecs_batches.c.account_id == account.account_id, ecs_batches.c.ecs_account == account.name)
    query = sa.select(ecs_batches).where(mine, is_due(now))
    return _read(tx, query.order_by(ecs_batches.c.next_poll_at, ecs_batches.c.token).limit(limit))


def is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Return whether a batch is to be sent, or asked about."""
    at = ecs_batches.c.next_poll_at
    return sa.or_(at <= now, at > now + MOST_PAUSE)  # beyond that the clock was set back


def with_tasks(tx: Transaction, account: EcsAccount, task_ids: Collection[str]) -> list[Batch]:
    """Return the batches that these commands are in."""
    tokens = sa.select(ecs_runs.c.token).where(ecs_runs.c.task_id.in_(task_ids))
    mine = sa.and_(ecs_batches.c.account_id == account.account_id, ecs_batches.c.ecs_account == account.name)
    return _read(tx, sa.select(ecs_batches).where(mine, ecs_batches.c.token.in_(tokens)))


def of_instance(tx: Transaction, account: EcsAccount, instance_id: str) -> list[Batch]:
    """Return the batches that commands for an instance are in."""
    tokens = sa.select(ecs_runs.c.token).where(ecs_runs.c.instance_id == instance_id)
    mine = sa.and_(ecs_batches.c.account_id == account.account_id, ecs_batches.c.ecs_account == account.name)
    return _read(tx, sa.select(ecs_batches).where(mine, ecs_batches.c.token.in_(tokens)))


def known_tasks(tx: Transaction, task_ids: Collection[str]) -> set[str]:
    """Return those of these commands that are in a batch."""
    return {row.task_id for row in tx.rows(sa.select(ecs_runs.c.task_id).where(ecs_runs.c.task_id.in_(task_ids)))}


def note(tx: Transaction, token: str, values: dict[str, Any]) -> None:
    """Record what became of a batch."""
    tx.run(sa.update(ecs_batches).where(ecs_batches.c.token == token).values(values))


def note_seen(tx: Transaction, task_id: str, seen: int) -> None:
    """Record how many bytes of a command's output are noted."""
    tx.run(sa.update(ecs_runs).where(ecs_runs.c.task_id == task_id).values(seen=seen))


def end_runs(tx: Transaction, token: str, task_ids: Iterable[str]) -> None:
    """Forget runs that are over; a batch without any is forgotten, too."""
    tx.run(sa.delete(ecs_runs).where(ecs_runs.c.task_id.in_(list(task_ids)), ecs_runs.c.token == token))
    left = sa.exists().where(ecs_runs.c.token == token)
    tx.run(sa.delete(ecs_batches).where(ecs_batches.c.token == token, ~left))


def _read(tx: Transaction, query: sa.Select[Any]) -> list[Batch]:
    found = tx.rows(query)
    runs: dict[str, list[Run]] = {}
    of = sa.select(ecs_runs).where(ecs_runs.c.token.in_([row.token for row in found])).order_by(ecs_runs.c.remote_id)
    for row in tx.rows(of):
        runs.setdefault(row.token, []).append(Run(row.task_id, row.instance_id, row.remote_id, row.seen))
    return [
        Batch(
            row.token, row.account_id, row.ecs_account, row.region, CloudCommand(**json.loads(row.command)),
            row.created_at, tuple(runs.get(row.token, ())), row.tries, row.invoke_id, row.polls,
        )
        for row in found
    ]  # fmt: skip
