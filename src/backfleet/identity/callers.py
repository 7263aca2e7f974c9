"""Callers: the one behind an access key, and what a caller may do."""

import re
from typing import Any, Final

from backfleet.identity import _store
from backfleet.identity.model import (
    CUSTOM,
    SESSION,
    USER,
    Caller,
    HolderKind,
    KnownKey,
    SealedKey,
    root_caller,
    user_caller,
)
from backfleet.identity.policy import Permissions, Statement, decide, parse_document, root_statement
from backfleet.identity.system_policies import GENERAL_POLICIES, SYSTEM_POLICIES
from backfleet.identity.vault import Vault
from backfleet.storage import Transaction

_KEY_ID: Final = re.compile(r"[A-Za-z0-9.]{1,64}")


def find_key(tx: Transaction, vault: Vault, access_key_id: str) -> KnownKey | None:
    """Return a key, active or not, with the caller it belongs to; None if there is none.

    Raises:
        CannotOpen: the vault's key file does not belong to this database.
    """
    if not _KEY_ID.fullmatch(access_key_id):  # anybody can send one: odd characters must not reach the database
        return None
    row = _store.access_keys.find_with_owner(tx, access_key_id)
    if row is None:
        return None
    return KnownKey(access_key_id, row.active, _owner(row, access_key_id), vault.unseal(row.sealed_secret))


def find_sealed_key(tx: Transaction, access_key_id: str) -> SealedKey | None:
    """Return an active key without opening its secret; None if there is none, or it is not active."""
    row = _store.access_keys.find_with_owner(tx, access_key_id) if _KEY_ID.fullmatch(access_key_id) else None
    if row is None or not row.active:
        return None
    owner = _owner(row, access_key_id)
    return SealedKey(access_key_id, row.account_id, row.user_id, row.user_name, owner, row.sealed_secret)


def owner_of_key(tx: Transaction, access_key_id: str) -> Caller | None:
    """Return the caller that a key belongs to, without opening its secret; None if there is no such key."""
    row = _store.access_keys.find_with_owner(tx, access_key_id)
    return None if row is None else _owner(row, access_key_id)


def owner_of_active_key(tx: Transaction, access_key_id: str) -> Caller | None:
    """Return the caller that an active key belongs to, without opening its secret; None if there is no such key."""
    row = _store.access_keys.find_with_owner(tx, access_key_id)
    return _owner(row, access_key_id) if row is not None and row.active else None


def permissions_of(tx: Transaction, caller: Caller) -> Permissions:
    """Return what a caller may do, limited by the session's own policy if there is one."""
    own = statements_for(tx, caller)
    if caller.session is None or not caller.session.policy:
        return Permissions(own)
    return Permissions(own, parse_document(caller.session.policy, "Session"))


def system_policy_for(action: str) -> str:
    """Return the name of a policy of the system that allows an action, the narrowest first; "" if there is none."""
    resource = "acs:any:any:any:any"
    names = sorted(SYSTEM_POLICIES, key=lambda name: (name in GENERAL_POLICIES, "readonly" not in name.lower(), name))
    for name in names:
        if decide(parse_document(SYSTEM_POLICIES[name].document), action, resource, {}).allowed:
            return name
    return ""


def statements_for(tx: Transaction, caller: Caller) -> tuple[Statement, ...]:
    """Return the statements of a caller's policies: those of a user and the user's groups, or those of a role.

    The root of an account may do everything in it. A session's own policy is left out: `permissions_of` has it.
    """
    if caller.is_root:
        return (root_statement(caller.account_id),)
    if caller.kind == SESSION and caller.role_id is not None:
        rows = _store.attachments.of_holder(tx, (HolderKind.ROLE, caller.role_id))
    elif caller.kind == USER and caller.user_id is not None:
        rows = _store.attachments.of_user_and_groups(tx, caller.user_id)
    else:
        return ()
    found: list[Statement] = []
    for row in rows:
        document = row.document if row.policy_type == CUSTOM else SYSTEM_POLICIES[row.policy_name].document
        found += parse_document(document, f"{row.policy_type}/{row.policy_name}")
    return tuple(found)


def _owner(row: Any, access_key_id: str) -> Caller:
    if row.user_id is None:
        return root_caller(row.account_id, access_key_id)
    return user_caller(row.account_id, row.user_id, row.user_name, access_key_id)
