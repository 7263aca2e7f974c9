"""Policies and whom they are attached to. Those of the system are code; an account's own are rows."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.policy import parse_document
from backfleet.identity.refusals import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.system_policies import SYSTEM_POLICIES
from backfleet.identity.users import find_user
from backfleet.storage import Transaction

CUSTOM: Final = "Custom"
SYSTEM: Final = "System"
POLICIES_PER_ACCOUNT: Final = 1500
POLICIES_PER_USER: Final = 20  # of each type


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. Those of the system have no date of their own here: they came with the program."""

    name: str
    kind: str  # System or Custom
    description: str
    document: str
    created_at: datetime | None = None
    attached: int = 0  # to how many users of the account
    attached_at: datetime | None = None  # to the user in question


def create_policy(
    tx: Transaction, account_id: str, name: str, document: str, *, description: str = "", now: datetime
) -> Policy:
    """A policy of the account's own.

    Raises:
        MalformedPolicy: the engine could not carry the document out to the letter.
        AlreadyExists: the name is taken, by the system or by the account.
        LimitReached: the account has POLICIES_PER_ACCOUNT.
    """
    parse_document(document)
    _store.lock_account(tx, account_id)
    if name in SYSTEM_POLICIES or _store.policy(tx, account_id, name) is not None:
        raise AlreadyExists("Policy", name)
    if _store.count_policies(tx, account_id) >= POLICIES_PER_ACCOUNT:
        raise LimitReached("Policy", POLICIES_PER_ACCOUNT)
    row = {"account_id": account_id, "name": name, "document": document, "description": description}
    _store.add_policy(tx, **row, created_at=now)
    return Policy(name, CUSTOM, description, document, now)


def find_policy(tx: Transaction, account_id: str, name: str, kind: str, *, lock: bool = False) -> Policy:
    """A policy by name and type; `lock` keeps others from attaching or deleting it until the transaction ends.

    Raises:
        NotFound: the account sees none of that name and type.
    """
    found = _system(name) if kind == SYSTEM else _custom(_store.policy(tx, account_id, name, lock=lock))
    if found is None:
        raise NotFound("Policy", name)
    # Counted only now: whoever held the lock before may have attached it.
    return replace(found, attached=_store.attachments_of(tx, account_id, [(kind, name)]).get((kind, name), 0))


def list_policies(
    tx: Transaction, account_id: str, *, kind: str | None, after: tuple[str, str] | None, limit: int
) -> list[Policy]:
    """Policies by (type, name): the account's own, then the system's; from the first behind `after` on."""
    found: list[Policy] = []
    after_kind, after_name = after or (CUSTOM, "")
    if kind != SYSTEM and after_kind == CUSTOM:
        rows = _store.policies_after(tx, account_id, after_name, limit)
        found += [policy for row in rows if (policy := _custom(row)) is not None]
        after_name = ""
    if kind != CUSTOM:
        found += [policy for name in sorted(SYSTEM_POLICIES) if name > after_name and (policy := _system(name))]
    page = found[:limit]
    counts = _store.attachments_of(tx, account_id, [(policy.kind, policy.name) for policy in page])
    return [replace(policy, attached=counts.get((policy.kind, policy.name), 0)) for policy in page]


def delete_policy(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a policy of the account's own that is attached to nobody.

    Raises:
        NotFound: the account has no policy of its own of that name.
        StillInUse: somebody has it.
    """
    if find_policy(tx, account_id, name, CUSTOM, lock=True).attached:
        raise StillInUse("Policy.User", name)
    _store.drop_policy(tx, account_id, name)


def attach_policy(tx: Transaction, account_id: str, user_name: str, name: str, kind: str, *, now: datetime) -> None:
    """Let a user do what a policy says, from their next request on.

    Raises:
        NotFound: no such user or policy.
        AlreadyExists: it is attached.
        LimitReached: the user has POLICIES_PER_USER of this type.
    """
    # Policy before user, here and nowhere the other way round: two callers must not wait for each other.
    found = find_policy(tx, account_id, name, kind, lock=True)
    owner = find_user(tx, account_id, user_name, lock=True)
    attached = [row.policy_name for row in _store.attached_to(tx, owner.id) if row.policy_type == kind]
    if found.name in attached:
        raise AlreadyExists("User.Policy", name)
    if len(attached) >= POLICIES_PER_USER:
        raise LimitReached("User.Policy", POLICIES_PER_USER)
    _store.attach(tx, account_id, owner.id, kind, found.name, now)


def detach_policy(tx: Transaction, account_id: str, user_name: str, name: str, kind: str) -> None:
    """Take a policy from a user, from their next request on.

    Raises:
        NotFound: no such user or policy, or it is not attached.
    """
    find_policy(tx, account_id, name, kind)
    if not _store.detach(tx, find_user(tx, account_id, user_name).id, kind, name):
        raise NotFound("User.Policy", name)


def policies_of_user(tx: Transaction, account_id: str, user_name: str) -> list[Policy]:
    """What is attached to a user, by type and name.

    Raises:
        NotFound: no such user.
    """
    owner = find_user(tx, account_id, user_name)
    found: list[Policy] = []
    for row in _store.attached_to(tx, owner.id):
        policy = _system(row.policy_name) if row.policy_type == SYSTEM else None
        policy = policy or Policy(row.policy_name, row.policy_type, row.description, row.document)
        found.append(replace(policy, attached_at=row.attached_at))
    return found


def _system(name: str) -> Policy | None:
    found = SYSTEM_POLICIES.get(name)
    return None if found is None else Policy(name, SYSTEM, found.description, found.document)


def _custom(row: sa.Row[Any] | None) -> Policy | None:
    return None if row is None else Policy(row.name, CUSTOM, row.description, row.document, row.created_at)
