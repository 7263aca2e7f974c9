"""Pairs of accounts."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.identity._store.account_table import Row, count_of_account
from backfleet.identity._tables import pairs
from backfleet.identity.model import AccountPair
from backfleet.storage import Transaction


def add(tx: Transaction, pair: AccountPair) -> None:
    """Add a new pair."""
    row: dict[str, Any] = {"id": pair.id, "account_id": pair.account_id, "other_account_id": pair.other_account_id}
    names = {"role_name": pair.role_name, "folded_role_name": pair.role_name.lower(), "alias": pair.alias}
    tx.add(pairs, [{**row, **names, "created_at": pair.created_at, "updated_at": pair.updated_at}])


def rename(tx: Transaction, account_id: str, other: str, role_name: str, *, alias: str, now: datetime) -> bool:
    """Change the alias of a pair. Return False if there is no such pair."""
    query = sa.update(pairs).where(_is(account_id, other, role_name))
    return tx.run(query.values(alias=alias, updated_at=now)) > 0


def drop(tx: Transaction, account_id: str, other: str, role_name: str) -> bool:
    """Delete a pair. Return False if there was no such pair."""
    return tx.run(sa.delete(pairs).where(_is(account_id, other, role_name))) > 0


def exists(tx: Transaction, account_id: str, other: str, role_name: str) -> bool:
    """Return whether there is such a pair."""
    return tx.first(sa.select(pairs.c.id).where(_is(account_id, other, role_name))) is not None


def count(tx: Transaction, account_id: str) -> int:
    """Return how many pairs the account has."""
    return count_of_account(tx, pairs, account_id)


def of_account(tx: Transaction, account_id: str, offset: int, limit: int) -> list[AccountPair]:
    """Return a part of the account's pairs, oldest first."""
    query = sa.select(pairs).where(pairs.c.account_id == account_id).order_by(pairs.c.created_at, pairs.c.id)
    return [_pair(row) for row in tx.rows(query.offset(offset).limit(limit))]


def _is(account_id: str, other: str, role_name: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        pairs.c.account_id == account_id,
        pairs.c.other_account_id == other,
        pairs.c.folded_role_name == role_name.lower(),
    )


def _pair(row: Row) -> AccountPair:
    names = (row.account_id, row.other_account_id, row.role_name, row.alias)
    return AccountPair(row.id, *names, row.created_at, row.updated_at)
