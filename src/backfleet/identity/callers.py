"""Who is asking: keys, the callers behind them, and what they may do."""

import re
from dataclasses import dataclass, field
from typing import Final

from backfleet.identity import _store
from backfleet.identity.policy import Permissions, Statement, parse_document, root_statement
from backfleet.identity.roles import Role
from backfleet.identity.system_policies import SYSTEM_POLICIES
from backfleet.identity.vault import Vault
from backfleet.storage import Transaction

ACCOUNT: Final = "Account"
USER: Final = "RAMUser"
SESSION: Final = "AssumedRoleUser"
_KEY_ID: Final = re.compile(r"[A-Za-z0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Session:
    """What a caller who acts in a role's place has beside the role."""

    role_name: str
    name: str
    policy: str = ""  # the session's own policy; "" = all that the role may do
    source_identity: str = ""  # passed on to every session made from this one
    ends: int = 0  # seconds since 1970; 0 for one that lasts no longer than the call
    through: tuple[str, ...] = ()  # ids of the roles whose sessions made this one, oldest first
    provider: str = ""  # the id of the identity provider it began with, if it did


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who has proved who they are."""

    account_id: str  # the account in which they act
    kind: str  # Account, RAMUser or AssumedRoleUser
    arn: str
    principal_id: str
    user_id: str | None = None
    user_name: str | None = None
    role_id: str | None = None
    session: Session | None = None
    # The long-term key they came with, or that their session began with; "" for one that began without a key.
    access_key_id: str = field(default="", compare=False)

    @property
    def principal_arn(self) -> str:
        """How conditions and trust policies name them: a session by its role, anybody else by their own ARN."""
        return self.arn if self.session is None else f"acs:ram::{self.account_id}:role/{self.session.role_name}"


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
    if row.user_id is None:
        caller = root_caller(row.account_id, access_key_id)
    else:
        arn = f"acs:ram::{row.account_id}:user/{row.user_name}"
        named = (row.user_id, row.user_id, row.user_name)
        caller = Caller(row.account_id, USER, arn, *named, access_key_id=access_key_id)
    return KnownKey(access_key_id, row.active, caller, vault.unseal(row.sealed_secret))


def permissions_of(tx: Transaction, caller: Caller) -> Permissions:
    """What this caller may do, a session's own policy included."""
    own = statements_for(tx, caller)
    if caller.session is None or not caller.session.policy:
        return Permissions(own)
    return Permissions(own, parse_document(caller.session.policy, "Session"))


def statements_for(tx: Transaction, caller: Caller) -> tuple[Statement, ...]:
    """What policies say of this caller: those attached to a user and the user's groups, or to a role.

    For the root of an account, everything in it. A session's own policy is not among them: ask `permissions_of`.
    """
    if caller.kind == ACCOUNT:
        return (root_statement(caller.account_id),)
    if caller.kind == SESSION and caller.role_id is not None:
        rows = _store.attached_to(tx, ("Role", caller.role_id))
    elif caller.kind == USER and caller.user_id is not None:
        rows = _store.attached_to_user_and_groups(tx, caller.user_id)
    else:
        return ()
    found: list[Statement] = []
    for row in rows:
        document = row.document if row.policy_type == "Custom" else SYSTEM_POLICIES[row.policy_name].document
        found += parse_document(document, f"{row.policy_type}/{row.policy_name}")
    return tuple(found)


def root_caller(account_id: str, access_key_id: str = "") -> Caller:
    """The account itself, as a caller."""
    arn = f"acs:ram::{account_id}:root"
    return Caller(account_id, ACCOUNT, arn, account_id, access_key_id=access_key_id)


ANONYMOUS: Final = Caller("", "Anonymous", "", "")
"""Who asks without saying who they are. No policy is theirs."""


def role_caller(role: Role, session: Session, access_key_id: str = "") -> Caller:
    """Somebody in a role's place."""
    arn = f"acs:sts::{role.account_id}:assumed-role/{role.name}/{session.name}"
    principal = f"{role.id}:{session.name}"
    return Caller(
        role.account_id, SESSION, arn, principal, role_id=role.id, session=session, access_key_id=access_key_id
    )
