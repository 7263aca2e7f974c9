"""Access keys, of users and of accounts themselves."""

from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity._store.account_table import Row
from backfleet.identity._tables import access_keys, users
from backfleet.identity.model import AccessKey, NewAccessKey, SealedKey
from backfleet.storage import Prepared, Transaction

# Built once: every request asks for its key.
_WITH_OWNER: Final = Prepared(
    sa.select(access_keys, users.c.name.label("user_name"))
    .select_from(access_keys.outerjoin(users, users.c.id == access_keys.c.user_id))
    .where(access_keys.c.id == sa.bindparam("key_id"))
)


def find_with_owner(tx: Transaction, access_key_id: str) -> Row | None:
    """Return a key's row with the name of its user as `user_name`, which is None for a key of an account itself."""
    return tx.first(_WITH_OWNER, {"key_id": access_key_id})


def as_read() -> sa.Select[Any]:
    """Return a query that finds a key if it is active and as `values_of` has it."""
    owned = access_keys.outerjoin(users, users.c.id == access_keys.c.user_id)
    return (
        sa.select(access_keys.c.id)
        .select_from(owned)
        .where(
            access_keys.c.id == sa.bindparam("key_id"),
            access_keys.c.active.is_(True),
            access_keys.c.account_id == sa.bindparam("key_account"),
            access_keys.c.sealed_secret == sa.bindparam("key_sealed"),
            access_keys.c.user_id.is_not_distinct_from(sa.bindparam("key_user", type_=sa.String)),
            users.c.name.is_not_distinct_from(sa.bindparam("key_user_name", type_=sa.String)),
        )
    )


_AS_READ: Final = Prepared(as_read())


def values_of(key: SealedKey) -> dict[str, Any]:
    """Return the values of `as_read`."""
    return {
        "key_id": key.access_key_id,
        "key_account": key.account_id,
        "key_sealed": key.sealed_secret,
        "key_user": key.user_id,
        "key_user_name": key.user_name,
    }


def is_as_read(tx: Transaction, key: SealedKey) -> bool:
    """Return whether a key is active and as it was read."""
    return tx.first(_AS_READ, values_of(key)) is not None


def is_active(tx: Transaction, access_key_id: str) -> bool:
    """Return whether a key exists and is active."""
    found = tx.first(sa.select(access_keys.c.active).where(access_keys.c.id == access_key_id))
    return found is not None and bool(found.active)


def add(tx: Transaction, key: NewAccessKey, user_id: str | None, sealed_secret: str) -> None:
    """Add a new active key."""
    row = {"id": key.access_key_id, "account_id": key.account_id, "user_id": user_id, "sealed_secret": sealed_secret}
    tx.add(access_keys, [{**row, "active": True, "created_at": key.created_at}])


def of_owner(tx: Transaction, account_id: str, user_id: str | None) -> list[AccessKey]:
    """Return the keys of a user, or of the account itself, oldest first."""
    query = sa.select(access_keys).where(_owned(account_id, user_id))
    rows = tx.rows(query.order_by(access_keys.c.created_at, access_keys.c.id))
    return [AccessKey(row.id, row.active, row.created_at) for row in rows]


def set_active(tx: Transaction, account_id: str, user_id: str | None, key_id: str, *, active: bool) -> bool:
    """Activate or deactivate a key. Return False if there is no such key."""
    query = sa.update(access_keys).where(_owned(account_id, user_id), access_keys.c.id == key_id)
    return tx.run(query.values(active=active)) > 0


def drop(tx: Transaction, account_id: str, user_id: str | None, key_id: str) -> bool:
    """Delete a key. Return False if there was no such key."""
    return tx.run(sa.delete(access_keys).where(_owned(account_id, user_id), access_keys.c.id == key_id)) > 0


def _owned(account_id: str, user_id: str | None) -> sa.ColumnElement[bool]:
    """Return the condition for the keys of a user; without a user, of the account itself."""
    return sa.and_(access_keys.c.account_id == account_id, access_keys.c.user_id == user_id)
