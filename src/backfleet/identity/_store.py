"""The only SQL on identity's tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from backfleet.identity._tables import (
    access_keys,
    accounts,
    attachments,
    groups,
    members,
    nonces,
    oidc_providers,
    pairs,
    policies,
    policy_versions,
    roles,
    users,
)
from backfleet.storage import Transaction

if TYPE_CHECKING:
    from backfleet.identity.users import User

Row = sa.Row[Any]


# --- Accounts -------------------------------------------------------------------------------------------------------


def add_first_account(tx: Transaction, account_id: str, now: datetime) -> bool:
    """True for the one caller who made the installation's first account."""
    return tx.add_if_new(accounts, {"id": account_id, "created_at": now, "first": True})


def add_account(tx: Transaction, account_id: str, name: str, now: datetime) -> None:
    """One more account."""
    tx.add(accounts, [{"id": account_id, "name": name, "created_at": now}])


def count_accounts(tx: Transaction) -> int:
    """How many there are."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(accounts)))


def accounts_by_age(tx: Transaction) -> Sequence[Row]:
    """Every account, oldest first."""
    return tx.rows(sa.select(accounts).order_by(accounts.c.created_at, accounts.c.id))


def is_first(tx: Transaction, account_id: str) -> bool:
    """Whether it is the installation's first account."""
    return tx.first(sa.select(accounts.c.id).where(accounts.c.id == account_id, accounts.c.first)) is not None


def lock_account(tx: Transaction, account_id: str) -> None:
    """Others who count what the account has wait until this transaction ends; rows that only name it do not."""
    tx.first(sa.select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True))


# --- Pairs of accounts ----------------------------------------------------------------------------------------------


def add_pair(tx: Transaction, **row: Any) -> None:
    """One more pair."""
    tx.add(pairs, [row])


def rename_pair(tx: Transaction, account_id: str, other: str, role_name: str, **changes: Any) -> bool:
    """Change a pair; whether it is there."""
    return tx.run(sa.update(pairs).where(_pair(account_id, other, role_name)).values(**changes)) > 0


def drop_pair(tx: Transaction, account_id: str, other: str, role_name: str) -> bool:
    """Forget a pair; whether it was there."""
    return tx.run(sa.delete(pairs).where(_pair(account_id, other, role_name))) > 0


def has_pair(tx: Transaction, account_id: str, other: str, role_name: str) -> bool:
    """Whether it is there."""
    return tx.first(sa.select(pairs.c.id).where(_pair(account_id, other, role_name))) is not None


def count_pairs(tx: Transaction, account_id: str) -> int:
    """How many the account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(pairs).where(pairs.c.account_id == account_id)))


def pairs_of(tx: Transaction, account_id: str, offset: int, limit: int) -> Sequence[Row]:
    """A part of the account's, oldest first."""
    query = sa.select(pairs).where(pairs.c.account_id == account_id).order_by(pairs.c.created_at, pairs.c.id)
    return tx.rows(query.offset(offset).limit(limit))


def _pair(account_id: str, other: str, role_name: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        pairs.c.account_id == account_id,
        pairs.c.other_account_id == other,
        pairs.c.folded_role_name == role_name.lower(),
    )


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


def is_key_active(tx: Transaction, access_key_id: str) -> bool:
    """Whether the key exists and is switched on."""
    found = tx.first(sa.select(access_keys.c.active).where(access_keys.c.id == access_key_id))
    return found is not None and bool(found.active)


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
    tx.add(users, [{**row, **rest, "created_at": user.created_at, "updated_at": user.updated_at}])


def change_user(tx: Transaction, user_id: str, **row: Any) -> None:
    """Change what is known of a user."""
    tx.run(sa.update(users).where(users.c.id == user_id).values(**row))


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


# --- Groups ---------------------------------------------------------------------------------------------------------


def add_group(tx: Transaction, **row: Any) -> None:
    """A new group; a name that is taken is a Conflict."""
    tx.add(groups, [row])


def group(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Row | None:
    """A group by name, locked against changes by others if asked for."""
    query = sa.select(groups).where(groups.c.account_id == account_id, groups.c.name == name)
    return tx.first(query.with_for_update() if lock else query)


def groups_after(tx: Transaction, account_id: str, after: str, limit: int) -> Sequence[Row]:
    """Groups whose names come behind this one."""
    query = sa.select(groups).where(groups.c.account_id == account_id, groups.c.name > after)
    return tx.rows(query.order_by(groups.c.name).limit(limit))


def count_groups(tx: Transaction, account_id: str) -> int:
    """How many groups the account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(groups).where(groups.c.account_id == account_id)))


def change_group(tx: Transaction, group_id: str, **row: Any) -> None:
    """Change what is known of a group."""
    tx.run(sa.update(groups).where(groups.c.id == group_id).values(**row))


def drop_group(tx: Transaction, group_id: str) -> None:
    """Delete a group; members and attachments must be gone before."""
    tx.run(sa.delete(groups).where(groups.c.id == group_id))


def add_member(tx: Transaction, group_id: str, user_id: str, now: datetime) -> bool:
    """True unless the user was in it."""
    return tx.add_if_new(members, {"group_id": group_id, "user_id": user_id, "joined_at": now})


def drop_member(tx: Transaction, group_id: str, user_id: str) -> int:
    """How many were taken out: 0 or 1."""
    return tx.run(sa.delete(members).where(members.c.group_id == group_id, members.c.user_id == user_id))


def members_after(tx: Transaction, group_id: str, after: str, limit: int) -> Sequence[Row]:
    """Users in a group whose names come behind this one, with the moment they joined."""
    query = sa.select(users, members.c.joined_at).join(members, members.c.user_id == users.c.id)
    query = query.where(members.c.group_id == group_id, users.c.name > after)
    return tx.rows(query.order_by(users.c.name).limit(limit))


def groups_of(tx: Transaction, user_id: str) -> Sequence[Row]:
    """The groups a user is in, with the moment they joined."""
    query = sa.select(groups, members.c.joined_at).join(members, members.c.group_id == groups.c.id)
    return tx.rows(query.where(members.c.user_id == user_id).order_by(groups.c.name))


# --- Roles ----------------------------------------------------------------------------------------------------------


def add_role(tx: Transaction, **row: Any) -> None:
    """A new role; a name that is taken, in any letter case, is a Conflict."""
    tx.add(roles, [row])


def role(tx: Transaction, account_id: str, folded_name: str, *, lock: bool = False) -> Row | None:
    """A role by its name in small letters, locked against changes by others if asked for."""
    query = sa.select(roles).where(roles.c.account_id == account_id, roles.c.folded_name == folded_name)
    return tx.first(query.with_for_update() if lock else query)


def roles_by_id(tx: Transaction, ids: Sequence[str]) -> dict[str, Row]:
    """Those of these roles that exist."""
    return {row.id: row for row in tx.rows(sa.select(roles).where(roles.c.id.in_(set(ids))))}


def roles_after(tx: Transaction, account_id: str, after: str, limit: int) -> Sequence[Row]:
    """Roles whose names come behind this one."""
    query = sa.select(roles).where(roles.c.account_id == account_id, roles.c.name > after)
    return tx.rows(query.order_by(roles.c.name).limit(limit))


def count_roles(tx: Transaction, account_id: str) -> int:
    """How many roles the account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(roles).where(roles.c.account_id == account_id)))


def change_role(tx: Transaction, role_id: str, **row: Any) -> None:
    """Change what is known of a role."""
    tx.run(sa.update(roles).where(roles.c.id == role_id).values(**row))


def drop_role(tx: Transaction, role_id: str) -> None:
    """Delete a role; attachments must be gone before."""
    tx.run(sa.delete(roles).where(roles.c.id == role_id))


# --- Identity providers ---------------------------------------------------------------------------------------------


def add_provider(tx: Transaction, **row: Any) -> None:
    """A new identity provider; a name that is taken is a Conflict."""
    tx.add(oidc_providers, [row])


def provider(tx: Transaction, account_id: str, name: str) -> Row | None:
    """An identity provider by name."""
    named = sa.and_(oidc_providers.c.account_id == account_id, oidc_providers.c.name == name)
    return tx.first(sa.select(oidc_providers).where(named))


def providers_of(tx: Transaction, account_id: str) -> Sequence[Row]:
    """Every identity provider of the account, by name."""
    query = sa.select(oidc_providers).where(oidc_providers.c.account_id == account_id)
    return tx.rows(query.order_by(oidc_providers.c.name))


def has_provider(tx: Transaction, provider_id: str) -> bool:
    """Whether there is an identity provider of this id."""
    return tx.first(sa.select(oidc_providers.c.id).where(oidc_providers.c.id == provider_id)) is not None


def count_providers(tx: Transaction, account_id: str) -> int:
    """How many identity providers the account has."""
    counted = sa.select(sa.func.count()).select_from(oidc_providers)
    return int(tx.scalar(counted.where(oidc_providers.c.account_id == account_id)))


def change_provider(tx: Transaction, provider_id: str, **row: Any) -> None:
    """Change what is known of an identity provider."""
    tx.run(sa.update(oidc_providers).where(oidc_providers.c.id == provider_id).values(**row))


def drop_provider(tx: Transaction, provider_id: str) -> None:
    """Delete an identity provider."""
    tx.run(sa.delete(oidc_providers).where(oidc_providers.c.id == provider_id))


# --- Policies -------------------------------------------------------------------------------------------------------

_WITH_DOCUMENT: Final = sa.select(policies, policy_versions.c.document).join(
    policy_versions,
    sa.and_(
        policy_versions.c.account_id == policies.c.account_id,
        policy_versions.c.policy_name == policies.c.name,
        policy_versions.c.number == policies.c.default_version,
    ),
)


def add_policy(tx: Transaction, *, account_id: str, name: str, document: str, description: str, now: datetime) -> None:
    """A new policy of an account's own, with its first version; a name that is taken is a Conflict."""
    row = {"account_id": account_id, "name": name, "description": description, "created_at": now, "updated_at": now}
    tx.add(policies, [{**row, "default_version": 1, "last_version": 1}])
    add_version(tx, account_id, name, 1, document, now)


def policy(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Row | None:
    """A policy of an account's own with its default document, locked against changes by others if asked for."""
    if lock:  # first, so that what is read afterwards is what the holder before left
        named = sa.and_(policies.c.account_id == account_id, policies.c.name == name)
        tx.first(sa.select(policies.c.name).where(named).with_for_update())
    return tx.first(_WITH_DOCUMENT.where(policies.c.account_id == account_id, policies.c.name == name))


def policies_after(tx: Transaction, account_id: str, after: str, limit: int) -> Sequence[Row]:
    """Policies of an account's own whose names come behind this one."""
    query = _WITH_DOCUMENT.where(policies.c.account_id == account_id, policies.c.name > after)
    return tx.rows(query.order_by(policies.c.name).limit(limit))


def count_policies(tx: Transaction, account_id: str) -> int:
    """How many policies of its own the account has."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(policies).where(policies.c.account_id == account_id)))


def change_policy(tx: Transaction, account_id: str, name: str, **row: Any) -> None:
    """Change what is known of a policy."""
    tx.run(sa.update(policies).where(policies.c.account_id == account_id, policies.c.name == name).values(**row))


def drop_policy(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a policy of an account's own and its versions; it must be attached to nobody."""
    tx.run(
        sa.delete(policy_versions).where(
            policy_versions.c.account_id == account_id, policy_versions.c.policy_name == name
        )
    )
    tx.run(sa.delete(policies).where(policies.c.account_id == account_id, policies.c.name == name))


def add_version(tx: Transaction, account_id: str, name: str, number: int, document: str, now: datetime) -> None:
    """One more version of a policy."""
    row = {"account_id": account_id, "policy_name": name, "number": number, "document": document, "created_at": now}
    tx.add(policy_versions, [row])


def versions_of(tx: Transaction, account_id: str, name: str) -> Sequence[Row]:
    """The versions of a policy, oldest first."""
    query = sa.select(policy_versions).where(
        policy_versions.c.account_id == account_id, policy_versions.c.policy_name == name
    )
    return tx.rows(query.order_by(policy_versions.c.number))


def drop_version(tx: Transaction, account_id: str, name: str, number: int) -> None:
    """Delete a version; it must not be the default."""
    named = sa.and_(policy_versions.c.account_id == account_id, policy_versions.c.policy_name == name)
    tx.run(sa.delete(policy_versions).where(named, policy_versions.c.number == number))


# --- Attachments ----------------------------------------------------------------------------------------------------


def attach(
    tx: Transaction, account_id: str, holder: tuple[str, str], policy_type: str, policy_name: str, now: datetime
) -> None:
    """Attach a policy to a holder (kind, id); a second time is a Conflict."""
    kind, holder_id = holder
    row = {"account_id": account_id, "holder_kind": kind, "holder_id": holder_id, "policy_type": policy_type}
    tx.add(attachments, [{**row, "policy_name": policy_name, "attached_at": now}])


def detach(tx: Transaction, holder: tuple[str, str], policy_type: str, policy_name: str) -> int:
    """How many attachments were taken away: 0 or 1."""
    named = sa.and_(attachments.c.policy_type == policy_type, attachments.c.policy_name == policy_name)
    kind, holder_id = holder
    held = sa.and_(attachments.c.holder_kind == kind, attachments.c.holder_id == holder_id)
    return tx.run(sa.delete(attachments).where(held, named))


_ATTACHED: Final = sa.select(
    attachments, policies.c.description, policies.c.default_version, policy_versions.c.document
)
_ATTACHED_DOCUMENTS: Final = _ATTACHED.select_from(
    attachments.outerjoin(
        policies,
        sa.and_(
            attachments.c.policy_type == "Custom",
            policies.c.account_id == attachments.c.account_id,
            policies.c.name == attachments.c.policy_name,
        ),
    ).outerjoin(
        policy_versions,
        sa.and_(
            policy_versions.c.account_id == policies.c.account_id,
            policy_versions.c.policy_name == policies.c.name,
            policy_versions.c.number == policies.c.default_version,
        ),
    )
).order_by(attachments.c.policy_type, attachments.c.policy_name)
_HELD_BY: Final = sa.and_(
    attachments.c.holder_kind == sa.bindparam("of_kind"), attachments.c.holder_id == sa.bindparam("of_holder")
)
_ATTACHED_TO: Final = _ATTACHED_DOCUMENTS.where(_HELD_BY)
_ATTACHED_TO_USER: Final = _ATTACHED_DOCUMENTS.where(
    sa.or_(
        _HELD_BY,
        sa.and_(
            attachments.c.holder_kind == "Group",
            attachments.c.holder_id.in_(
                sa.select(members.c.group_id).where(members.c.user_id == sa.bindparam("of_holder"))
            ),
        ),
    )
)


def attached_to(tx: Transaction, holder: tuple[str, str]) -> Sequence[Row]:
    """A holder's policies, with the default document and description of those that are the account's own."""
    return tx.rows(_ATTACHED_TO, {"of_kind": holder[0], "of_holder": holder[1]})


def attached_to_user_and_groups(tx: Transaction, user_id: str) -> Sequence[Row]:
    """A user's policies, and those of every group the user is in."""
    return tx.rows(_ATTACHED_TO_USER, {"of_kind": "User", "of_holder": user_id})


def holders_of(tx: Transaction, account_id: str, policy_type: str, policy_name: str) -> Sequence[Row]:
    """To whom in the account a policy is attached: holder_kind, holder_id, attached_at."""
    query = sa.select(attachments).where(attachments.c.account_id == account_id)
    query = query.where(attachments.c.policy_type == policy_type, attachments.c.policy_name == policy_name)
    return tx.rows(query.order_by(attachments.c.holder_kind, attachments.c.holder_id))


def holders(tx: Transaction, kind: str, ids: Sequence[str]) -> Sequence[Row]:
    """These users, groups or roles, by name."""
    table = {"User": users, "Group": groups, "Role": roles}[kind]
    return tx.rows(sa.select(table).where(table.c.id.in_(ids)).order_by(table.c.name)) if ids else []


def attachments_of(tx: Transaction, account_id: str, named: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How many holders in the account each of these policies (type, name) is attached to; 0 is left out."""
    kind, name = attachments.c.policy_type, attachments.c.policy_name
    query = sa.select(kind, name, sa.func.count().label("holders")).where(
        attachments.c.account_id == account_id, name.in_({asked for _, asked in named})
    )
    return {(row.policy_type, row.policy_name): row.holders for row in tx.rows(query.group_by(kind, name))}


# --- Nonces ---------------------------------------------------------------------------------------------------------


def add_nonce(tx: Transaction, access_key_id: str, nonce: str, until: datetime) -> bool:
    """True for the one request that brought this nonce first."""
    return tx.add_if_new(nonces, {"access_key_id": access_key_id, "nonce": nonce, "until": until})


def drop_nonces(tx: Transaction, now: datetime, limit: int) -> int:
    """Forget nonces whose time is over, `limit` at the most; rows another replica is forgetting are left to it."""
    over = sa.select(nonces.c.access_key_id, nonces.c.nonce).where(nonces.c.until < now).order_by(nonces.c.until)
    over = over.limit(limit).with_for_update(skip_locked=True)
    return tx.run(sa.delete(nonces).where(sa.tuple_(nonces.c.access_key_id, nonces.c.nonce).in_(over)))
