"""The values that identity works with: value objects, without I/O. The store fills them, the verbs return them."""

from backfleet.identity.model.accounts import Account, AccountPair
from backfleet.identity.model.callers import (
    ACCOUNT,
    ANONYMOUS,
    SESSION,
    USER,
    Caller,
    KnownKey,
    SealedKey,
    Session,
    role_caller,
    root_caller,
    user_caller,
)
from backfleet.identity.model.named import AccessKey, Group, NewAccessKey, Provider, Role, User
from backfleet.identity.model.policies import CUSTOM, SYSTEM, Holder, HolderKind, Policy, PolicyVersion
from backfleet.identity.model.sessions import SecurityToken, SessionOptions, TemporaryCredentials

__all__ = [
    "ACCOUNT",
    "ANONYMOUS",
    "CUSTOM",
    "SESSION",
    "SYSTEM",
    "USER",
    "AccessKey",
    "Account",
    "AccountPair",
    "Caller",
    "Group",
    "Holder",
    "HolderKind",
    "KnownKey",
    "NewAccessKey",
    "Policy",
    "PolicyVersion",
    "Provider",
    "Role",
    "SealedKey",
    "SecurityToken",
    "Session",
    "SessionOptions",
    "TemporaryCredentials",
    "User",
    "role_caller",
    "root_caller",
    "user_caller",
]
