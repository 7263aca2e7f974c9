"""Accounts: tenants that cannot see each other. The first is the operator's: it makes the others."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.access_keys import NewAccessKey, make_key
from backfleet.identity.errors import LimitReached
from backfleet.identity.users import digits
from backfleet.identity.vault import Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction

MOST_ACCOUNTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant."""

    id: str
    name: str
    created_at: datetime
    is_administrator: bool


def first_account(tx: Transaction, vault: Vault, *, now: datetime, draw: Draw) -> NewAccessKey | None:
    """Make the first account and its root key; None if it exists. Replicas that start together make one."""
    account_id = _new_id(draw)
    if not _store.add_first_account(tx, account_id, now):
        return None
    return make_key(tx, vault, account_id, None, now=now, draw=draw)


def create_account(tx: Transaction, vault: Vault, name: str, *, now: datetime, draw: Draw) -> NewAccessKey:
    """Another account and its root key, whose secret is in the answer and, but for its sealed form, nowhere else.

    Raises:
        LimitReached: there are MOST_ACCOUNTS.
    """
    if _store.count_accounts(tx) >= MOST_ACCOUNTS:
        raise LimitReached("Account", MOST_ACCOUNTS)
    account_id = _new_id(draw)
    _store.add_account(tx, account_id, name, now)
    return make_key(tx, vault, account_id, None, now=now, draw=draw)


def list_accounts(tx: Transaction) -> list[Account]:
    """Every account, oldest first."""
    return [Account(row.id, row.name, row.created_at, bool(row.first)) for row in _store.accounts_by_age(tx)]


def is_administrator_account(tx: Transaction, account_id: str) -> bool:
    """Whether it is the account that runs this installation: what belongs to all is its business."""
    return _store.is_first(tx, account_id)


def _new_id(draw: Draw) -> str:
    return "1" + digits(draw, 15)
