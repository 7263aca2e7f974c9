"""Minimum versions of packages."""

from typing import Any

import sqlalchemy as sa

from backfleet.fleet._tables import minimums
from backfleet.fleet.model import MinimumVersion
from backfleet.storage import Transaction


def put(tx: Transaction, new: MinimumVersion) -> MinimumVersion | None:
    """Store a minimum in place of the package's one, and return that. Raises Conflict: another call is storing one."""
    before = delete(tx, new.account_id, new.region, new.package)
    tx.add(minimums, [{column.name: getattr(new, column.name) for column in minimums.c}])
    return before


def delete(tx: Transaction, account_id: str, region: str, package: str) -> MinimumVersion | None:
    """Delete a package's minimum, and return it; None if there is none."""
    mine = sa.and_(_of(account_id, region), minimums.c.package == package)
    row = tx.first(sa.select(minimums).where(mine))
    tx.run(sa.delete(minimums).where(mine))
    return None if row is None else _minimum(row)


def of_account(tx: Transaction, account_id: str, region: str) -> list[MinimumVersion]:
    """Return an account's minimums, those first that are due first."""
    query = sa.select(minimums).where(_of(account_id, region)).order_by(minimums.c.due_at, minimums.c.package)
    return [_minimum(row) for row in tx.rows(query)]


def _of(account_id: str, region: str) -> sa.ColumnElement[bool]:
    return sa.and_(minimums.c.account_id == account_id, minimums.c.region == region)


def _minimum(row: sa.Row[Any]) -> MinimumVersion:
    return MinimumVersion(**row._mapping)
