"""Pairs of accounts: one account looks after the servers of another, by one of the other's roles.

A role may trust a service instead of an account. Such a trust does not say for which account the service may act; the
pair does. Source: Cloud Backup, cross-account backup by role; HBR 2017-09-08, AddCrossAccount.
"""

from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached, NotFound
from backfleet.identity.ids import digits
from backfleet.identity.model import AccountPair
from backfleet.ids import Draw
from backfleet.storage import Transaction

MOST_PAIRS: Final = 1000  # of one account


def pair_accounts(
    tx: Transaction, account_id: str, other: str, role_name: str, *, alias: str, now: datetime, draw: Draw
) -> None:
    """Pair two accounts. A pair that exists gets the new alias.

    Raises:
        LimitReached: the account has MOST_PAIRS.
    """
    _store.accounts.lock(tx, account_id)
    if _store.account_pairs.rename(tx, account_id, other, role_name, alias=alias, now=now):
        return
    if _store.account_pairs.count(tx, account_id) >= MOST_PAIRS:
        raise LimitReached("CrossAccount", MOST_PAIRS)
    _store.account_pairs.add(
        tx, AccountPair(int("1" + digits(draw, 14)), account_id, other, role_name, alias, now, now)
    )


def unpair_accounts(tx: Transaction, account_id: str, other: str, role_name: str) -> None:
    """Delete a pair.

    Raises:
        NotFound: there is no such pair.
    """
    if not _store.account_pairs.drop(tx, account_id, other, role_name):
        raise NotFound("CrossAccount", f"{other}/{role_name}")


def are_paired(tx: Transaction, account_id: str, other: str, role_name: str) -> bool:
    """Return whether the account is paired with the other one by this role. The role's letter case does not matter."""
    return _store.account_pairs.exists(tx, account_id, other, role_name)


def list_pairs(tx: Transaction, account_id: str, *, offset: int, limit: int) -> tuple[list[AccountPair], int]:
    """Return a part of the account's pairs, oldest first, and how many there are in all."""
    found = _store.account_pairs.of_account(tx, account_id, offset, limit)
    return found, _store.account_pairs.count(tx, account_id)
