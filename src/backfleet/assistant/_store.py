"""The only SQL on the assistant's tables."""

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from backfleet import fleet
from backfleet.assistant._tables import commands, files, invocations, records, runs, tokens
from backfleet.assistant.states import OPEN, OVER, Overall, Status
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

if TYPE_CHECKING:  # the nouns import this file; at run time they are made below
    from backfleet.assistant.invocations import (
        Command,
        CommandFilter,
        File,
        Invocation,
        InvocationFilter,
        Record,
        RecordFilter,
        Run,
        Usage,
    )

_OPEN: Final = sorted(OPEN)
_AT_WORK: Final = sorted(OPEN - {Status.SCHEDULED})
_NO_OUTPUT: Final = sa.literal(b"", sa.LargeBinary).label("output")


# --- Commands -------------------------------------------------------------------------------------------------------


def count_commands(tx: Transaction, account_id: str) -> int:
    """How many the account keeps."""
    mine = commands.c.account_id == account_id
    return int(tx.scalar(sa.select(sa.func.count()).select_from(commands).where(mine)))


def add_command(tx: Transaction, made: "Command") -> None:
    """A command to keep."""
    tx.add(commands, [_command_values(made)])


def update_command(tx: Transaction, changed: "Command") -> None:
    """What may change of it."""
    values = _command_values(changed)
    del values["id"], values["invoke_count"]
    tx.run(sa.update(commands).where(commands.c.id == changed.id).values(values))


def count_invocation(tx: Transaction, command_id: str) -> None:
    """Once more, if it is kept."""
    more = commands.c.invoke_count + 1
    tx.run(sa.update(commands).where(commands.c.id == command_id).values(invoke_count=more))


def drop_command(tx: Transaction, command_id: str) -> None:
    """And its tags."""
    fleet.remove_tags(tx, "command", [command_id], None)
    tx.run(sa.delete(commands).where(commands.c.id == command_id))


def commands_page(
    tx: Transaction, account_id: str, region: str, wanted: "CommandFilter", page: Page
) -> "Listing[Command]":
    """Newest first."""
    conditions: list[sa.ColumnElement[bool]] = [commands.c.account_id == account_id, commands.c.region == region]
    if wanted.ids is not None:
        conditions.append(commands.c.id.in_(wanted.ids))
    if wanted.name is not None:
        conditions.append(commands.c.name.like(_like(wanted.name), escape="\\"))
    if wanted.description is not None:
        conditions.append(commands.c.description.like(_like(wanted.description), escape="\\"))
    if wanted.kind is not None:
        conditions.append(commands.c.kind == wanted.kind)
    conditions += fleet.has_tags("command", commands.c.id, wanted.tags)
    ordered = sa.select(commands).where(*conditions).order_by(commands.c.created_at.desc(), commands.c.id)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(commands).where(*conditions))
    return Listing([_command(row) for row in rows], total)


def _command_values(made: "Command") -> dict[str, Any]:
    values = {field.name: getattr(made, field.name) for field in fields(made)}
    return values | {"parameter_names": json.dumps(made.parameter_names)}


def _command(row: sa.Row[Any]) -> "Command":
    from backfleet.assistant.invocations import Command

    return Command(**{**row._mapping, "parameter_names": tuple(json.loads(row.parameter_names))})


# --- Invocations ----------------------------------------------------------------------------------------------------


def invocations_since(tx: Transaction, account_id: str, moment: datetime, limit: int) -> int:
    """How many, counted up to a limit."""
    recent = sa.and_(invocations.c.account_id == account_id, invocations.c.created_at > moment)
    some = sa.select(invocations.c.id).where(recent).limit(limit).subquery()
    return int(tx.scalar(sa.select(sa.func.count()).select_from(some)))


def add_invocation(
    tx: Transaction,
    made: "Invocation",
    *,
    instance_ids: Sequence[str],
    status: Status,
    next_at: datetime | None,
    at_boot: bool,
) -> None:
    """With a record for each instance."""
    values = {field.name: getattr(made, field.name) for field in fields(made)}
    tx.add(invocations, [values | {"parameters": json.dumps(dict(made.parameters))}])
    tx.add(
        records,
        [
            {
                "invocation_id": made.id,
                "instance_id": instance_id,
                "position": position,
                "status": status,
                "next_at": next_at,
                "at_boot": at_boot,
                "repeats": 0,
                "stop_asked": False,
                "created_at": made.created_at,
                "changed_at": made.created_at,
            }
            for position, instance_id in enumerate(instance_ids)
        ],
    )


def invocations_page(
    tx: Transaction, account_id: str, region: str, wanted: "InvocationFilter", page: Page
) -> "Listing[Invocation]":
    """Newest first."""
    column = invocations.c
    conditions = [column.account_id == account_id, column.region == region, column.is_file == wanted.is_file]
    pairs: list[tuple[object, sa.ColumnElement[bool]]] = [
        (wanted.ids, column.id.in_(wanted.ids or ())),
        (wanted.command_id, column.command_id == wanted.command_id),
        (wanted.name, column.name.like(_like(wanted.name or ""), escape="\\")),
        (wanted.kind, column.kind == wanted.kind),
        (wanted.statuses, column.status.in_(wanted.statuses or ())),
        (wanted.repeat, column.repeat == wanted.repeat),
        (wanted.timed, (column.repeat == "Period") if wanted.timed else (column.repeat != "Period")),
        (wanted.instance_id, _has_instance(wanted.instance_id)),
    ]
    conditions += [condition for given, condition in pairs if given is not None]
    conditions += fleet.has_tags("invocation", column.id, wanted.tags)
    ordered = sa.select(invocations).where(*conditions).order_by(column.created_at.desc(), column.id)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(invocations).where(*conditions))
    return Listing([_invocation(row._mapping) for row in rows], total)


def _has_instance(instance_id: str | None) -> sa.ColumnElement[bool]:
    return sa.exists().where(records.c.invocation_id == invocations.c.id, records.c.instance_id == instance_id)


def invocations_by_id(tx: Transaction, ids: Sequence[str]) -> "dict[str, Invocation]":
    """Of any account."""
    if not ids:
        return {}
    rows = tx.rows(sa.select(invocations).where(invocations.c.id.in_(ids)))
    return {row.id: _invocation(row._mapping) for row in rows}


def settle(tx: Transaction, ids: Sequence[str]) -> dict[str, tuple[Overall, list[Status]]]:
    """Lock these invocations in the order of their ids; where each stood, and where its instances stand."""
    found: dict[str, tuple[Overall, list[Status]]] = {}
    if ids:
        query = sa.select(invocations.c.id, invocations.c.status).where(invocations.c.id.in_(ids))
        for row in tx.rows(query.order_by(invocations.c.id).with_for_update()):
            found[row.id] = (Overall(row.status), [])
        standing = sa.select(records.c.invocation_id, records.c.status).where(records.c.invocation_id.in_(ids))
        for row in tx.rows(standing):
            found[row.invocation_id][1].append(Status(row.status))
    return found


def set_overall(tx: Transaction, invocation_id: str, status: Overall) -> None:
    """Where a locked invocation stands."""
    tx.run(sa.update(invocations).where(invocations.c.id == invocation_id).values(status=status))


def forget(tx: Transaction, before: datetime, limit: int) -> None:
    """Forget invocations that are over and older than this, and tokens whose time is over."""
    over = sa.and_(invocations.c.status.in_(sorted(OVER)), invocations.c.created_at < before)
    chosen = sa.select(invocations.c.id).where(over).order_by(invocations.c.created_at).limit(limit)
    ids = [row.id for row in tx.rows(chosen.with_for_update(skip_locked=True))]
    if ids:
        fleet.remove_tags(tx, "invocation", ids, None)
        for table in (runs, records, files):
            tx.run(sa.delete(table).where(table.c.invocation_id.in_(ids)))
        tx.run(sa.delete(invocations).where(invocations.c.id.in_(ids)))


def forget_tokens(tx: Transaction, before: datetime) -> None:
    """Those whose time was over then."""
    tx.run(sa.delete(tokens).where(tokens.c.until < before))


def _invocation(row: Any) -> "Invocation":
    from backfleet.assistant.invocations import Invocation, Repeat

    said = {field.name: row[field.name] for field in fields(Invocation)}
    return Invocation(
        **said
        | {
            "parameters": json.loads(row["parameters"]),
            "repeat": Repeat(row["repeat"]),
            "status": Overall(row["status"]),
        }
    )


# --- Records and runs -----------------------------------------------------------------------------------------------


def due(tx: Transaction, now: datetime, limit: int) -> "list[Record]":
    """Records whose time has come, for this transaction alone."""
    query = sa.select(records).where(records.c.next_at <= now).order_by(records.c.next_at).limit(limit)
    rows = tx.rows(query.with_for_update(skip_locked=True))
    return _with_runs(tx, [row._mapping for row in rows])


def waiting_for_boot(tx: Transaction, instance_ids: Sequence[str]) -> "list[Record]":
    """Records on these instances that run when they boot, for this transaction alone."""
    if not instance_ids:
        return []
    waits = sa.and_(records.c.at_boot, records.c.instance_id.in_(instance_ids))
    query = sa.select(records).where(waits).order_by(records.c.invocation_id, records.c.instance_id)
    return _with_runs(tx, [row._mapping for row in tx.rows(query.with_for_update())])


def lock_records(tx: Transaction, invocation_id: str, instance_ids: Sequence[str] | None) -> "list[Record]":
    """Those of an invocation, for this transaction alone; None: on every instance."""
    which = [records.c.invocation_id == invocation_id]
    if instance_ids is not None:
        which.append(records.c.instance_id.in_(instance_ids))
    rows = tx.rows(sa.select(records).where(*which).order_by(records.c.instance_id).with_for_update())
    return _with_runs(tx, [row._mapping for row in rows])


def newest_runs(tx: Transaction, invocation_id: str) -> dict[str, str]:
    """The newest run on each instance that has one; not locked."""
    query = sa.select(records.c.instance_id, records.c.run_id)
    has_run = sa.and_(records.c.invocation_id == invocation_id, records.c.run_id.is_not(None))
    return {row.instance_id: row.run_id for row in tx.rows(query.where(has_run))}


def instances_of(tx: Transaction, invocation_id: str) -> list[str]:
    """Where it is to run."""
    query = sa.select(records.c.instance_id).where(records.c.invocation_id == invocation_id)
    return [row.instance_id for row in tx.rows(query)]


def change_record(tx: Transaction, record: "Record", **values: Any) -> None:
    """New values of a locked record."""
    this = sa.and_(records.c.invocation_id == record.invocation_id, records.c.instance_id == record.instance_id)
    tx.run(sa.update(records).where(this).values(values))


def note_status(tx: Transaction, run_id: str, status: Status, scheduled: bool, now: datetime) -> None:
    """A record whose newest run this is stands where its run stands, or waits for its next time."""
    of_run = records.c.run_id == run_id
    if not scheduled:
        tx.run(sa.update(records).where(of_run).values(status=status, changed_at=now))
        return
    goes_on = sa.or_(records.c.next_at.is_not(None), records.c.at_boot)
    status_then = sa.case((goes_on, Status.SCHEDULED.value), else_=status.value)
    tx.run(sa.update(records).where(of_run).values(status=status_then, changed_at=now))


def add_run(tx: Transaction, run: "Run", *, keep: int) -> None:
    """A new run; of its older ones only so many are kept."""
    tx.add(runs, [{field.name: getattr(run, field.name) for field in fields(run)}])
    same = sa.and_(runs.c.invocation_id == run.invocation_id, runs.c.instance_id == run.instance_id)
    if run.number > keep:
        tx.run(sa.delete(runs).where(same, runs.c.number <= run.number - keep))


def runs_for_update(tx: Transaction, ids: Sequence[str]) -> "dict[str, Run]":
    """Locked in the order of their ids."""
    if not ids:
        return {}
    rows = tx.rows(sa.select(runs).where(runs.c.id.in_(ids)).order_by(runs.c.id).with_for_update())
    return {row.id: _run(row._mapping) for row in rows}


def change_run(tx: Transaction, run_id: str, **values: Any) -> None:
    """New values of a locked run."""
    tx.run(sa.update(runs).where(runs.c.id == run_id).values(values))


def undelivered(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Runs that their agents should have taken by now; not locked."""
    late = sa.select(runs.c.id).where(runs.c.deliver_by <= now).order_by(runs.c.deliver_by).limit(limit)
    return [row.id for row in tx.rows(late)]


def give_up_delivery(tx: Transaction, ids: Sequence[str]) -> None:
    """Those that still wait for their agents; the others have been taken meanwhile."""
    if ids:
        still = sa.and_(runs.c.id.in_(ids), runs.c.deliver_by.is_not(None))
        tx.run(sa.update(runs).where(still).values(deliver_by=None, undelivered=True))


def put_off_delivery(tx: Transaction, ids: Sequence[str], until: datetime) -> None:
    """Look again at these then."""
    if ids:
        still = sa.and_(runs.c.id.in_(ids), runs.c.deliver_by.is_not(None))
        tx.run(sa.update(runs).where(still).values(deliver_by=until))


def something_due(tx: Transaction, now: datetime) -> bool:
    """Whether a record's time has come."""
    return tx.first(sa.select(records.c.instance_id).where(records.c.next_at <= now).limit(1)) is not None


def records_of(
    tx: Transaction, invocation_ids: Sequence[str], instance_id: str | None, *, output: bool
) -> "dict[str, list[Record]]":
    """In the order in which the instances were named."""
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
    tx: Transaction, account_id: str, region: str, wanted: "RecordFilter", page: Page
) -> "Listing[tuple[Invocation, Record]]":
    """Newest first."""
    joined = records.join(invocations, invocations.c.id == records.c.invocation_id)
    conditions = _record_conditions(account_id, region, wanted, records)
    ordered = (
        sa.select(records)
        .select_from(joined)
        .where(*conditions)
        .order_by(records.c.created_at.desc(), records.c.invocation_id, records.c.position)
    )
    rows = [row._mapping for row in tx.rows(ordered.limit(page.size).offset(page.offset))]
    total = tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions))
    of = invocations_by_id(tx, list({row["invocation_id"] for row in rows}))
    return Listing([(of[record.invocation_id], record) for record in _with_runs(tx, rows)], total)


def runs_page(
    tx: Transaction, account_id: str, region: str, wanted: "RecordFilter", page: Page
) -> "Listing[tuple[Invocation, Run]]":
    """Newest first."""
    joined = runs.join(invocations, invocations.c.id == runs.c.invocation_id)
    conditions = _record_conditions(account_id, region, wanted, runs)
    ordered = sa.select(runs).select_from(joined).where(*conditions).order_by(runs.c.created_at.desc(), runs.c.id)
    rows = [row._mapping for row in tx.rows(ordered.limit(page.size).offset(page.offset))]
    total = tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions))
    of = invocations_by_id(tx, list({row["invocation_id"] for row in rows}))
    return Listing([(of[row["invocation_id"]], _run(row)) for row in rows], total)


def _record_conditions(
    account_id: str, region: str, wanted: "RecordFilter", table: sa.Table
) -> list[sa.ColumnElement[bool]]:
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


def usage(tx: Transaction, instance_ids: Sequence[str]) -> "dict[str, Usage]":
    """From the records of each."""
    from backfleet.assistant.invocations import Usage

    if not instance_ids:
        return {}
    active = sa.func.sum(sa.case((records.c.status.in_(_AT_WORK), 1), else_=0)).label("active")
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


def _with_runs(tx: Transaction, rows: Sequence[Any], *, output: bool = True) -> "list[Record]":
    from backfleet.assistant.invocations import Record

    ids = [row["run_id"] for row in rows if row["run_id"]]
    columns = [column if output or column.name != "output" else _NO_OUTPUT for column in runs.c]
    newest: dict[str, Run] = {}
    if ids:
        newest = {row.id: _run(row._mapping) for row in tx.rows(sa.select(*columns).where(runs.c.id.in_(ids)))}
    names = [field.name for field in fields(Record) if field.name != "run"]
    return [
        Record(
            **{name: row[name] for name in names} | {"status": Status(row["status"])},
            run=newest.get(row["run_id"] or ""),
        )
        for row in rows
    ]


def _run(row: Any) -> "Run":
    from backfleet.assistant.invocations import Run

    said = {field.name: row[field.name] for field in fields(Run)}
    return Run(**said | {"status": Status(row["status"]), "output": bytes(row["output"])})


# --- Files and tokens -----------------------------------------------------------------------------------------------


def add_file(tx: Transaction, invocation_id: str, file: "File") -> None:
    """What an invocation sends."""
    values = {field.name: getattr(file, field.name) for field in fields(file)}
    tx.add(files, [values | {"invocation_id": invocation_id}])


def files_of(tx: Transaction, invocation_ids: Sequence[str]) -> "dict[str, File]":
    """By invocation."""
    from backfleet.assistant.invocations import File

    if not invocation_ids:
        return {}
    names = [field.name for field in fields(File)]
    rows = tx.rows(sa.select(files).where(files.c.invocation_id.in_(invocation_ids)))
    return {row.invocation_id: File(**{name: row._mapping[name] for name in names}) for row in rows}


def token(tx: Transaction, account_id: str, value: str, now: datetime) -> sa.Row[Any] | None:
    """What a token is bound to; one whose time is over is forgotten."""
    named = sa.and_(tokens.c.account_id == account_id, tokens.c.token == value)
    tx.run(sa.delete(tokens).where(named, tokens.c.until <= now))
    return tx.first(sa.select(tokens).where(named))


def add_token(tx: Transaction, account_id: str, value: str, fingerprint: str, answer: str, until: datetime) -> bool:
    """True for the one call that bound it."""
    row = {"account_id": account_id, "token": value, "fingerprint": fingerprint, "answer": answer, "until": until}
    return tx.add_if_new(tokens, row)


def _like(pattern: str) -> str:
    """SQL's pattern for one with `*`."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")
