"""Who exists, how they prove it, and what they may do. Knows nothing of what is being protected.

Owns the tables accounts, users, user_groups, group_members, roles, access_keys, policies, policy_versions,
policy_attachments and nonces. Verbs: `find_key`, `spend_nonce` and `permissions_of` for every request; `act_in` for one
who acts in another account by a role; `first_account` at first start; users, groups, roles, keys and policies for
administrators. Secrets are sealed with a `Vault` whose key is not in the database.
"""

from backfleet.identity import policy
from backfleet.identity.accounts import first_account
from backfleet.identity.assuming import NotTrusted, act_in
from backfleet.identity.callers import Caller, KnownKey, Session, find_key, permissions_of, root_of, statements_for
from backfleet.identity.groups import (
    Group,
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
from backfleet.identity.keys import Key, NewKey, create_key, delete_key, list_keys, set_key
from backfleet.identity.nonces import purge_nonces, spend_nonce
from backfleet.identity.policies import (
    Holder,
    Policy,
    PolicyVersion,
    add_version,
    attach_policy,
    create_policy,
    delete_policy,
    delete_version,
    describe_policy,
    detach_policy,
    find_policy,
    find_version,
    holders_of,
    list_policies,
    list_versions,
    policies_of,
    policies_of_user,
    set_default_version,
)
from backfleet.identity.refusals import AlreadyExists, LimitReached, NotFound, StillInUse
from backfleet.identity.roles import (
    SERVICE_ROLES,
    Role,
    create_role,
    create_service_role,
    delete_role,
    find_role,
    list_roles,
    update_role,
)
from backfleet.identity.users import User, create_user, delete_user, find_user, list_users, update_user
from backfleet.identity.vault import CannotOpen, Vault

__all__ = [
    "SERVICE_ROLES",
    "AlreadyExists",
    "Caller",
    "CannotOpen",
    "Group",
    "Holder",
    "Key",
    "KnownKey",
    "LimitReached",
    "NewKey",
    "NotFound",
    "NotTrusted",
    "Policy",
    "PolicyVersion",
    "Role",
    "Session",
    "StillInUse",
    "User",
    "Vault",
    "act_in",
    "add_version",
    "attach_policy",
    "create_group",
    "create_key",
    "create_policy",
    "create_role",
    "create_service_role",
    "create_user",
    "delete_group",
    "delete_key",
    "delete_policy",
    "delete_role",
    "delete_user",
    "delete_version",
    "describe_policy",
    "detach_policy",
    "find_group",
    "find_key",
    "find_policy",
    "find_role",
    "find_user",
    "find_version",
    "first_account",
    "groups_of_user",
    "holders_of",
    "join_group",
    "leave_group",
    "list_groups",
    "list_keys",
    "list_policies",
    "list_roles",
    "list_users",
    "list_versions",
    "permissions_of",
    "policies_of",
    "policies_of_user",
    "policy",
    "purge_nonces",
    "root_of",
    "set_default_version",
    "set_key",
    "spend_nonce",
    "statements_for",
    "update_group",
    "update_role",
    "update_user",
    "users_in_group",
]
