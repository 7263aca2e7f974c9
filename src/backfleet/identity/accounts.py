"""Accounts: for now the one that the first start makes."""

from datetime import datetime

from backfleet.identity import _store
from backfleet.identity.keys import NewKey, make_key
from backfleet.identity.users import digits
from backfleet.identity.vault import Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction


def first_account(tx: Transaction, vault: Vault, *, now: datetime, draw: Draw) -> NewKey | None:
    """Make the first account and its root key; None if it exists. Replicas that start together make one."""
    account_id = "1" + digits(draw, 15)
    if not _store.add_first_account(tx, account_id, now):
        return None
    return make_key(tx, vault, account_id, None, now=now, draw=draw)
