"""Callers: who is asking, and how ARNs name them."""

from dataclasses import field
from typing import Final

from backfleet.identity.model.named import Role
from backfleet.values import value_object

ACCOUNT: Final = "Account"
USER: Final = "RAMUser"
SESSION: Final = "AssumedRoleUser"


@value_object
class Session:
    """What a caller who has assumed a role has beside the role."""

    role_name: str
    name: str
    policy: str = ""  # the session's own policy; "" = everything that the role may do
    source_identity: str = ""  # inherited by every session that this one makes
    ends: int = 0  # seconds since 1970; 0 for one that lasts for a single call
    through: tuple[str, ...] = ()  # ids of the roles whose sessions made this one, oldest first
    provider: str = ""  # the id of the identity provider that it began with, if any
    person: str = ""  # whom that authenticated, see `federated_person`; "" = not known


@value_object
class Caller:
    """Someone whose identity is authenticated."""

    account_id: str  # the account in which they act
    kind: str  # Account, RAMUser or AssumedRoleUser
    arn: str
    principal_id: str
    user_id: str | None = None
    user_name: str | None = None
    role_id: str | None = None
    session: Session | None = None
    # The long-term key that they used, or that their session began with; "" for a session that began without a key.
    access_key_id: str = field(default="", compare=False)

    @property
    def is_root(self) -> bool:
        """Whether it is an account itself: no policy limits what it may do there."""
        return self.kind == ACCOUNT

    @property
    def principal_arn(self) -> str:
        """Their ARN in conditions and trust policies: a session is named by its role, anybody else by their own."""
        return self.arn if self.session is None else f"acs:ram::{self.account_id}:role/{self.session.role_name}"


@value_object
class KnownKey:
    """An access key and the caller it belongs to. `repr` leaves the secret out."""

    access_key_id: str
    active: bool
    caller: Caller
    secret: str = field(repr=False)


@value_object
class SealedKey:
    """An active access key as it is stored. `repr` leaves the sealed secret out."""

    access_key_id: str
    account_id: str
    user_id: str | None
    user_name: str | None
    caller: Caller
    sealed_secret: str = field(repr=False)


ANONYMOUS: Final = Caller("", "Anonymous", "", "")
"""The caller of a request without a signature. It has no policies."""


def root_caller(account_id: str, access_key_id: str = "") -> Caller:
    """Return the account itself as a caller."""
    arn = f"acs:ram::{account_id}:root"
    return Caller(account_id, ACCOUNT, arn, account_id, access_key_id=access_key_id)


def user_caller(account_id: str, user_id: str, name: str, access_key_id: str = "") -> Caller:
    """Return a user as a caller."""
    arn = f"acs:ram::{account_id}:user/{name}"
    return Caller(account_id, USER, arn, user_id, user_id, name, access_key_id=access_key_id)


def role_caller(role: Role, session: Session, access_key_id: str = "") -> Caller:
    """Return the caller that a session of a role is."""
    arn = f"acs:sts::{role.account_id}:assumed-role/{role.name}/{session.name}"
    principal = f"{role.id}:{session.name}"
    return Caller(
        role.account_id, SESSION, arn, principal, role_id=role.id, session=session, access_key_id=access_key_id
    )
