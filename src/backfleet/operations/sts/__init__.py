"""STS 2015-04-01: who am I, and temporary credentials."""

from backfleet.operations.sts import assume_role, assume_role_with_oidc, caller_identity

__all__ = ["assume_role", "assume_role_with_oidc", "caller_identity"]
