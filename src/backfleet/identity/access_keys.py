"""Access keys of a user, or of the account itself if no user is named."""

from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached, NotFound, StillInUse
from backfleet.identity.model import AccessKey, NewAccessKey
from backfleet.identity.users import find_user
from backfleet.identity.vault import Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction

KEYS_EACH: Final = 2  # of a user or an account: enough to replace one by the next
SECRET_LENGTH: Final = 30  # characters of [a-z0-9]: 155 bits


def create_key(
    tx: Transaction, vault: Vault, account_id: str, user_name: str | None, *, now: datetime, draw: Draw
) -> NewAccessKey:
    """Create an active key. The secret is returned this once; only its sealed form is stored.

    Raises:
        NotFound: there is no such user.
        LimitReached: there are KEYS_EACH.
    """
    owner = _owner(tx, account_id, user_name, lock=True)
    if len(_store.access_keys.of_owner(tx, account_id, owner)) >= KEYS_EACH:
        raise LimitReached("User.AccessKey", KEYS_EACH)
    return make_key(tx, vault, account_id, owner, now=now, draw=draw)


def make_key(
    tx: Transaction, vault: Vault, account_id: str, user_id: str | None, *, now: datetime, draw: Draw
) -> NewAccessKey:
    """Create an active key, however many there are."""
    key = NewAccessKey(account_id, f"LTAI{draw(20)}", draw(SECRET_LENGTH), now)
    _store.access_keys.add(tx, key, user_id, vault.seal(key.access_key_secret))
    return key


def list_keys(tx: Transaction, account_id: str, user_name: str | None) -> list[AccessKey]:
    """Return the keys, oldest first.

    Raises:
        NotFound: there is no such user.
    """
    return _store.access_keys.of_owner(tx, account_id, _owner(tx, account_id, user_name))


def set_key(tx: Transaction, account_id: str, user_name: str | None, key_id: str, *, active: bool) -> None:
    """Activate or deactivate a key, from the next request on.

    Raises:
        NotFound: there is no such user, or the user has no such key.
        StillInUse: it is the last active key of the account itself.
    """
    owner = _owner(tx, account_id, user_name, lock=True)
    if not active:
        _check_not_last_root_key(tx, account_id, owner, key_id)
    if not _store.access_keys.set_active(tx, account_id, owner, key_id, active=active):
        raise NotFound("User.AccessKey", key_id)


def delete_key(tx: Transaction, account_id: str, user_name: str | None, key_id: str) -> None:
    """Delete a key for good.

    Raises:
        NotFound: there is no such user, or the user has no such key.
        StillInUse: it is the last active key of the account itself.
    """
    owner = _owner(tx, account_id, user_name, lock=True)
    _check_not_last_root_key(tx, account_id, owner, key_id)
    if not _store.access_keys.drop(tx, account_id, owner, key_id):
        raise NotFound("User.AccessKey", key_id)


def _owner(tx: Transaction, account_id: str, user_name: str | None, *, lock: bool = False) -> str | None:
    """Return the user's id, or None for the account itself. `lock` makes calls count keys one after the other."""
    if user_name is not None:
        return find_user(tx, account_id, user_name, lock=lock).id
    if lock:
        _store.accounts.lock(tx, account_id)
    return None


def _check_not_last_root_key(tx: Transaction, account_id: str, owner: str | None, key_id: str) -> None:
    """Refuse to take away the last root key: without it nobody could get in to create another."""
    if owner is not None:
        return
    active = {key.id for key in _store.access_keys.of_owner(tx, account_id, None) if key.active}
    if active == {key_id}:
        raise StillInUse("Account.AccessKey", key_id)
