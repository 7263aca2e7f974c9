"""Processes of agents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from backfleet.fleet._tables import instances, runs
from backfleet.fleet.model import AgentRun
from backfleet.storage import Prepared, Transaction, reader

_READ: Final = reader(runs, AgentRun)
_AT_ONCE: Final = 500  # ids in one query
_CHANGING: Final = ("last_at", "address", "hostname", "machine_id")
_OF: Final = runs.c.instance_id == sa.bindparam("of")
# Prepared: an agent that comes back runs the first three of them.
_SEEN_AGAIN: Final = Prepared(
    sa.update(runs)
    .where(_OF, runs.c.mark == sa.bindparam("process"))
    .values({name: sa.bindparam(f"new_{name}") for name in _CHANGING})
)
_FORGET: Final = Prepared(sa.delete(runs).where(_OF, runs.c.last_at < sa.bindparam("before")))
_SINCE: Final = sa.and_(
    runs.c.instance_id.in_(sa.bindparam("ids", expanding=True)), runs.c.last_at >= sa.bindparam("since")
)
_SEEN_SINCE: Final = Prepared(sa.select(runs).where(_SINCE).order_by(runs.c.first_at, runs.c.mark))
_SEVERAL: Final = Prepared(
    sa.select(runs.c.instance_id).where(_SINCE).group_by(runs.c.instance_id).having(sa.func.count() > 1)
)


def note(tx: Transaction, run: AgentRun) -> None:
    """Store that a process was seen."""
    values = {name: getattr(run, name) for name in ("instance_id", "mark", "first_at", "last_at")}
    facts = {"address": run.address, "hostname": run.hostname, "machine_id": run.machine_id}
    if not tx.add_if_new(runs, {**values, **facts}):
        seen = {f"new_{name}": value for name, value in facts.items()}
        tx.run(_SEEN_AGAIN, {"of": run.instance_id, "process": run.mark, "new_last_at": run.last_at, **seen})


def forget(tx: Transaction, instance_id: str, before: datetime) -> None:
    """Forget an instance's processes that were not seen since."""
    tx.run(_FORGET, {"of": instance_id, "before": before})


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
