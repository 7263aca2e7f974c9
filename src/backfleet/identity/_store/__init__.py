"""The only SQL on identity's tables, one module for each noun.

Users, groups, roles and identity providers belong to an account and have a name: they share `AccountTable`.
"""

from backfleet.identity._store import (
    access_keys,
    account_pairs,
    accounts,
    attachments,
    groups,
    nonces,
    policies,
    providers,
    roles,
    tags,
    users,
)
from backfleet.identity._store.account_table import AccountTable

__all__ = [
    "AccountTable",
    "access_keys",
    "account_pairs",
    "accounts",
    "attachments",
    "groups",
    "nonces",
    "policies",
    "providers",
    "roles",
    "tags",
    "users",
]
