"""Attachments: the policies of users, groups and roles."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound
from backfleet.identity.groups import find_group
from backfleet.identity.model import SYSTEM, Holder, HolderKind, Policy
from backfleet.identity.policies import find_policy, system_policy
from backfleet.identity.roles import find_role
from backfleet.identity.users import find_user
from backfleet.storage import Transaction

POLICIES_PER_HOLDER: Final = 20  # of each type


def attach_policy(
    tx: Transaction, account_id: str, holder: str, name: str, kind: str, *, to: str = HolderKind.USER, now: datetime
) -> None:
    """Attach a policy to a user, group or role, from the next request on.

    Args:
        tx: the transaction to write in.
        account_id: the account.
        holder: the name of the user, group or role.
        name: the policy's name.
        kind: the policy's type, Custom or System.
        to: User, Group or Role.
        now: the time of the call.

    Raises:
        NotFound: there is no such holder or policy.
        AlreadyExists: the policy is attached already.
        LimitReached: the holder has POLICIES_PER_HOLDER of this type.
    """
    # Everywhere the policy is locked before the holder, so that two calls cannot deadlock.
    found = find_policy(tx, account_id, name, kind, lock=True)
    owner = _holder_id(tx, account_id, to, holder, lock=True)
    attached = [row.policy_name for row in _store.attachments.of_holder(tx, owner) if row.policy_type == kind]
    if found.name in attached:
        raise AlreadyExists(f"{to}.Policy", name)
    if len(attached) >= POLICIES_PER_HOLDER:
        raise LimitReached(f"{to}.Policy", POLICIES_PER_HOLDER)
    _store.attachments.attach(tx, account_id, owner, kind, found.name, now)


def detach_policy(
    tx: Transaction, account_id: str, holder: str, name: str, kind: str, *, of: str = HolderKind.USER
) -> None:
    """Detach a policy from a user, group or role (`of`), from the next request on.

    Raises:
        NotFound: there is no such holder or policy, or the policy is not attached.
    """
    find_policy(tx, account_id, name, kind)
    if not _store.attachments.detach(tx, _holder_id(tx, account_id, of, holder), kind, name):
        raise NotFound(f"{of}.Policy", name)


def policies_of(tx: Transaction, account_id: str, of: str, name: str) -> list[Policy]:
    """Return the policies attached to a user, group or role, by type and name. Those of a user's groups are left out.

    Raises:
        NotFound: there is no such holder.
    """
    found: list[Policy] = []
    for row in _store.attachments.of_holder(tx, _holder_id(tx, account_id, of, name)):
        policy = system_policy(row.policy_name) if row.policy_type == SYSTEM else None
        policy = policy or Policy(
            row.policy_name, row.policy_type, row.description, row.document, version=row.default_version
        )
        found.append(replace(policy, attached_at=row.attached_at))
    return found


def policies_of_user(tx: Transaction, account_id: str, user_name: str) -> list[Policy]:
    """Return the policies attached to a user. Those of the user's groups are left out. Raises NotFound."""
    return policies_of(tx, account_id, HolderKind.USER, user_name)


def holders_of(tx: Transaction, account_id: str, name: str, kind: str) -> list[Holder]:
    """Return the holders in the account that a policy is attached to: groups, roles, users, each by name.

    Raises:
        NotFound: there is no policy of that name and type, or it belongs to another account.
    """
    find_policy(tx, account_id, name, kind)
    since = _store.attachments.holders_of(tx, account_id, kind, name)
    found: list[Holder] = []
    for holder_kind in (HolderKind.GROUP, HolderKind.ROLE, HolderKind.USER):
        ids = [holder_id for each, holder_id in since if each is holder_kind]
        described = _store.attachments.described(tx, holder_kind, ids)
        found += [Holder(holder_kind, *facts, since[holder_kind, facts[0]]) for facts in described]
    return found


def _holder_id(tx: Transaction, account_id: str, kind: str, name: str, *, lock: bool = False) -> tuple[HolderKind, str]:
    if kind == HolderKind.GROUP:
        return HolderKind.GROUP, find_group(tx, account_id, name, lock=lock).id
    if kind == HolderKind.ROLE:
        return HolderKind.ROLE, find_role(tx, account_id, name, lock=lock).id
    return HolderKind.USER, find_user(tx, account_id, name, lock=lock).id
