"""Accounts: tenants that cannot see each other. The first is the administrator account, which creates the others."""

from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.access_keys import make_key
from backfleet.identity.errors import LimitReached
from backfleet.identity.ids import digits
from backfleet.identity.model import Account, NewAccessKey
from backfleet.identity.vault import Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction

MOST_ACCOUNTS: Final = 1000


def first_account(tx: Transaction, vault: Vault, *, now: datetime, draw: Draw) -> NewAccessKey | None:
    """Create the first account and its root key. Return None if it exists. Replicas that start together create one."""
    account_id = _new_id(draw)
    if not _store.accounts.add_first(tx, account_id, now):
        return None
    return make_key(tx, vault, account_id, None, now=now, draw=draw)


def create_account(tx: Transaction, vault: Vault, name: str, *, now: datetime, draw: Draw) -> NewAccessKey:
    """Create another account and its root key. The secret is returned this once; only its sealed form is stored.

    Raises:
        LimitReached: there are MOST_ACCOUNTS.
    """
    if _store.accounts.count(tx) >= MOST_ACCOUNTS:
        raise LimitReached("Account", MOST_ACCOUNTS)
    account_id = _new_id(draw)
    _store.accounts.add(tx, account_id, name, now)
    return make_key(tx, vault, account_id, None, now=now, draw=draw)


def list_accounts(tx: Transaction) -> list[Account]:
    """Return every account, oldest first."""
    return _store.accounts.by_age(tx)


def is_administrator_account(tx: Transaction, account_id: str) -> bool:
    """Return whether this is the account that runs the installation and changes what belongs to all accounts."""
    return _store.accounts.is_first(tx, account_id)


def administrator_account(tx: Transaction) -> str | None:
    """Return the id of the account that runs the installation; None before there is one."""
    return _store.accounts.first(tx)


def _new_id(draw: Draw) -> str:
    return "1" + digits(draw, 15)
