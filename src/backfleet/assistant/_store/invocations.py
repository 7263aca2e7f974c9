"""The SQL on invocations, the files that they send, and the ClientTokens of the calls that made them."""

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet import fleet
from backfleet.assistant._store.patterns import like
from backfleet.assistant._tables import files, invocations, records, runs, tokens
from backfleet.assistant.model import Invocation, InvocationFilter, Repeat, SentFile
from backfleet.assistant.states import OVER, Overall, Status
from backfleet.idempotency import TokenStore
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction, list_part

client_tokens: Final = TokenStore(tokens, "answer")


def invocations_since(tx: Transaction, account_id: str, moment: datetime, limit: int) -> int:
    """Return the number of an account's invocations since a moment; at most `limit` are counted."""
    recent = sa.and_(invocations.c.account_id == account_id, invocations.c.created_at > moment)
    some = sa.select(invocations.c.id).where(recent).limit(limit).subquery()
    return int(tx.scalar(sa.select(sa.func.count()).select_from(some)))


def add_invocation(
    tx: Transaction,
    invocation: Invocation,
    *,
    instance_ids: Sequence[str],
    status: Status,
    next_at: datetime | None,
    at_boot: bool,
) -> None:
    """Add an invocation, and a record for each of its instances in their order."""
    values = {field.name: getattr(invocation, field.name) for field in fields(invocation)}
    tx.add(invocations, [values | {"parameters": json.dumps(dict(invocation.parameters))}])
    tx.add(
        records,
        [
            {
                "invocation_id": invocation.id,
                "instance_id": instance_id,
                "position": position,
                "status": status,
                "next_at": next_at,
                "at_boot": at_boot,
                "repeats": 0,
                "stop_asked": False,
                "created_at": invocation.created_at,
                "changed_at": invocation.created_at,
            }
            for position, instance_id in enumerate(instance_ids)
        ],
    )


def invocations_page(
    tx: Transaction, account_id: str, region: str, wanted: InvocationFilter, page: Page
) -> Listing[Invocation]:
    """Return one page of an account's invocations, newest first."""
    column = invocations.c
    conditions = [column.account_id == account_id, column.region == region, column.is_file == wanted.is_file]
    pairs: list[tuple[object, sa.ColumnElement[bool]]] = [
        (wanted.ids, column.id.in_(wanted.ids or ())),
        (wanted.command_id, column.command_id == wanted.command_id),
        (wanted.name, like(column.name, wanted.name or "")),
        (wanted.kind, column.kind == wanted.kind),
        (wanted.statuses, column.status.in_(wanted.statuses or ())),
        (wanted.repeat, column.repeat == wanted.repeat),
        (wanted.timed, (column.repeat == "Period") if wanted.timed else (column.repeat != "Period")),
        (wanted.instance_id, _has_instance(wanted.instance_id)),
    ]
    conditions += [condition for given, condition in pairs if given is not None]
    conditions += fleet.has_tags("invocation", column.id, wanted.tags)
    keys = [(column.created_at, True), (column.id, False)]
    rows, ended = list_part(tx, sa.select(invocations).where(*conditions), keys, page)
    total = tx.scalar(sa.select(sa.func.count()).select_from(invocations).where(*conditions))
    return Listing([_invocation(row._mapping) for row in rows], total, ended)


def _has_instance(instance_id: str | None) -> sa.ColumnElement[bool]:
    return sa.exists().where(records.c.invocation_id == invocations.c.id, records.c.instance_id == instance_id)


def invocations_by_id(tx: Transaction, ids: Sequence[str]) -> dict[str, Invocation]:
    """Return these invocations by id, of whatever account."""
    if not ids:
        return {}
    rows = tx.rows(sa.select(invocations).where(invocations.c.id.in_(ids)))
    return {row.id: _invocation(row._mapping) for row in rows}


def statuses_for_update(tx: Transaction, ids: Sequence[str]) -> dict[str, tuple[Overall, list[Status]]]:
    """Lock invocations in the order of their ids; return the status of each and those of its instances."""
    found: dict[str, tuple[Overall, list[Status]]] = {}
    if ids:
        query = sa.select(invocations.c.id, invocations.c.status).where(invocations.c.id.in_(ids))
        for row in tx.rows(query.order_by(invocations.c.id).with_for_update()):
            found[row.id] = (Overall(row.status), [])
        of_instances = sa.select(records.c.invocation_id, records.c.status).where(records.c.invocation_id.in_(ids))
        for row in tx.rows(of_instances):
            found[row.invocation_id][1].append(Status(row.status))
    return found


def set_overall(tx: Transaction, invocation_id: str, status: Overall) -> None:
    """Write the status of a locked invocation."""
    tx.run(sa.update(invocations).where(invocations.c.id == invocation_id).values(status=status))


def purge(tx: Transaction, before: datetime, limit: int) -> None:
    """Delete finished invocations older than a moment, at most `limit`, and all that belongs to them."""
    over = sa.and_(invocations.c.status.in_(sorted(OVER)), invocations.c.created_at < before)
    chosen = sa.select(invocations.c.id).where(over).order_by(invocations.c.created_at).limit(limit)
    ids = [row.id for row in tx.rows(chosen.with_for_update(skip_locked=True))]
    if ids:
        fleet.remove_tags(tx, "invocation", ids, None)
        for table in (runs, records, files):
            tx.run(sa.delete(table).where(table.c.invocation_id.in_(ids)))
        tx.run(sa.delete(invocations).where(invocations.c.id.in_(ids)))


def add_file(tx: Transaction, invocation_id: str, file: SentFile) -> None:
    """Add the file that an invocation sends."""
    values = {field.name: getattr(file, field.name) for field in fields(file)}
    tx.add(files, [values | {"invocation_id": invocation_id}])


def files_of(tx: Transaction, invocation_ids: Sequence[str]) -> dict[str, SentFile]:
    """Return the files that these invocations send, by invocation."""
    if not invocation_ids:
        return {}
    names = [field.name for field in fields(SentFile)]
    rows = tx.rows(sa.select(files).where(files.c.invocation_id.in_(invocation_ids)))
    return {row.invocation_id: SentFile(**{name: row._mapping[name] for name in names}) for row in rows}


def _invocation(row: Any) -> Invocation:
    values = {field.name: row[field.name] for field in fields(Invocation)}
    return Invocation(
        **values
        | {
            "parameters": json.loads(row["parameters"]),
            "repeat": Repeat(row["repeat"]),
            "status": Overall(row["status"]),
        }
    )
