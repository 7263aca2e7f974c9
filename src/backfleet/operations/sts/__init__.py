"""STS 2015-04-01: the caller's identity, and temporary credentials."""

from backfleet.operations.sts import assume_role, assume_role_with_oidc, caller_identity
from backfleet.operations.sts.assume_role_with_oidc import log_in_with_oidc

__all__ = ["assume_role", "assume_role_with_oidc", "caller_identity", "log_in_with_oidc"]
