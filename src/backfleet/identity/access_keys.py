"""Access keys: of a user, or (no user named) of the account itself."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached, NotFound, StillInUse
from backfleet.identity.users import find_user
from backfleet.identity.vault import Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction

KEYS_EACH: Final = 2  # of a user or a root; enough to change from one to the next
SECRET_LENGTH: Final = 30  # characters of [a-z0-9]: 155 bits


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key without its secret."""

    id: str
    active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccessKey:
    """A key at the only moment its secret is shown. Prints without it."""

    account_id: str
    access_key_id: str
    access_key_secret: str = field(repr=False)
    created_at: datetime


def create_key(
    tx: Transaction, vault: Vault, account_id: str, user_name: str | None, *, now: datetime, draw: Draw
) -> NewAccessKey:
    """A new active key; its secret is in the answer and, but for its sealed form, nowhere else.

    Raises:
        NotFound: no such user.
        LimitReached: there are KEYS_EACH.
    """
    owner = _owner(tx, account_id, user_name, lock=True)
    if len(_store.keys_of(tx, account_id, owner)) >= KEYS_EACH:
        raise LimitReached("User.AccessKey", KEYS_EACH)
    return make_key(tx, vault, account_id, owner, now=now, draw=draw)


def make_key(
    tx: Transaction, vault: Vault, account_id: str, user_id: str | None, *, now: datetime, draw: Draw
) -> NewAccessKey:
    """A new active key, whatever others there are."""
    key = NewAccessKey(account_id, f"LTAI{draw(20)}", draw(SECRET_LENGTH), now)
    sealed = vault.seal(key.access_key_secret)
    row = {"id": key.access_key_id, "account_id": account_id, "user_id": user_id, "sealed_secret": sealed}
    _store.add_key(tx, **row, active=True, created_at=now)
    return key


def list_keys(tx: Transaction, account_id: str, user_name: str | None) -> list[AccessKey]:
    """The keys, oldest first.

    Raises:
        NotFound: no such user.
    """
    rows = _store.keys_of(tx, account_id, _owner(tx, account_id, user_name))
    return [AccessKey(row.id, row.active, row.created_at) for row in rows]


def set_key(tx: Transaction, account_id: str, user_name: str | None, key_id: str, *, active: bool) -> None:
    """Switch a key on or off: the next request with it sees the change.

    Raises:
        NotFound: no such user, or the user has no such key.
        StillInUse: it is the last active key of the account itself.
    """
    owner = _owner(tx, account_id, user_name, lock=True)
    if not active:
        _keep_a_root_key(tx, account_id, owner, key_id)
    if not _store.set_key(tx, account_id, owner, key_id, active=active):
        raise NotFound("User.AccessKey", key_id)


def delete_key(tx: Transaction, account_id: str, user_name: str | None, key_id: str) -> None:
    """Delete a key for good.

    Raises:
        NotFound: no such user, or the user has no such key.
        StillInUse: it is the last active key of the account itself.
    """
    owner = _owner(tx, account_id, user_name, lock=True)
    _keep_a_root_key(tx, account_id, owner, key_id)
    if not _store.drop_key(tx, account_id, owner, key_id):
        raise NotFound("User.AccessKey", key_id)


def _owner(tx: Transaction, account_id: str, user_name: str | None, *, lock: bool = False) -> str | None:
    """The user's id, None for the account itself; locked, so that two callers count the keys one after the other."""
    if user_name is not None:
        return find_user(tx, account_id, user_name, lock=lock).id
    if lock:
        _store.lock_account(tx, account_id)
    return None


def _keep_a_root_key(tx: Transaction, account_id: str, owner: str | None, key_id: str) -> None:
    """There is no way in beside the keys: without a last one nobody could make another."""
    if owner is not None:
        return
    active = {row.id for row in _store.keys_of(tx, account_id, None) if row.active}
    if active == {key_id}:
        raise StillInUse("Account.AccessKey", key_id)
