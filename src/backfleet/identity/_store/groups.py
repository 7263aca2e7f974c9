"""Groups of users, and their members."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from backfleet.identity._store.account_table import AccountTable, Row
from backfleet.identity._store.users import read_user
from backfleet.identity._tables import groups, members, users
from backfleet.identity.model import Group, User
from backfleet.storage import Transaction


def _group(row: Row) -> Group:
    return Group(row.id, row.name, row.comments, row.created_at, row.updated_at)


TABLE: Final[AccountTable[Group]] = AccountTable(groups, _group, asdict)


def add_member(tx: Transaction, group_id: str, user_id: str, now: datetime) -> bool:
    """Add a user to a group. Return False if the user was in it."""
    return tx.add_if_new(members, {"group_id": group_id, "user_id": user_id, "joined_at": now})


def drop_member(tx: Transaction, group_id: str, user_id: str) -> bool:
    """Remove a user from a group. Return False if the user was not in it."""
    return tx.run(sa.delete(members).where(members.c.group_id == group_id, members.c.user_id == user_id)) > 0


def members_after(tx: Transaction, group_id: str, after: str, limit: int) -> Sequence[tuple[User, datetime]]:
    """Return the users in a group whose names come after this one, and when each joined."""
    query = sa.select(users, members.c.joined_at).join(members, members.c.user_id == users.c.id)
    query = query.where(members.c.group_id == group_id, users.c.name > after)
    return [(read_user(row), row.joined_at) for row in tx.rows(query.order_by(users.c.name).limit(limit))]


def of_user(tx: Transaction, user_id: str) -> list[tuple[Group, datetime]]:
    """Return the groups a user is in, by name, and when the user joined each."""
    query = sa.select(groups, members.c.joined_at).join(members, members.c.group_id == groups.c.id)
    rows = tx.rows(query.where(members.c.user_id == user_id).order_by(groups.c.name))
    return [(_group(row), row.joined_at) for row in rows]
