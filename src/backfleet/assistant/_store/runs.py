"""The SQL on runs: every single run on an instance."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet import fleet
from backfleet.assistant._store.invocations import invocations_by_id
from backfleet.assistant._tables import invocations, runs
from backfleet.assistant.model import Invocation, RecordFilter, Run
from backfleet.assistant.states import Status
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Transaction, list_part

_NO_OUTPUT: Final = sa.literal(b"", sa.LargeBinary).label("output")
_LATE: Final = Prepared(  # asked each second
    sa.select(runs.c.id)
    .where(runs.c.deliver_by <= sa.bindparam("now"))
    .order_by(runs.c.deliver_by)
    .limit(sa.bindparam("most"))
)


def add_run(tx: Transaction, run: Run, *, keep: int) -> None:
    """Add a run, and delete the oldest of the same record beyond `keep`."""
    tx.add(runs, [{field.name: getattr(run, field.name) for field in fields(run)}])
    same = sa.and_(runs.c.invocation_id == run.invocation_id, runs.c.instance_id == run.instance_id)
    if run.number > keep:
        tx.run(sa.delete(runs).where(same, runs.c.number <= run.number - keep))


def runs_for_update(tx: Transaction, ids: Sequence[str]) -> dict[str, Run]:
    """Lock runs in the order of their ids, and return them by id."""
    if not ids:
        return {}
    rows = tx.rows(sa.select(runs).where(runs.c.id.in_(ids)).order_by(runs.c.id).with_for_update())
    return {row.id: _run(row._mapping) for row in rows}


def runs_by_id(tx: Transaction, ids: Sequence[str], *, output: bool = True) -> dict[str, Run]:
    """Return runs by id, without their output unless it is asked for."""
    columns = [column if output or column.name != "output" else _NO_OUTPUT for column in runs.c]
    if not ids:
        return {}
    return {row.id: _run(row._mapping) for row in tx.rows(sa.select(*columns).where(runs.c.id.in_(ids)))}


def update_run(tx: Transaction, run_id: str, **values: Any) -> None:
    """Write new values of a locked run."""
    tx.run(sa.update(runs).where(runs.c.id == run_id).values(values))


def undelivered_runs(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Return the ids of runs that their agents should have taken by now, without a lock."""
    return [row.id for row in tx.rows(_LATE, {"now": now, "most": limit})]


def mark_undelivered(tx: Transaction, ids: Sequence[str]) -> None:
    """Give up those of these runs that still wait for their agents; the others have been taken meanwhile."""
    if ids:
        still = sa.and_(runs.c.id.in_(ids), runs.c.deliver_by.is_not(None))
        tx.run(sa.update(runs).where(still).values(deliver_by=None, undelivered=True))


def postpone_delivery(tx: Transaction, ids: Sequence[str], until: datetime) -> None:
    """Give these runs, if they still wait for their agents, more time."""
    if ids:
        still = sa.and_(runs.c.id.in_(ids), runs.c.deliver_by.is_not(None))
        tx.run(sa.update(runs).where(still).values(deliver_by=until))


def runs_page(
    tx: Transaction, account_id: str, region: str, wanted: RecordFilter, page: Page
) -> Listing[tuple[Invocation, Run]]:
    """Return one page of an account's runs with their invocations, newest first."""
    joined = runs.join(invocations, invocations.c.id == runs.c.invocation_id)
    conditions = in_invocations(account_id, region, wanted, runs)
    keys = [(runs.c.created_at, True), (runs.c.id, False)]
    found, ended = list_part(tx, sa.select(runs).select_from(joined).where(*conditions), keys, page)
    rows = [row._mapping for row in found]
    total = tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions))
    of = invocations_by_id(tx, list({row["invocation_id"] for row in rows}))
    return Listing([(of[row["invocation_id"]], _run(row)) for row in rows], total, ended)


def in_invocations(account_id: str, region: str, wanted: RecordFilter, table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a filter on records or runs that are joined with their invocations."""
    column = invocations.c
    conditions: list[sa.ColumnElement[bool]] = [
        column.account_id == account_id,
        column.region == region,
        sa.not_(column.is_file),
    ]
    if wanted.invocation_id is not None:
        conditions.append(table.c.invocation_id == wanted.invocation_id)
    if wanted.command_id is not None:
        conditions.append(column.command_id == wanted.command_id)
    if wanted.instance_id is not None:
        conditions.append(table.c.instance_id == wanted.instance_id)
    if wanted.statuses is not None:
        conditions.append(table.c.status.in_(wanted.statuses))
    return conditions + fleet.has_tags("invocation", column.id, wanted.tags)


def _run(row: Any) -> Run:
    values = {field.name: row[field.name] for field in fields(Run)}
    return Run(**values | {"status": Status(row["status"]), "output": bytes(row["output"])})
