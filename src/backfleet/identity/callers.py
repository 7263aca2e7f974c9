"""Who is asking: keys, the callers behind them, and what they may do."""

import re
from dataclasses import dataclass, field
from typing import Final

from backfleet.identity import _store
from backfleet.identity.policy import Statement, parse_document, root_statement
from backfleet.identity.system_policies import SYSTEM_POLICIES
from backfleet.identity.vault import Vault
from backfleet.storage import Transaction

_KEY_ID: Final = re.compile(r"[A-Za-z0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who has proved who they are."""

    account_id: str  # the account in which they act
    kind: str  # Account or RAMUser
    arn: str
    principal_id: str
    user_id: str | None = None
    user_name: str | None = None


@dataclass(frozen=True, slots=True)
class KnownKey:
    """An access key and the caller behind it. Prints without the secret."""

    access_key_id: str
    active: bool
    caller: Caller
    secret: str = field(repr=False)


def find_key(tx: Transaction, vault: Vault, access_key_id: str) -> KnownKey | None:
    """The key of this id, whether it is active or not; None if there is none.

    Raises:
        CannotOpen: the vault's key file is not the one this database was filled with.
    """
    if not _KEY_ID.fullmatch(access_key_id):  # strangers choose it: nothing odd reaches the database
        return None
    row = _store.key_with_owner(tx, access_key_id)
    if row is None:
        return None
    caller = root_of(row.account_id) if row.user_id is None else _user(row.account_id, row.user_id, row.user_name)
    return KnownKey(access_key_id, row.active, caller, vault.unseal(row.sealed_secret))


def statements_for(tx: Transaction, caller: Caller) -> tuple[Statement, ...]:
    """What this caller may do: the policies attached to a user; for the root of an account, everything in it."""
    if caller.kind == "Account":
        return (root_statement(caller.account_id),)
    if caller.user_id is None:
        return ()
    found: list[Statement] = []
    for row in _store.attached_to(tx, caller.user_id):
        document = row.document if row.policy_type == "Custom" else SYSTEM_POLICIES[row.policy_name].document
        found += parse_document(document, f"{row.policy_type}/{row.policy_name}")
    return tuple(found)


def root_of(account_id: str) -> Caller:
    """The account itself, as a caller."""
    return Caller(account_id, "Account", f"acs:ram::{account_id}:root", account_id)


def _user(account_id: str, user_id: str, name: str) -> Caller:
    return Caller(account_id, "RAMUser", f"acs:ram::{account_id}:user/{name}", user_id, user_id, name)
