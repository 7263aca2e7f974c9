"""RAM 2015-05-01: users, groups, roles, access keys, policies and whom they are attached to; identity providers."""

from backfleet.operations.ram import attachments, diagnoses, groups, keys, policies, providers, roles, users, versions

__all__ = ["attachments", "diagnoses", "groups", "keys", "policies", "providers", "roles", "users", "versions"]
