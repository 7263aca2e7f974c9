"""Request ids of agents that were used."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from backfleet.fleet._tables import requests
from backfleet.storage import Moment, Prepared, Transaction


def _add_each(insert: Any, marks: sa.ColumnElement[int]) -> Prepared:
    """Return the statement that adds those of many marks that are new, and returns these."""
    # SQLite would take the words ON CONFLICT for a join's, if nothing came before them.
    rows = sa.select(marks, sa.bindparam("expires", type_=Moment)).where(sa.true())
    return Prepared(
        insert(requests).from_select(["mark", "until"], rows).on_conflict_do_nothing().returning(requests.c.mark)
    )


_MARKS: Final = sa.bindparam("marks", type_=sa.Text)  # JSON
_ADD_EACH: Final = {
    "sqlite": _add_each(sqlite_insert, sa.func.json_each(_MARKS).table_valued("value").c.value),
    "postgresql": _add_each(
        postgresql_insert,
        sa.func.json_array_elements_text(sa.cast(_MARKS, sa.JSON)).table_valued("value").c.value.cast(sa.BigInteger),
    ),
}


def add(tx: Transaction, fingerprint: int, until: datetime) -> bool:
    """Remember a request until a moment. Return True to the one caller that added it."""
    return tx.add_if_new(requests, {"mark": fingerprint, "until": until})


def add_each(tx: Transaction, fingerprints: Collection[int], until: datetime) -> set[int]:
    """Remember requests until a moment. Return those that are new, each to the one caller that added it."""
    marks = json.dumps(sorted(fingerprints))
    return {row.mark for row in tx.rows(_ADD_EACH[tx.engine_name], {"marks": marks, "expires": until})}


def add_all(tx: Transaction, used: Sequence[tuple[int, datetime]]) -> None:
    """Remember many requests; those that are there already stay as they are."""
    tx.add_those_new(requests, [{"mark": fingerprint, "until": until} for fingerprint, until in sorted(used)])


def purge(tx: Transaction, now: datetime, limit: int) -> int:
    """Delete at most `limit` expired requests. Return how many were deleted."""
    expired = sa.select(requests.c.mark).where(requests.c.until < now).limit(limit)
    return tx.run(sa.delete(requests).where(requests.c.mark.in_(expired)))
