"""Groups of users: what is attached to a group holds for everybody in it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.users import User, digits, find_user, user_from
from backfleet.ids import Draw
from backfleet.storage import Transaction

GROUPS_PER_ACCOUNT: Final = 300
GROUPS_PER_USER: Final = 10


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users."""

    id: str
    name: str
    comments: str
    created_at: datetime
    updated_at: datetime


def create_group(
    tx: Transaction, account_id: str, name: str, *, comments: str = "", now: datetime, draw: Draw
) -> Group:
    """A new, empty group.

    Raises:
        AlreadyExists: the name is taken.
        LimitReached: the account has GROUPS_PER_ACCOUNT.
    """
    _store.lock_account(tx, account_id)
    if _store.group(tx, account_id, name) is not None:
        raise AlreadyExists("Group", name)
    if _store.count_groups(tx, account_id) >= GROUPS_PER_ACCOUNT:
        raise LimitReached("Group", GROUPS_PER_ACCOUNT)
    made = Group("4" + digits(draw, 17), name, comments, now, now)
    row = {"id": made.id, "name": name, "comments": comments, "created_at": now, "updated_at": now}
    _store.add_group(tx, account_id=account_id, **row)
    return made


def find_group(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Group:
    """A group by name; `lock` keeps others from changing what belongs to it until the transaction ends.

    Raises:
        NotFound: the account has none of that name.
    """
    row = _store.group(tx, account_id, name, lock=lock)
    if row is None:
        raise NotFound("Group", name)
    return _from_row(row)


def list_groups(tx: Transaction, account_id: str, *, after: str, limit: int) -> list[Group]:
    """Groups by name, from the first behind `after` on."""
    return [_from_row(row) for row in _store.groups_after(tx, account_id, after, limit)]


def update_group(
    tx: Transaction, account_id: str, name: str, *, new_name: str | None, comments: str | None, now: datetime
) -> Group:
    """Change name or comments; None leaves one as it is.

    Raises:
        NotFound: no such group.
        AlreadyExists: another has the new name.
    """
    _store.lock_account(tx, account_id)
    found = find_group(tx, account_id, name, lock=True)
    if new_name is not None and new_name != name and _store.group(tx, account_id, new_name) is not None:
        raise AlreadyExists("Group", new_name)
    changed = replace(
        found,
        name=found.name if new_name is None else new_name,
        comments=found.comments if comments is None else comments,
        updated_at=now,
    )
    _store.change_group(tx, found.id, name=changed.name, comments=changed.comments, updated_at=now)
    return changed


def delete_group(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a group that has neither members nor policies left.

    Raises:
        NotFound: no such group.
        StillInUse: members or policies are left.
    """
    found = find_group(tx, account_id, name, lock=True)
    if _store.members_after(tx, found.id, "", 1):
        raise StillInUse("Group.User", name)
    if _store.attached_to(tx, ("Group", found.id)):
        raise StillInUse("Group.Policy", name)
    _store.drop_group(tx, found.id)


def join_group(tx: Transaction, account_id: str, user_name: str, group_name: str, *, now: datetime) -> None:
    """Put a user into a group: from the next request on, what is attached to it holds for the user.

    Raises:
        NotFound: no such group or user.
        AlreadyExists: the user is in it.
        LimitReached: the user is in GROUPS_PER_USER.
    """
    # Group before user, here and nowhere the other way round: two callers must not wait for each other.
    group = find_group(tx, account_id, group_name, lock=True)
    user = find_user(tx, account_id, user_name, lock=True)
    held = {row.id for row in _store.groups_of(tx, user.id)}
    if group.id in held:
        raise AlreadyExists("User.Group", user_name)
    if len(held) >= GROUPS_PER_USER:
        raise LimitReached("User.Group", GROUPS_PER_USER)
    _store.add_member(tx, group.id, user.id, now)


def leave_group(tx: Transaction, account_id: str, user_name: str, group_name: str) -> None:
    """Take a user out of a group, from the next request on.

    Raises:
        NotFound: no such group or user, or the user is not in it.
    """
    group = find_group(tx, account_id, group_name)
    if not _store.drop_member(tx, group.id, find_user(tx, account_id, user_name).id):
        raise NotFound("User.Group", user_name)


def groups_of_user(tx: Transaction, account_id: str, user_name: str) -> list[tuple[Group, datetime]]:
    """The groups a user is in, by name, and since when.

    Raises:
        NotFound: no such user.
    """
    user = find_user(tx, account_id, user_name)
    return [(_from_row(row), row.joined_at) for row in _store.groups_of(tx, user.id)]


def users_in_group(
    tx: Transaction, account_id: str, group_name: str, *, after: str, limit: int
) -> list[tuple[User, datetime]]:
    """Who is in a group, by name, from the first behind `after` on, and since when.

    Raises:
        NotFound: no such group.
    """
    group = find_group(tx, account_id, group_name)
    return [(user_from(row), row.joined_at) for row in _store.members_after(tx, group.id, after, limit)]


def _from_row(row: sa.Row[Any]) -> Group:
    return Group(row.id, row.name, row.comments, row.created_at, row.updated_at)
