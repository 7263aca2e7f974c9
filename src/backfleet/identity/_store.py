"""The only SQL on identity's tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from backfleet.identity._tables import access_keys, accounts, attachments, nonces, policies, users
from backfleet.storage import Transaction

if TYPE_CHECKING:
    from backfleet.identity.users import User

Row = sa.Row[Any]


# --- Accounts -------------------------------------------------------------------------------------------------------


def add_first_account(tx: Transaction, account_id: str, now: datetime) -> bool:
    """True for the one caller who made the installation's first account."""
    return tx.add_if_new(accounts, {"id": account_id, "created_at": now, "first": True})


def lock_account(tx: Transaction, account_id: str) -> None:
    """Others who count what the account has wait until this transaction ends; rows that only name it do not."""
    tx.first(sa.select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True))


# --- Keys -----------------------------------------------------------------------------------------------------------


# Every request asks this and `_ATTACHED_TO`: built once, they take less than half the time.
_KEY_WITH_OWNER: Final = (
    sa.select(access_keys, users.c.name.label("user_name"))
    .select_from(access_keys.outerjoin(users, users.c.id == access_keys.c.user_id))
    .where(access_keys.c.id == sa.bindparam("key_id"))
)


def key_with_owner(tx: Transaction, access_key_id: str) -> Row | None:
    """A key and the name of its user, if it has one."""
    return tx.first(_KEY_WITH_OWNER, {"key_id": access_key_id})


def add_key(tx: Transaction, **row: Any) -> None:
    """A new access key."""
    tx.add(access_keys, [row])


def keys_of(tx: Transaction, account_id: str, user_id: str | None) -> Sequence[Row]:
    """The keys of a user, or of the account itself, oldest first."""
    query = sa.select(access_keys).where(_owned(account_id, user_id))
    return tx.rows(query.order_by(access_keys.c.created_at, access_keys.c.id))


def set_key(tx: Transaction, account_id: str, user_id: str | None, key_id: str, *, active: bool) -> int:
    """Switch a key on or off; how many there were: 0 or 1."""
    query = sa.update(access_keys).where(_owned(account_id, user_id), access_keys.c.id == key_id)
    return tx.run(query.values(active=active))


def drop_key(tx: Transaction, account_id: str, user_id: str | None, key_id: str) -> int:
    """Delete a key; how many there were: 0 or 1."""
    return tx.run(sa.delete(access_keys).where(_owned(account_id, user_id), access_keys.c.id == key_id))


def _owned(account_id: str, user_id: str | None) -> sa.ColumnElement[bool]:
    """Keys of a user; without one, those of the account itself."""
    return sa.and_(access_keys.c.account_id == account_id, access_keys.c.user_id == user_id)


# --- Users ----------------------------------------------------------------------------------------------------------


def add_user(tx: Transaction, account_id: str, user: "User") -> None:
    """A new user; a name that is taken is a Conflict."""
    row = {"id": user.id, "account_id": account_id, "name": user.name, "display_name": user.display_name}
    rest = {"comments": user.comments, "email": user.email, "mobile_phone": user.mobile_phone}
    tx.add(users, [{**row, **rest, "created_at": user.created_at}])


def user(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Row | None:
    """A user by name, locked against changes by others if asked for."""
    query = sa.select(users).where(users.c.account_id == account_id, users.c.name == name)
    return tx.first(query.with_for_update() if lock else query)


def users_after(tx: Transaction, account_id: str, after: str, limit: int) -> Sequence[Row]:
    """Users whose names come behind this one."""
    query = sa.select(users).where(users.c.account_id == account_id, users.c.name > after)
    return tx.rows(query.order_by(users.c.name).limit(limit))


def count_users(tx: Transaction, account_id: str) -> int:
    """How many users the account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(users).where(users.c.account_id == account_id)))


def drop_user(tx: Transaction, user_id: str) -> None:
    """Delete a user; keys and attachments must be gone before."""
    tx.run(sa.delete(users).where(users.c.id == user_id))


# --- Policies -------------------------------------------------------------------------------------------------------


def add_policy(tx: Transaction, **row: Any) -> None:
    """A new policy of an account's own; a name that is taken is a Conflict."""
    tx.add(policies, [row])


def policy(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Row | None:
    """A policy of an account's own, locked against changes by others if asked for."""
    query = sa.select(policies).where(policies.c.account_id == account_id, policies.c.name == name)
    return tx.first(query.with_for_update() if lock else query)


def policies_after(tx: Transaction, account_id: str, after: str, limit: int) -> Sequence[Row]:
    """Policies of an account's own whose names come behind this one."""
    query = sa.select(policies).where(policies.c.account_id == account_id, policies.c.name > after)
    return tx.rows(query.order_by(policies.c.name).limit(limit))


def count_policies(tx: Transaction, account_id: str) -> int:
    """How many policies of its own the account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(policies).where(policies.c.account_id == account_id)))


def drop_policy(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a policy of an account's own; it must be attached to nobody."""
    tx.run(sa.delete(policies).where(policies.c.account_id == account_id, policies.c.name == name))


# --- Attachments ----------------------------------------------------------------------------------------------------


def attach(tx: Transaction, account_id: str, user_id: str, policy_type: str, policy_name: str, now: datetime) -> None:
    """Attach a policy to a user; a second time is a Conflict."""
    row = {"account_id": account_id, "user_id": user_id, "policy_type": policy_type, "policy_name": policy_name}
    tx.add(attachments, [{**row, "attached_at": now}])


def detach(tx: Transaction, user_id: str, policy_type: str, policy_name: str) -> int:
    """How many attachments were taken away: 0 or 1."""
    named = sa.and_(attachments.c.policy_type == policy_type, attachments.c.policy_name == policy_name)
    return tx.run(sa.delete(attachments).where(attachments.c.user_id == user_id, named))


_ATTACHED_TO: Final = (
    sa.select(attachments, policies.c.document, policies.c.description)
    .select_from(
        attachments.outerjoin(
            policies,
            sa.and_(
                attachments.c.policy_type == "Custom",
                policies.c.account_id == attachments.c.account_id,
                policies.c.name == attachments.c.policy_name,
            ),
        )
    )
    .where(attachments.c.user_id == sa.bindparam("of_user"))
    .order_by(attachments.c.policy_type, attachments.c.policy_name)
)


def attached_to(tx: Transaction, user_id: str) -> Sequence[Row]:
    """A user's policies, with document and description of those that are the account's own."""
    return tx.rows(_ATTACHED_TO, {"of_user": user_id})


def attachments_of(tx: Transaction, account_id: str, named: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How many users of the account each of these policies (type, name) is attached to; 0 is left out."""
    kind, name = attachments.c.policy_type, attachments.c.policy_name
    query = sa.select(kind, name, sa.func.count().label("users")).where(
        attachments.c.account_id == account_id, name.in_({asked for _, asked in named})
    )
    return {(row.policy_type, row.policy_name): row.users for row in tx.rows(query.group_by(kind, name))}


# --- Nonces ---------------------------------------------------------------------------------------------------------


def add_nonce(tx: Transaction, access_key_id: str, nonce: str, until: datetime) -> bool:
    """True for the one request that brought this nonce first."""
    return tx.add_if_new(nonces, {"access_key_id": access_key_id, "nonce": nonce, "until": until})


def drop_nonces(tx: Transaction, now: datetime, limit: int) -> int:
    """Forget nonces whose time is over, `limit` at the most; rows another replica is forgetting are left to it."""
    over = sa.select(nonces.c.access_key_id, nonces.c.nonce).where(nonces.c.until < now).order_by(nonces.c.until)
    over = over.limit(limit).with_for_update(skip_locked=True)
    return tx.run(sa.delete(nonces).where(sa.tuple_(nonces.c.access_key_id, nonces.c.nonce).in_(over)))
