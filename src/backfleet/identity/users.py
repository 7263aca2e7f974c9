"""Users of an account."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.refusals import AlreadyExists, LimitReached, NotFound, StillInUse
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
    made = User(user_id, name, display_name or name, comments, email, mobile_phone, now)
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
    return _from_row(row)


def list_users(tx: Transaction, account_id: str, *, after: str, limit: int) -> list[User]:
    """Users by name, from the first behind `after` on."""
    return [_from_row(row) for row in _store.users_after(tx, account_id, after, limit)]


def delete_user(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a user who has neither keys nor policies left.

    Raises:
        NotFound: no such user.
        StillInUse: keys or policies are left.
    """
    found = find_user(tx, account_id, name, lock=True)
    if _store.keys_of(tx, account_id, found.id):
        raise StillInUse("User.AccessKey", name)
    if _store.attached_to(tx, found.id):
        raise StillInUse("User.Policy", name)
    _store.drop_user(tx, found.id)


def digits(draw: Draw, length: int) -> str:
    """Decimal digits from a source of letters and digits: accounts and users have numbers for ids."""
    return "".join(str(ord(character) % 10) for character in draw(length))


def _from_row(row: sa.Row[Any]) -> User:
    return User(row.id, row.name, row.display_name, row.comments, row.email, row.mobile_phone, row.created_at)
