"""STS's refusals. Sources: STS 2015-04-01, AssumeRole and AssumeRoleWithOIDC, error codes."""

from collections.abc import Mapping
from datetime import timedelta

from backfleet.operations.errors import StsNoPermission
from backfleet.wire.errors import ApiError

__all__ = [
    "BadDuration",
    "BadExternalId",
    "BadProviderArn",
    "BadRoleArn",
    "BadSessionName",
    "BadSourceIdentity",
    "BeyondTheChain",
    "NotFederated",
    "PolicyGrammar",
    "PolicySize",
    "RoleNotFound",
    "RootMayNot",
    "StsNoPermission",
    "TokenAudience",
    "TokenExpired",
    "TokenInvalid",
    "TokenSignature",
]


class _WronglyFormed(ApiError):
    """A parameter that is not of its form."""

    status = 400

    def __init__(self) -> None:
        super().__init__(f"The parameter {self.code.rpartition('.')[2]} is wrongly formed.")


class BadRoleArn(_WronglyFormed):
    """Not `acs:ram::<account>:role/<name>`."""

    code = "InvalidParameter.RoleArn"


class BadSessionName(_WronglyFormed):
    """Not 2 to 64 letters, digits and `. @ - _`."""

    code = "InvalidParameter.RoleSessionName"


class BadExternalId(_WronglyFormed):
    """Not 2 to 1224 letters, digits and `= , . @ : / - _ +`."""

    code = "InvalidParameter.ExternalId"


class BadSourceIdentity(_WronglyFormed):
    """Not 2 to 64 letters, digits and `. @ - _`, or not the one of the session it was asked with."""

    code = "InvalidParameter.SourceIdentity"


class BadProviderArn(_WronglyFormed):
    """Not `acs:ram::<account>:oidc-provider/<name>` of the role's account."""

    code = "InvalidParameter.OIDCProviderArn"


class BadDuration(ApiError):
    """Shorter than 15 minutes, or longer than the role allows."""

    code = "InvalidParameter.DurationSeconds"
    status = 400

    def __init__(self, longest: timedelta) -> None:
        hours = f"{longest.total_seconds() / 3600:g}"
        super().__init__(f"The Min/Max value of DurationSeconds is 15min/{hours}hr.")


class PolicyGrammar(ApiError):
    """The session's policy could not be carried out to the letter."""

    code = "InvalidParameter.PolicyGrammar"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f"The parameter Policy has not passed grammar check. {why}.")


class PolicySize(ApiError):
    """The session's policy is too long."""

    code = "InvalidParameter.PolicySize"
    status = 400

    def __init__(self, limit: int) -> None:
        super().__init__(f"The size of Policy must be smaller than {limit} bytes.")


class RoleNotFound(ApiError):
    """The caller's own account has no such role. Of other accounts that is not said."""

    code = "EntityNotExist.Role"
    status = 404

    def __init__(self, arn: str) -> None:
        super().__init__(f"The role not exists: {arn[:256]}.")


class RootMayNot(ApiError):
    """The account itself asked."""

    code = "NoPermission"
    status = 403

    def __init__(self) -> None:
        super().__init__("Roles may not be assumed by root accounts.")


class BeyondTheChain(ApiError):
    """Sessions that made sessions that made sessions."""

    code = "LimitExceeded.RoleChain"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} roles can be assumed one by another; start again with a long-term key.")


class _Unproven(ApiError):
    """A token of an identity provider proves nothing; the text is the reason."""

    status = 401

    def __init__(self, why: str, *, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(why, extra=extra)


class TokenInvalid(_Unproven):
    """It is not a token we can read, or not one of this issuer."""

    code = "AuthenticationFail.OIDCToken.Invalid"


class TokenExpired(_Unproven):
    """Its time is over, or has not come."""

    code = "AuthenticationFail.OIDCToken.Expired"


class TokenAudience(_Unproven):
    """It was made for somebody else."""

    code = "AuthenticationFail.OIDCToken.AudienceNotMatch"


class TokenSignature(_Unproven):
    """No registered key made its signature."""

    code = "AuthenticationFail.OIDCToken.InvalidSignature"


class NotFederated(_Unproven):
    """No such provider, no such role, or the role does not trust the provider: which of these is not said."""

    code = "AuthenticationFail.NoPermission"
