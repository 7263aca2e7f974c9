"""Policies. System policies are code and the same for all accounts; custom policies belong to one account."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.model import CUSTOM, SYSTEM, Policy
from backfleet.identity.policy import parse_document
from backfleet.identity.system_policies import SYSTEM_POLICIES
from backfleet.storage import Transaction

POLICIES_PER_ACCOUNT: Final = 1500


def create_policy(
    tx: Transaction,
    account_id: str,
    name: str,
    document: str,
    *,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    now: datetime,
) -> Policy:
    """Create a custom policy.

    Raises:
        MalformedPolicy: the engine could not carry out the document exactly.
        AlreadyExists: a system policy or a policy of the account has the name.
        LimitReached: the account has POLICIES_PER_ACCOUNT.
    """
    parse_document(document)
    _store.accounts.lock(tx, account_id)
    if name in SYSTEM_POLICIES or _store.policies.find(tx, account_id, name) is not None:
        raise AlreadyExists("Policy", name)
    if _store.policies.count(tx, account_id) >= POLICIES_PER_ACCOUNT:
        raise LimitReached("Policy", POLICIES_PER_ACCOUNT)
    _store.policies.add(tx, account_id, name, document, description, now)
    if tags:
        _store.tags.put(tx, account_id, "Policy", name, tags)
    return Policy(name, CUSTOM, description, document, now, now)


def find_policy(tx: Transaction, account_id: str, name: str, kind: str, *, lock: bool = False) -> Policy:
    """Return a policy by name and type. `lock` keeps others from attaching or deleting it until the transaction ends.

    Raises:
        NotFound: there is none of that name and type, or it belongs to another account.
    """
    found = system_policy(name) if kind == SYSTEM else _store.policies.find(tx, account_id, name, lock=lock)
    if found is None:
        raise NotFound("Policy", name)
    # Counted after locking, because the previous holder of the lock may have attached it.
    return replace(found, attached=_store.attachments.counts(tx, account_id, [(kind, name)]).get((kind, name), 0))


def list_policies(
    tx: Transaction, account_id: str, *, kind: str | None, after: tuple[str, str] | None, limit: int
) -> list[Policy]:
    """Return policies by type and name: custom ones, then system policies.

    Args:
        tx: the transaction to read in.
        account_id: the account.
        kind: Custom or System; None for both.
        after: type and name of the last policy on the previous page; None for the first page.
        limit: how many at most.
    """
    found: list[Policy] = []
    after_kind, after_name = after or (CUSTOM, "")
    if kind != SYSTEM and after_kind == CUSTOM:
        found += _store.policies.after(tx, account_id, after_name, limit)
        after_name = ""
    if kind != CUSTOM:
        found += [policy for name in sorted(SYSTEM_POLICIES) if name > after_name and (policy := system_policy(name))]
    page = found[:limit]
    counts = _store.attachments.counts(tx, account_id, [(policy.kind, policy.name) for policy in page])
    return [replace(policy, attached=counts.get((policy.kind, policy.name), 0)) for policy in page]


def set_policy_description(tx: Transaction, account_id: str, name: str, description: str, *, now: datetime) -> Policy:
    """Change the description of a custom policy.

    Raises:
        NotFound: the account has no custom policy of that name.
    """
    found = find_policy(tx, account_id, name, CUSTOM, lock=True)
    _store.policies.change(tx, account_id, name, description=description, updated_at=now)
    return replace(found, description=description, updated_at=now)


def delete_policy(tx: Transaction, account_id: str, name: str, *, versions_too: bool = False) -> None:
    """Delete a custom policy that is not attached to anyone.

    Raises:
        NotFound: the account has no custom policy of that name.
        StillInUse: it is attached, or it has versions beside the default one and `versions_too` is false.
    """
    found = find_policy(tx, account_id, name, CUSTOM, lock=True)
    holders = list(_store.attachments.holders_of(tx, account_id, CUSTOM, name))
    if holders:
        raise StillInUse(f"Policy.{holders[0][0]}", name)
    if not versions_too and len(_store.policies.versions(tx, account_id, found)) > 1:
        raise StillInUse("Policy.Version", name)
    _store.policies.drop(tx, account_id, name)


def system_policy(name: str) -> Policy | None:
    """Return a system policy; None if there is none of that name."""
    found = SYSTEM_POLICIES.get(name)
    return None if found is None else Policy(name, SYSTEM, found.description, found.document)
