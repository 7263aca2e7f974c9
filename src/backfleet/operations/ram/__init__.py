"""RAM 2015-05-01: users, groups, roles, access keys, policies and whom they are attached to; identity providers."""

from backfleet.operations.ram import (
    access_keys,
    attachments,
    console_logins,
    diagnostic_messages,
    groups,
    oidc_providers,
    permission_decisions,
    policies,
    policy_versions,
    resource_tags,
    roles,
    users,
)

__all__ = [
    "access_keys",
    "attachments",
    "console_logins",
    "diagnostic_messages",
    "groups",
    "oidc_providers",
    "permission_decisions",
    "policies",
    "policy_versions",
    "resource_tags",
    "roles",
    "users",
]
