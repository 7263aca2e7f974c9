"""Accounts."""

from datetime import datetime

import sqlalchemy as sa

from backfleet.identity._tables import accounts
from backfleet.identity.model import Account
from backfleet.storage import Transaction


def add_first(tx: Transaction, account_id: str, now: datetime) -> bool:
    """Add the installation's first account. Return True to the one caller that added it."""
    return tx.add_if_new(accounts, {"id": account_id, "created_at": now, "first": True})


def add(tx: Transaction, account_id: str, name: str, now: datetime) -> None:
    """Add another account."""
    tx.add(accounts, [{"id": account_id, "name": name, "created_at": now}])


def count(tx: Transaction) -> int:
    """Return how many accounts there are."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(accounts)))


def by_age(tx: Transaction) -> list[Account]:
    """Return every account, oldest first."""
    rows = tx.rows(sa.select(accounts).order_by(accounts.c.created_at, accounts.c.id))
    return [Account(row.id, row.name, row.created_at, bool(row.first)) for row in rows]


def is_first(tx: Transaction, account_id: str) -> bool:
    """Return whether this is the installation's first account."""
    return tx.first(sa.select(accounts.c.id).where(accounts.c.id == account_id, accounts.c.first)) is not None


def first(tx: Transaction) -> str | None:
    """Return the id of the installation's first account."""
    row = tx.first(sa.select(accounts.c.id).where(accounts.c.first))
    return None if row is None else str(row.id)


def lock(tx: Transaction, account_id: str) -> None:
    """Make others who lock the account wait until this transaction ends. Rows that only refer to it do not wait."""
    tx.first(sa.select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True))
