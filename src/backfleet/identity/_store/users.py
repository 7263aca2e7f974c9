"""Users."""

from dataclasses import asdict
from typing import Final

from backfleet.identity._store.account_table import AccountTable, Row
from backfleet.identity._tables import users
from backfleet.identity.model import User


def read_user(row: Row) -> User:
    """Return the user in a row."""
    details = (row.display_name, row.comments, row.email, row.mobile_phone)
    return User(row.id, row.name, *details, row.created_at, row.updated_at)


TABLE: Final[AccountTable[User]] = AccountTable(users, read_user, asdict)
