"""Users of an account."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from backfleet.identity import _store
from backfleet.identity.errors import StillInUse
from backfleet.identity.ids import digits
from backfleet.identity.model import HolderKind, User
from backfleet.identity.named import NamedItems
from backfleet.ids import Draw
from backfleet.storage import Transaction

USERS_PER_ACCOUNT: Final = 1000
_USERS: Final = NamedItems("User", _store.users.TABLE)


def create_user(
    tx: Transaction,
    account_id: str,
    name: str,
    *,
    display_name: str = "",
    comments: str = "",
    email: str = "",
    mobile_phone: str = "",
    now: datetime,
    draw: Draw,
) -> User:
    """Create a user, who may do nothing yet.

    Raises:
        AlreadyExists: the name is taken.
        LimitReached: the account has USERS_PER_ACCOUNT.
    """
    _USERS.check_new(tx, account_id, name, USERS_PER_ACCOUNT)
    user_id = "2" + digits(draw, 17)
    made = User(user_id, name, display_name or name, comments, email, mobile_phone, now, now)
    _store.users.TABLE.add(tx, account_id, made)
    return made


def find_user(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> User:
    """Return a user. `lock` keeps others from changing what belongs to the user until the transaction ends.

    Raises:
        NotFound: the account has none of that name.
    """
    return _USERS.find(tx, account_id, name, lock=lock)


def list_users(tx: Transaction, account_id: str, *, after: str, limit: int) -> list[User]:
    """Return the users whose names come after `after`, by name, at most `limit`."""
    return _store.users.TABLE.after(tx, account_id, after, limit)


def update_user(
    tx: Transaction, account_id: str, name: str, *, new_name: str | None = None, now: datetime, **details: str | None
) -> User:
    """Change a user's name, or details by their field names; None leaves one as it is. Keys and policies stay.

    Raises:
        NotFound: there is no such user.
        AlreadyExists: another user has the new name.
    """
    found = _USERS.find_to_rename(tx, account_id, name, new_name)
    changes: dict[str, Any] = {field: value for field, value in details.items() if value is not None}
    changes["name"] = new_name or name
    _store.users.TABLE.change(tx, found.id, **changes, updated_at=now)
    return replace(found, **changes, updated_at=now)


def delete_user(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a user who has neither keys nor policies, and is in no group.

    Raises:
        NotFound: there is no such user.
        StillInUse: keys, policies or groups are left.
    """
    found = find_user(tx, account_id, name, lock=True)
    if _store.access_keys.of_owner(tx, account_id, found.id):
        raise StillInUse("User.AccessKey", name)
    if _store.attachments.of_holder(tx, (HolderKind.USER, found.id)):
        raise StillInUse("User.Policy", name)
    if _store.groups.of_user(tx, found.id):
        raise StillInUse("User.Group", name)
    _store.users.TABLE.drop(tx, found.id)
