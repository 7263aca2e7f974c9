"""Parts of ordered lists, by number or after a position."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from backfleet.paging import Page, Position
from backfleet.storage._database import Transaction

Key = tuple[sa.Column[Any], bool]
"""A column that a list is ordered by, and whether from the highest value down."""


def list_part(
    tx: Transaction, query: sa.Select[Any], keys: Sequence[Key], page: Page
) -> tuple[Sequence[sa.Row[Any]], Position | None]:
    """Return the rows of one part of a list, and where it ended if there are more.

    Args:
        query: The rows in any order, with the columns of the keys among theirs.
        keys: What they are ordered by; together they are unique.
        page: The part. A position in it is one that this function returned for the same keys.
    """
    if page.after is not None:
        query = query.where(_comes_after(keys, page.after))
    ordered = query.order_by(*(column.desc() if descends else column for column, descends in keys))
    rows = tx.rows(ordered.limit(page.size + 1).offset(page.offset))
    if len(rows) <= page.size:
        return rows, None
    last = rows[page.size - 1]._mapping
    return rows[: page.size], tuple(last[column] for column, _ in keys)


def _comes_after(keys: Sequence[Key], position: Position) -> sa.ColumnElement[bool]:
    alternatives: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for (column, descends), value in zip(keys, position, strict=True):
        alternatives.append(sa.and_(*equal, column < value if descends else column > value))
        equal.append(column == value)
    return sa.or_(*alternatives)
