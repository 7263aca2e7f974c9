"""Processes of agents."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from backfleet.fleet._tables import instances, runs
from backfleet.fleet.model import AgentRun
from backfleet.storage import Transaction


def note(tx: Transaction, run: AgentRun) -> None:
    """Store that a process was seen."""
    values = {name: getattr(run, name) for name in ("instance_id", "mark", "first_at", "last_at")}
    facts = {"address": run.address, "hostname": run.hostname, "machine_id": run.machine_id}
    if not tx.add_if_new(runs, {**values, **facts}):
        mine = sa.and_(runs.c.instance_id == run.instance_id, runs.c.mark == run.mark)
        tx.run(sa.update(runs).where(mine).values(last_at=run.last_at, **facts))


def forget(tx: Transaction, instance_id: str, before: datetime) -> None:
    """Forget an instance's processes that were not seen since."""
    tx.run(sa.delete(runs).where(runs.c.instance_id == instance_id, runs.c.last_at < before))


def seen_since(tx: Transaction, instance_ids: Sequence[str], since: datetime) -> list[AgentRun]:
    """Return the processes of these instances that were seen since."""
    if not instance_ids:
        return []
    query = sa.select(runs).where(runs.c.instance_id.in_(instance_ids), runs.c.last_at >= since)
    return [AgentRun(**row._mapping) for row in tx.rows(query.order_by(runs.c.first_at, runs.c.mark))]


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
