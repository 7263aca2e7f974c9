"""The SQL on records: what became of an invocation on each of its instances."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.assistant._store.invocations import invocations_by_id
from backfleet.assistant._store.runs import in_invocations, runs_by_id
from backfleet.assistant._tables import invocations, records
from backfleet.assistant.model import Invocation, Record, RecordFilter, Usage
from backfleet.assistant.states import OPEN, Status
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Transaction, list_part

_ACTIVE: Final = sorted(OPEN - {Status.SCHEDULED})
_DUE: Final = Prepared(  # asked each second
    sa.select(records.c.instance_id).where(records.c.next_at <= sa.bindparam("now")).limit(1)
)
_FIELDS: Final = [field.name for field in fields(Record) if field.name != "run"]


def is_record_due(tx: Transaction, now: datetime) -> bool:
    """Return whether the time of a record has come."""
    return tx.first(_DUE, {"now": now}) is not None


def due_records(tx: Transaction, now: datetime, limit: int) -> list[Record]:
    """Lock and return records whose time has come, skipping those that another transaction has locked."""
    query = sa.select(records).where(records.c.next_at <= now).order_by(records.c.next_at).limit(limit)
    rows = tx.rows(query.with_for_update(skip_locked=True))
    return _with_runs(tx, [row._mapping for row in rows])


def records_waiting_for_boot(tx: Transaction, instance_ids: Sequence[str]) -> list[Record]:
    """Lock and return the records on these instances that run when their host boots."""
    if not instance_ids:
        return []
    waits = sa.and_(records.c.at_boot, records.c.instance_id.in_(instance_ids))
    query = sa.select(records).where(waits).order_by(records.c.invocation_id, records.c.instance_id)
    return _with_runs(tx, [row._mapping for row in tx.rows(query.with_for_update())])


def records_for_update(tx: Transaction, invocation_id: str, instance_ids: Sequence[str] | None) -> list[Record]:
    """Lock and return the records of an invocation on these instances, or on all (None)."""
    which = [records.c.invocation_id == invocation_id]
    if instance_ids is not None:
        which.append(records.c.instance_id.in_(instance_ids))
    rows = tx.rows(sa.select(records).where(*which).order_by(records.c.instance_id).with_for_update())
    return _with_runs(tx, [row._mapping for row in rows])


def newest_runs(tx: Transaction, invocation_id: str) -> dict[str, str]:
    """Return the id of the newest run on each instance that has one, without a lock."""
    query = sa.select(records.c.instance_id, records.c.run_id)
    has_run = sa.and_(records.c.invocation_id == invocation_id, records.c.run_id.is_not(None))
    return {row.instance_id: row.run_id for row in tx.rows(query.where(has_run))}


def instances_of(tx: Transaction, invocation_id: str) -> list[str]:
    """Return the ids of an invocation's instances."""
    query = sa.select(records.c.instance_id).where(records.c.invocation_id == invocation_id)
    return [row.instance_id for row in tx.rows(query)]


def update_record(tx: Transaction, record: Record, **values: Any) -> None:
    """Write new values of a locked record."""
    this = sa.and_(records.c.invocation_id == record.invocation_id, records.c.instance_id == record.instance_id)
    tx.run(sa.update(records).where(this).values(values))


def note_run_status(tx: Transaction, run_id: str, status: Status, *, is_over: bool, now: datetime) -> None:
    """Give the record whose newest run this is the run's status; once that is over, Scheduled if more runs follow."""
    of_run = records.c.run_id == run_id
    if not is_over:
        tx.run(sa.update(records).where(of_run).values(status=status, changed_at=now))
        return
    goes_on = sa.or_(records.c.next_at.is_not(None), records.c.at_boot)
    status_then = sa.case((goes_on, Status.SCHEDULED.value), else_=status.value)
    tx.run(sa.update(records).where(of_run).values(status=status_then, changed_at=now))


def records_of(
    tx: Transaction, invocation_ids: Sequence[str], instance_id: str | None, *, output: bool
) -> dict[str, list[Record]]:
    """Return the records of each of these invocations, in the order in which the caller named the instances."""
    found: dict[str, list[Record]] = {invocation_id: [] for invocation_id in invocation_ids}
    if invocation_ids:
        which: list[sa.ColumnElement[bool]] = [records.c.invocation_id.in_(invocation_ids)]
        if instance_id is not None:
            which.append(records.c.instance_id == instance_id)
        query = sa.select(records).where(*which).order_by(records.c.invocation_id, records.c.position)
        rows = [row._mapping for row in tx.rows(query)]
        for record in _with_runs(tx, rows, output=output):
            found[record.invocation_id].append(record)
    return found


def records_page(
    tx: Transaction, account_id: str, region: str, wanted: RecordFilter, page: Page
) -> Listing[tuple[Invocation, Record]]:
    """Return one page of an account's records with their invocations, newest first."""
    joined = records.join(invocations, invocations.c.id == records.c.invocation_id)
    conditions = in_invocations(account_id, region, wanted, records)
    keys = [(records.c.created_at, True), (records.c.invocation_id, False), (records.c.position, False)]
    found, ended = list_part(tx, sa.select(records).select_from(joined).where(*conditions), keys, page)
    rows = [row._mapping for row in found]
    total = tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions))
    of = invocations_by_id(tx, list({row["invocation_id"] for row in rows}))
    return Listing([(of[record.invocation_id], record) for record in _with_runs(tx, rows)], total, ended)


def usage(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Usage]:
    """Return how much each of these instances was used, counted from its records."""
    if not instance_ids:
        return {}
    active = sa.func.sum(sa.case((records.c.status.in_(_ACTIVE), 1), else_=0)).label("active")
    query = (
        sa.select(
            records.c.instance_id,
            sa.func.max(records.c.created_at).label("last_at"),
            sa.func.count().label("count"),
            active,
        )
        .where(records.c.instance_id.in_(instance_ids))
        .group_by(records.c.instance_id)
    )
    return {row.instance_id: Usage(row.last_at, row._mapping["count"], row.active) for row in tx.rows(query)}


def _with_runs(tx: Transaction, rows: Sequence[Any], *, output: bool = True) -> list[Record]:
    newest = runs_by_id(tx, [row["run_id"] for row in rows if row["run_id"]], output=output)
    return [
        Record(
            **{name: row[name] for name in _FIELDS} | {"status": Status(row["status"])},
            run=newest.get(row["run_id"] or ""),
        )
        for row in rows
    ]
