"""Who exists, how they prove it, and what they may do. Knows nothing of what is being protected.

Owns the tables accounts, users, access_keys, policies, policy_attachments and nonces. Verbs: `find_key`, `spend_nonce`,
`statements_for` and `policy.decide` for every request; `first_account` at first start; users, keys and policies for
administrators. Secrets are sealed with a `Vault` whose key is not in the database.
"""

from backfleet.identity import policy
from backfleet.identity.accounts import first_account
from backfleet.identity.callers import Caller, KnownKey, find_key, statements_for
from backfleet.identity.keys import Key, NewKey, create_key, delete_key, list_keys, set_key
from backfleet.identity.nonces import purge_nonces, spend_nonce
from backfleet.identity.policies import (
    Policy,
    attach_policy,
    create_policy,
    delete_policy,
    detach_policy,
    find_policy,
    list_policies,
    policies_of_user,
)
from backfleet.identity.refusals import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.users import User, create_user, delete_user, find_user, list_users
from backfleet.identity.vault import CannotOpen, Vault

__all__ = [
    "AlreadyExists",
    "Caller",
    "CannotOpen",
    "Key",
    "KnownKey",
    "LimitReached",
    "NewKey",
    "NotFound",
    "Policy",
    "StillInUse",
    "User",
    "Vault",
    "attach_policy",
    "create_key",
    "create_policy",
    "create_user",
    "delete_key",
    "delete_policy",
    "delete_user",
    "detach_policy",
    "find_key",
    "find_policy",
    "find_user",
    "first_account",
    "list_keys",
    "list_policies",
    "list_users",
    "policies_of_user",
    "policy",
    "purge_nonces",
    "set_key",
    "spend_nonce",
    "statements_for",
]
