"""Processes of agents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from backfleet.fleet._tables import instances, runs
from backfleet.fleet.model import AgentRun
from backfleet.storage import Prepared, Transaction, reader

_READ: Final = reader(runs, AgentRun)
_AT_ONCE: Final = 500  # ids in one query
_KEY: Final = ("instance_id", "mark")
_CHANGING: Final = ("last_at", "address", "hostname", "machine_id")


def _note_each(insert: Any) -> Prepared:
    """Return the statement that adds a process, or says of one that is there how it was seen now."""
    added = insert(runs).values({name: sa.bindparam(name) for name in (*_KEY, "first_at", *_CHANGING)})
    again = {name: added.excluded[name] for name in _CHANGING}
    return Prepared(added.on_conflict_do_update(index_elements=list(_KEY), set_=again))


# Prepared: agents that come back run the first two of them.
_NOTE: Final = {"sqlite": _note_each(sqlite_insert), "postgresql": _note_each(postgresql_insert)}
_FORGET: Final = Prepared(
    sa.delete(runs).where(
        runs.c.instance_id.in_(sa.bindparam("ids", expanding=True)), runs.c.last_at < sa.bindparam("before")
    )
)
_SINCE: Final = sa.and_(
    runs.c.instance_id.in_(sa.bindparam("ids", expanding=True)), runs.c.last_at >= sa.bindparam("since")
)
_SEEN_SINCE: Final = Prepared(sa.select(runs).where(_SINCE).order_by(runs.c.first_at, runs.c.mark))
_SEVERAL: Final = Prepared(
    sa.select(runs.c.instance_id).where(_SINCE).group_by(runs.c.instance_id).having(sa.func.count() > 1)
)


def note(tx: Transaction, seen: Sequence[AgentRun]) -> None:
    """Store that processes were seen, in the order of their instances, so that two nodes cannot deadlock."""
    ordered = sorted(seen, key=lambda run: (run.instance_id, run.mark))
    rows = [{name: getattr(run, name) for name in (*_KEY, "first_at", *_CHANGING)} for run in ordered]
    tx.run(_NOTE[tx.engine_name], rows)


def forget(tx: Transaction, instance_ids: Sequence[str], before: datetime) -> None:
    """Forget processes of instances that were not seen since."""
    for start in range(0, len(instance_ids), _AT_ONCE):
        tx.run(_FORGET, {"ids": instance_ids[start : start + _AT_ONCE], "before": before})


def with_several(tx: Transaction, instance_ids: Sequence[str], since: datetime) -> list[str]:
    """Return those of these instances of which several processes were seen since."""
    parts = [instance_ids[start : start + _AT_ONCE] for start in range(0, len(instance_ids), _AT_ONCE)]
    return [row.instance_id for ids in parts for row in tx.rows(_SEVERAL, {"ids": ids, "since": since})]


def seen_since(tx: Transaction, instance_ids: Sequence[str], since: datetime) -> list[AgentRun]:
    """Return the processes of these instances that were seen since."""
    parts = [instance_ids[start : start + _AT_ONCE] for start in range(0, len(instance_ids), _AT_ONCE)]
    return [run for ids in parts for run in tx.read(_READ, _SEEN_SINCE, {"ids": ids, "since": since})]


def seen_in_account(tx: Transaction, account_id: str, since: datetime) -> list[AgentRun]:
    """Return the processes that were seen since, of instances of an account that have several of them."""
    several = (
        sa.select(runs.c.instance_id)
        .join(instances, instances.c.id == runs.c.instance_id)
        .where(instances.c.account_id == account_id, instances.c.deregistered_at.is_(None), runs.c.last_at >= since)
        .group_by(runs.c.instance_id)
        .having(sa.func.count() > 1)
    )
    return seen_since(tx, [row.instance_id for row in tx.rows(several)], since)
