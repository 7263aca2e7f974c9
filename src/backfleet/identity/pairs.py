"""Pairs of accounts: one looks after the servers of the other, by one of the other's roles.

A role may trust a service instead of an account; then it does not say for whom the service may act. The pair says it.
Source: Cloud Backup, cross-account backup by role; HBR 2017-09-08, AddCrossAccount.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached, NotFound
from backfleet.identity.users import digits
from backfleet.ids import Draw
from backfleet.storage import Transaction

MOST_PAIRS: Final = 1000  # of one account


@dataclass(frozen=True, slots=True)
class AccountPair:
    """An account, another one, and the other's role."""

    id: int
    account_id: str
    other_account_id: str
    role_name: str
    alias: str
    created_at: datetime
    updated_at: datetime


def pair_accounts(
    tx: Transaction, account_id: str, other: str, role_name: str, *, alias: str, now: datetime, draw: Draw
) -> None:
    """Pair two accounts; a pair that is there already gets the new alias.

    Raises:
        LimitReached: the account has MOST_PAIRS.
    """
    _store.lock_account(tx, account_id)
    if _store.rename_pair(tx, account_id, other, role_name, alias=alias, updated_at=now):
        return
    if _store.count_pairs(tx, account_id) >= MOST_PAIRS:
        raise LimitReached("CrossAccount", MOST_PAIRS)
    row = {"id": int("1" + digits(draw, 14)), "account_id": account_id, "other_account_id": other}
    named = {"role_name": role_name, "folded_role_name": role_name.lower(), "alias": alias}
    _store.add_pair(tx, **row, **named, created_at=now, updated_at=now)


def unpair_accounts(tx: Transaction, account_id: str, other: str, role_name: str) -> None:
    """Undo a pair.

    Raises:
        NotFound: there is no such pair.
    """
    if not _store.drop_pair(tx, account_id, other, role_name):
        raise NotFound("CrossAccount", f"{other}/{role_name}")


def are_paired(tx: Transaction, account_id: str, other: str, role_name: str) -> bool:
    """Whether the account registered the other one with this role. Letter case of roles does not count."""
    return _store.has_pair(tx, account_id, other, role_name)


def list_pairs(tx: Transaction, account_id: str, *, offset: int, limit: int) -> tuple[list[AccountPair], int]:
    """A part of the account's pairs, oldest first, and how many there are."""
    rows = _store.pairs_of(tx, account_id, offset, limit)
    return [_from_row(row) for row in rows], _store.count_pairs(tx, account_id)


def _from_row(row: sa.Row[Any]) -> AccountPair:
    return AccountPair(
        row.id, row.account_id, row.other_account_id, row.role_name, row.alias, row.created_at, row.updated_at
    )
