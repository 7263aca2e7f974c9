"""Policies, their versions, and whom they are attached to. Those of the system are code; an account's own are rows."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.groups import find_group
from backfleet.identity.policy import parse_document
from backfleet.identity.roles import find_role
from backfleet.identity.system_policies import SYSTEM_POLICIES
from backfleet.identity.users import find_user
from backfleet.storage import Transaction

CUSTOM: Final = "Custom"
SYSTEM: Final = "System"
POLICIES_PER_ACCOUNT: Final = 1500
POLICIES_PER_USER: Final = 20  # of each type; as many per group and per role
VERSIONS_PER_POLICY: Final = 5

USER: Final = "User"
GROUP: Final = "Group"
ROLE: Final = "Role"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. Those of the system have no date of their own here: they came with the program."""

    name: str
    kind: str  # System or Custom
    description: str
    document: str
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 1  # the default one's number; those of the system have one
    attached: int = 0  # to how many users, groups and roles of the account
    attached_at: datetime | None = None  # to the holder in question


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of a policy: the default one is in force."""

    number: int
    document: str
    is_default: bool
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A user, group or role that a policy is attached to."""

    kind: str  # User, Group or Role
    id: str
    name: str
    note: str  # display name, comments, description
    attached_at: datetime


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
    _store.add_policy(tx, account_id=account_id, name=name, document=document, description=description, now=now)
    return Policy(name, CUSTOM, description, document, now, now)


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


def set_policy_description(tx: Transaction, account_id: str, name: str, description: str, *, now: datetime) -> Policy:
    """Change the description of a policy of the account's own.

    Raises:
        NotFound: the account has no policy of its own of that name.
    """
    found = find_policy(tx, account_id, name, CUSTOM, lock=True)
    _store.change_policy(tx, account_id, name, description=description, updated_at=now)
    return replace(found, description=description, updated_at=now)


def delete_policy(tx: Transaction, account_id: str, name: str, *, versions_too: bool = False) -> None:
    """Delete a policy of the account's own that is attached to nobody.

    Raises:
        NotFound: the account has no policy of its own of that name.
        StillInUse: somebody has it, or it has versions beside the default one and these are not to go too.
    """
    find_policy(tx, account_id, name, CUSTOM, lock=True)
    held_by = _store.holders_of(tx, account_id, CUSTOM, name)
    if held_by:
        raise StillInUse(f"Policy.{held_by[0].holder_kind}", name)
    if not versions_too and len(_store.versions_of(tx, account_id, name)) > 1:
        raise StillInUse("Policy.Version", name)
    _store.drop_policy(tx, account_id, name)


# --- Versions -------------------------------------------------------------------------------------------------------


def add_version(
    tx: Transaction,
    account_id: str,
    name: str,
    document: str,
    *,
    default: bool = False,
    rotate: bool = False,
    now: datetime,
) -> PolicyVersion:
    """One more version of a policy of the account's own; `default` puts it in force. Numbers are never given twice.

    `rotate` makes room by dropping the oldest version that is not the default.

    Raises:
        MalformedPolicy: the engine could not carry the document out to the letter.
        NotFound: the account has no policy of its own of that name.
        LimitReached: it has VERSIONS_PER_POLICY.
    """
    parse_document(document)
    row = _own(tx, account_id, name)
    versions = _store.versions_of(tx, account_id, name)
    if len(versions) >= VERSIONS_PER_POLICY:
        if not rotate:
            raise LimitReached("Policy.Version", VERSIONS_PER_POLICY)
        oldest = next(version.number for version in versions if version.number != row.default_version)
        _store.drop_version(tx, account_id, name, oldest)
    number = row.last_version + 1
    _store.add_version(tx, account_id, name, number, document, now)
    changes = {"default_version": number} if default else {}
    _store.change_policy(tx, account_id, name, **changes, last_version=number, updated_at=now)
    return PolicyVersion(number, document, default, now)


def list_versions(tx: Transaction, account_id: str, name: str, kind: str) -> list[PolicyVersion]:
    """The versions of a policy, oldest first.

    Raises:
        NotFound: the account sees no policy of that name and type.
    """
    found = find_policy(tx, account_id, name, kind)
    if kind == SYSTEM:
        return [PolicyVersion(1, found.document, True)]
    return [
        PolicyVersion(row.number, row.document, row.number == found.version, row.created_at)
        for row in _store.versions_of(tx, account_id, name)
    ]


def find_version(tx: Transaction, account_id: str, name: str, kind: str, number: int) -> PolicyVersion:
    """One version of a policy.

    Raises:
        NotFound: no such policy or version.
    """
    for version in list_versions(tx, account_id, name, kind):
        if version.number == number:
            return version
    raise NotFound("Policy.Version", f"v{number}")


def set_default_version(tx: Transaction, account_id: str, name: str, number: int, *, now: datetime) -> None:
    """Put a version in force, from the next request on.

    Raises:
        NotFound: no such policy of the account's own, or no such version.
    """
    _own(tx, account_id, name)
    find_version(tx, account_id, name, CUSTOM, number)
    _store.change_policy(tx, account_id, name, default_version=number, updated_at=now)


def delete_version(tx: Transaction, account_id: str, name: str, number: int) -> None:
    """Delete a version that is not in force.

    Raises:
        NotFound: no such policy of the account's own, or no such version.
        StillInUse: it is the default.
    """
    row = _own(tx, account_id, name)
    find_version(tx, account_id, name, CUSTOM, number)
    if number == row.default_version:
        raise StillInUse("Policy.Version.Default", f"v{number}")
    _store.drop_version(tx, account_id, name, number)


def _own(tx: Transaction, account_id: str, name: str) -> sa.Row[Any]:
    """A policy of the account's own, locked. Raises NotFound."""
    row = _store.policy(tx, account_id, name, lock=True)
    if row is None:
        raise NotFound("Policy", name)
    return row


# --- Attachments ----------------------------------------------------------------------------------------------------


def attach_policy(
    tx: Transaction, account_id: str, holder: str, name: str, kind: str, *, to: str = USER, now: datetime
) -> None:
    """Let a user, group or role (`to`) of this name do what a policy says, from the next request on.

    Raises:
        NotFound: no such holder or policy.
        AlreadyExists: it is attached.
        LimitReached: the holder has POLICIES_PER_USER of this type.
    """
    # Policy before holder, here and nowhere the other way round: two callers must not wait for each other.
    found = find_policy(tx, account_id, name, kind, lock=True)
    owner = _holder(tx, account_id, to, holder, lock=True)
    attached = [row.policy_name for row in _store.attached_to(tx, owner) if row.policy_type == kind]
    if found.name in attached:
        raise AlreadyExists(f"{to}.Policy", name)
    if len(attached) >= POLICIES_PER_USER:
        raise LimitReached(f"{to}.Policy", POLICIES_PER_USER)
    _store.attach(tx, account_id, owner, kind, found.name, now)


def detach_policy(tx: Transaction, account_id: str, holder: str, name: str, kind: str, *, of: str = USER) -> None:
    """Take a policy from a user, group or role (`of`), from the next request on.

    Raises:
        NotFound: no such holder or policy, or it is not attached.
    """
    find_policy(tx, account_id, name, kind)
    if not _store.detach(tx, _holder(tx, account_id, of, holder), kind, name):
        raise NotFound(f"{of}.Policy", name)


def policies_of(tx: Transaction, account_id: str, of: str, name: str) -> list[Policy]:
    """What is attached to a user, group or role itself, by type and name.

    Raises:
        NotFound: no such holder.
    """
    found: list[Policy] = []
    for row in _store.attached_to(tx, _holder(tx, account_id, of, name)):
        policy = _system(row.policy_name) if row.policy_type == SYSTEM else None
        policy = policy or Policy(
            row.policy_name, row.policy_type, row.description, row.document, version=row.default_version
        )
        found.append(replace(policy, attached_at=row.attached_at))
    return found


def policies_of_user(tx: Transaction, account_id: str, user_name: str) -> list[Policy]:
    """What is attached to a user, not counting their groups. Raises NotFound."""
    return policies_of(tx, account_id, USER, user_name)


def holders_of(tx: Transaction, account_id: str, name: str, kind: str) -> list[Holder]:
    """To whom in the account a policy is attached: groups, roles, users, each by name.

    Raises:
        NotFound: the account sees no policy of that name and type.
    """
    find_policy(tx, account_id, name, kind)
    rows = _store.holders_of(tx, account_id, kind, name)
    since = {(row.holder_kind, row.holder_id): row.attached_at for row in rows}
    found: list[Holder] = []
    for holder_kind, note in ((GROUP, "comments"), (ROLE, "description"), (USER, "display_name")):
        named = _store.holders(tx, holder_kind, [held for kind_, held in since if kind_ == holder_kind])
        found += [
            Holder(holder_kind, row.id, row.name, getattr(row, note), since[holder_kind, row.id]) for row in named
        ]
    return found


def _holder(tx: Transaction, account_id: str, kind: str, name: str, *, lock: bool = False) -> tuple[str, str]:
    if kind == GROUP:
        return kind, find_group(tx, account_id, name, lock=lock).id
    if kind == ROLE:
        return kind, find_role(tx, account_id, name, lock=lock).id
    return USER, find_user(tx, account_id, name, lock=lock).id


def _system(name: str) -> Policy | None:
    found = SYSTEM_POLICIES.get(name)
    return None if found is None else Policy(name, SYSTEM, found.description, found.document)


def _custom(row: sa.Row[Any] | None) -> Policy | None:
    if row is None:
        return None
    made, changed = row.created_at, row.updated_at
    return Policy(row.name, CUSTOM, row.description, row.document, made, changed, row.default_version)
