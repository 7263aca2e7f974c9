"""Users of an account."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.ids import Draw
from backfleet.storage import Transaction

USERS_PER_ACCOUNT: Final = 1000


@dataclass(frozen=True, slots=True)
class User:
    """A user of an account."""

    id: str
    name: str
    display_name: str
    comments: str
    email: str
    mobile_phone: str
    created_at: datetime
    updated_at: datetime


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
    """A new user, who may do nothing yet.

    Raises:
        AlreadyExists: the name is taken.
        LimitReached: the account has USERS_PER_ACCOUNT.
    """
    _store.lock_account(tx, account_id)
    if _store.user(tx, account_id, name) is not None:
        raise AlreadyExists("User", name)
    if _store.count_users(tx, account_id) >= USERS_PER_ACCOUNT:
        raise LimitReached("User", USERS_PER_ACCOUNT)
    user_id = "2" + digits(draw, 17)
    made = User(user_id, name, display_name or name, comments, email, mobile_phone, now, now)
    _store.add_user(tx, account_id, made)
    return made


def find_user(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> User:
    """A user by name; `lock` keeps others from changing what belongs to them until the transaction ends.

    Raises:
        NotFound: the account has none of that name.
    """
    row = _store.user(tx, account_id, name, lock=lock)
    if row is None:
        raise NotFound("User", name)
    return user_from(row)


def list_users(tx: Transaction, account_id: str, *, after: str, limit: int) -> list[User]:
    """Users by name, from the first behind `after` on."""
    return [user_from(row) for row in _store.users_after(tx, account_id, after, limit)]


def update_user(
    tx: Transaction, account_id: str, name: str, *, new_name: str | None = None, now: datetime, **details: str | None
) -> User:
    """Change a name, or details by their field names; None leaves one as it is. Keys and policies stay.

    Raises:
        NotFound: no such user.
        AlreadyExists: another has the new name.
    """
    _store.lock_account(tx, account_id)
    found = find_user(tx, account_id, name, lock=True)
    if new_name is not None and new_name != name and _store.user(tx, account_id, new_name) is not None:
        raise AlreadyExists("User", new_name)
    changes: dict[str, Any] = {field: value for field, value in details.items() if value is not None}
    changes["name"] = new_name or name
    _store.change_user(tx, found.id, **changes, updated_at=now)
    return replace(found, **changes, updated_at=now)


def delete_user(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a user who has neither keys nor policies left, and is in no group.

    Raises:
        NotFound: no such user.
        StillInUse: keys, policies or groups are left.
    """
    found = find_user(tx, account_id, name, lock=True)
    if _store.keys_of(tx, account_id, found.id):
        raise StillInUse("User.AccessKey", name)
    if _store.attached_to(tx, ("User", found.id)):
        raise StillInUse("User.Policy", name)
    if _store.groups_of(tx, found.id):
        raise StillInUse("User.Group", name)
    _store.drop_user(tx, found.id)


def digits(draw: Draw, length: int) -> str:
    """Decimal digits from a source of letters and digits: accounts and users have numbers for ids."""
    return "".join(str(ord(character) % 10) for character in draw(length))


def user_from(row: sa.Row[Any]) -> User:
    """A row of the table as a user."""
    return User(
        row.id, row.name, row.display_name, row.comments, row.email, row.mobile_phone, row.created_at, row.updated_at
    )
