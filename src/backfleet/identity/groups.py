"""Groups of users. A policy that is attached to a group applies to every user in it."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.ids import digits
from backfleet.identity.model import Group, HolderKind, User
from backfleet.identity.named import NamedItems
from backfleet.identity.users import find_user
from backfleet.ids import Draw
from backfleet.storage import Transaction

GROUPS_PER_ACCOUNT: Final = 300
GROUPS_PER_USER: Final = 10
_GROUPS: Final = NamedItems("Group", _store.groups.TABLE)


def create_group(
    tx: Transaction, account_id: str, name: str, *, comments: str = "", now: datetime, draw: Draw
) -> Group:
    """Create an empty group.

    Raises:
        AlreadyExists: the name is taken.
        LimitReached: the account has GROUPS_PER_ACCOUNT.
    """
    _GROUPS.check_new(tx, account_id, name, GROUPS_PER_ACCOUNT)
    made = Group("4" + digits(draw, 17), name, comments, now, now)
    _store.groups.TABLE.add(tx, account_id, made)
    return made


def find_group(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Group:
    """Return a group. `lock` keeps others from changing what belongs to it until the transaction ends.

    Raises:
        NotFound: the account has none of that name.
    """
    return _GROUPS.find(tx, account_id, name, lock=lock)


def list_groups(tx: Transaction, account_id: str, *, after: str, limit: int) -> list[Group]:
    """Return the groups whose names come after `after`, by name, at most `limit`."""
    return _store.groups.TABLE.after(tx, account_id, after, limit)


def update_group(
    tx: Transaction, account_id: str, name: str, *, new_name: str | None, comments: str | None, now: datetime
) -> Group:
    """Change a group's name or comments; None leaves one as it is.

    Raises:
        NotFound: there is no such group.
        AlreadyExists: another group has the new name.
    """
    found = _GROUPS.find_to_rename(tx, account_id, name, new_name)
    changes: dict[str, Any] = {
        "name": found.name if new_name is None else new_name,
        "comments": found.comments if comments is None else comments,
        "updated_at": now,
    }
    _store.groups.TABLE.change(tx, found.id, **changes)
    return replace(found, **changes)


def delete_group(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a group that has neither members nor policies.

    Raises:
        NotFound: there is no such group.
        StillInUse: members or policies are left.
    """
    found = find_group(tx, account_id, name, lock=True)
    if _store.groups.members_after(tx, found.id, "", 1):
        raise StillInUse("Group.User", name)
    if _store.attachments.of_holder(tx, (HolderKind.GROUP, found.id)):
        raise StillInUse("Group.Policy", name)
    _store.groups.TABLE.drop(tx, found.id)


def join_group(tx: Transaction, account_id: str, user_name: str, group_name: str, *, now: datetime) -> None:
    """Add a user to a group. The group's policies apply to the user from the next request on.

    Raises:
        NotFound: there is no such group or user.
        AlreadyExists: the user is in the group.
        LimitReached: the user is in GROUPS_PER_USER groups.
    """
    # Everywhere the group is locked before the user, so that two calls cannot deadlock.
    group = find_group(tx, account_id, group_name, lock=True)
    user = find_user(tx, account_id, user_name, lock=True)
    joined = {joined_group.id for joined_group, _ in _store.groups.of_user(tx, user.id)}
    if group.id in joined:
        raise AlreadyExists("User.Group", user_name)
    if len(joined) >= GROUPS_PER_USER:
        raise LimitReached("User.Group", GROUPS_PER_USER)
    _store.groups.add_member(tx, group.id, user.id, now)


def leave_group(tx: Transaction, account_id: str, user_name: str, group_name: str) -> None:
    """Remove a user from a group, from the next request on.

    Raises:
        NotFound: there is no such group or user, or the user is not in the group.
    """
    group = find_group(tx, account_id, group_name)
    if not _store.groups.drop_member(tx, group.id, find_user(tx, account_id, user_name).id):
        raise NotFound("User.Group", user_name)


def groups_of_user(tx: Transaction, account_id: str, user_name: str) -> list[tuple[Group, datetime]]:
    """Return the groups a user is in, by name, and when the user joined each.

    Raises:
        NotFound: there is no such user.
    """
    return _store.groups.of_user(tx, find_user(tx, account_id, user_name).id)


def users_in_group(
    tx: Transaction, account_id: str, group_name: str, *, after: str, limit: int
) -> list[tuple[User, datetime]]:
    """Return the users in a group whose names come after `after`, by name, and when each joined.

    Raises:
        NotFound: there is no such group.
    """
    group = find_group(tx, account_id, group_name)
    return list(_store.groups.members_after(tx, group.id, after, limit))
