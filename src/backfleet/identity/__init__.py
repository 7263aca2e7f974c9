"""Who exists, how they authenticate, and what they may do. Knows nothing of what is being protected.

Owns the tables accounts, account_pairs, users, user_groups, group_members, roles, oidc_providers, access_keys,
policies, policy_versions, policy_attachments and nonces. Secrets are sealed with a `Vault` whose key is not in the
database. The policy language is the package `identity.policy`.

- Every request: `find_key` returns the key and its caller, or a `KeyCache` knows it; `spend_nonce` refuses replays,
  `spend_nonce_of` also a key that has changed since it was read; `permissions_of` returns what the caller may do.
- Temporary credentials: `issue_credentials` and `issue_federated_credentials` hand them out, `open_token` and
  `session_caller` accept them; `verify_token` checks the token of an identity provider.
- Later: `write_caller` and `read_caller` keep a caller as text, without secrets, for what is done in their name.
- Other accounts: `assume_role` returns the caller as they act by a role of another account; `pair_accounts` and
  `are_paired` say for which account a service may act.
- Administration: `first_account` at the first start, then `create_`, `find_`, `list_`, `update_` and `delete_` of
  users, groups, roles, keys, providers and policies; `attach_policy`, `detach_policy`; `join_group`, `leave_group`;
  `set_tags`, `remove_tags` and `tags_of` roles and policies.
"""

from backfleet.identity import policy
from backfleet.identity.access_keys import create_key, delete_key, list_keys, set_key
from backfleet.identity.account_pairs import are_paired, list_pairs, pair_accounts, unpair_accounts
from backfleet.identity.accounts import (
    administrator_account,
    create_account,
    first_account,
    is_administrator_account,
    list_accounts,
)
from backfleet.identity.attachments import attach_policy, detach_policy, holders_of, policies_of, policies_of_user
from backfleet.identity.callers import (
    find_key,
    find_sealed_key,
    owner_of_active_key,
    owner_of_key,
    permissions_of,
    statements_for,
    system_policy_for,
)
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse, Unchangeable
from backfleet.identity.groups import (
    create_group,
    delete_group,
    find_group,
    groups_of_user,
    join_group,
    leave_group,
    list_groups,
    update_group,
    users_in_group,
)
from backfleet.identity.id_tokens import BadKeys, BadToken, VerifiedToken, verify_token
from backfleet.identity.key_cache import KeyCache, KeyChanged
from backfleet.identity.model import (
    ANONYMOUS,
    AccessKey,
    Account,
    AccountPair,
    Caller,
    Group,
    Holder,
    KnownKey,
    NewAccessKey,
    Policy,
    PolicyVersion,
    Provider,
    Role,
    SealedKey,
    SecurityToken,
    Session,
    SessionOptions,
    TemporaryCredentials,
    User,
    role_caller,
    root_caller,
    user_caller,
)
from backfleet.identity.nonces import purge_nonces, spend_nonce, spend_nonce_of
from backfleet.identity.policies import create_policy, delete_policy, find_policy, list_policies, set_policy_description
from backfleet.identity.policy_versions import (
    add_version,
    delete_version,
    find_version,
    list_versions,
    set_default_version,
)
from backfleet.identity.providers import (
    create_provider,
    delete_provider,
    find_provider,
    list_providers,
    update_provider,
)
from backfleet.identity.role_assumption import NotTrusted, assume_role, check_trust
from backfleet.identity.roles import (
    SERVICE_ROLES,
    create_role,
    create_service_role,
    delete_role,
    find_role,
    list_roles,
    update_role,
)
from backfleet.identity.sessions import (
    LONGEST_SESSION_POLICY,
    RootCannotAssume,
    SessionTooLong,
    TokenNotOurs,
    federated_person,
    issue_credentials,
    issue_federated_credentials,
    open_token,
    session_caller,
)
from backfleet.identity.tags import remove_tags, set_tags, tags_of
from backfleet.identity.users import create_user, delete_user, find_user, list_users, update_user
from backfleet.identity.vault import CannotOpen, Vault
from backfleet.identity.written_callers import read_caller, write_caller

__all__ = [
    "ANONYMOUS",
    "LONGEST_SESSION_POLICY",
    "SERVICE_ROLES",
    "AccessKey",
    "Account",
    "AccountPair",
    "AlreadyExists",
    "BadKeys",
    "BadToken",
    "Caller",
    "CannotOpen",
    "Group",
    "Holder",
    "KeyCache",
    "KeyChanged",
    "KnownKey",
    "LimitReached",
    "NewAccessKey",
    "NotFound",
    "NotTrusted",
    "Policy",
    "PolicyVersion",
    "Provider",
    "Role",
    "RootCannotAssume",
    "SealedKey",
    "SecurityToken",
    "Session",
    "SessionOptions",
    "SessionTooLong",
    "StillInUse",
    "TemporaryCredentials",
    "TokenNotOurs",
    "Unchangeable",
    "User",
    "Vault",
    "VerifiedToken",
    "add_version",
    "administrator_account",
    "are_paired",
    "assume_role",
    "attach_policy",
    "check_trust",
    "create_account",
    "create_group",
    "create_key",
    "create_policy",
    "create_provider",
    "create_role",
    "create_service_role",
    "create_user",
    "delete_group",
    "delete_key",
    "delete_policy",
    "delete_provider",
    "delete_role",
    "delete_user",
    "delete_version",
    "detach_policy",
    "federated_person",
    "find_group",
    "find_key",
    "find_policy",
    "find_provider",
    "find_role",
    "find_sealed_key",
    "find_user",
    "find_version",
    "first_account",
    "groups_of_user",
    "holders_of",
    "is_administrator_account",
    "issue_credentials",
    "issue_federated_credentials",
    "join_group",
    "leave_group",
    "list_accounts",
    "list_groups",
    "list_keys",
    "list_pairs",
    "list_policies",
    "list_providers",
    "list_roles",
    "list_users",
    "list_versions",
    "open_token",
    "owner_of_active_key",
    "owner_of_key",
    "pair_accounts",
    "permissions_of",
    "policies_of",
    "policies_of_user",
    "policy",
    "purge_nonces",
    "read_caller",
    "remove_tags",
    "role_caller",
    "root_caller",
    "session_caller",
    "set_default_version",
    "set_key",
    "set_policy_description",
    "set_tags",
    "spend_nonce",
    "spend_nonce_of",
    "statements_for",
    "system_policy_for",
    "tags_of",
    "unpair_accounts",
    "update_group",
    "update_provider",
    "update_role",
    "update_user",
    "user_caller",
    "users_in_group",
    "verify_token",
    "write_caller",
]
