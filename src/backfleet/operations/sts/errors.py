"""Errors of STS operations. Sources: STS 2015-04-01, AssumeRole and AssumeRoleWithOIDC, error codes."""

from datetime import timedelta

from backfleet.wire.errors import ApiError


class MalformedParameter(ApiError):
    """A parameter does not have its form."""

    status = 400

    def __init__(self) -> None:
        super().__init__(f"The parameter {self.code.rpartition('.')[2]} is wrongly formed.")


def _malformed(parameter: str, meaning: str) -> type[MalformedParameter]:
    described = {"code": f"InvalidParameter.{parameter}", "__doc__": meaning}
    return type(f"Bad{parameter}", (MalformedParameter,), described)


_SESSION_NAME = "2 to 64 letters, digits and `. @ - _`"
BadRoleArn = _malformed("RoleArn", "The ARN is not `acs:ram::<account>:role/<name>`.")
BadSessionName = _malformed("RoleSessionName", f"The name is not {_SESSION_NAME}.")
BadExternalId = _malformed("ExternalId", "The id is not 2 to 1224 letters, digits and `= , . @ : / - _ +`.")
BadSourceIdentity = _malformed(
    "SourceIdentity", f"The identity is not {_SESSION_NAME}, or not the one of the session that asks."
)
BadProviderArn = _malformed(
    "OIDCProviderArn", "The ARN is not `acs:ram::<account>:oidc-provider/<name>` of the role's account."
)


class BadDuration(ApiError):
    """The duration is under 15 minutes, or over what the role allows."""

    code = "InvalidParameter.DurationSeconds"
    status = 400

    def __init__(self, longest: timedelta) -> None:
        hours = f"{longest.total_seconds() / 3600:g}"
        super().__init__(f"The Min/Max value of DurationSeconds is 15min/{hours}hr.")


class PolicyGrammar(ApiError):
    """The policy is malformed, or has something in it that cannot be enforced exactly."""

    code = "InvalidParameter.PolicyGrammar"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f"The parameter Policy has not passed grammar check. {why}.")


class PolicySize(ApiError):
    """The policy is too long."""

    code = "InvalidParameter.PolicySize"
    status = 400

    def __init__(self, limit: int) -> None:
        super().__init__(f"The size of Policy must be smaller than {limit} bytes.")


class RoleNotFound(ApiError):
    """The caller's account has no such role. For roles of other accounts, StsNoPermission says nothing about that."""

    code = "EntityNotExist.Role"
    status = 404

    def __init__(self, arn: str) -> None:
        super().__init__(f"The role not exists: {arn[:256]}.")


class RootMayNot(ApiError):
    """The caller is the account itself; only users and roles can assume roles."""

    code = "NoPermission"
    status = 403

    def __init__(self) -> None:
        super().__init__("Roles may not be assumed by root accounts.")


class RoleChainTooLong(ApiError):
    """The session was made by a session that was made by a session, and so on."""

    code = "LimitExceeded.RoleChain"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} roles can be assumed one by another; start again with a long-term key.")


class AuthenticationFailed(ApiError):
    """The token of an identity provider does not authenticate the caller; the text is the reason."""

    status = 401


def _authentication_failed(fault: str, meaning: str) -> type[AuthenticationFailed]:
    described = {"code": f"AuthenticationFail.{fault}", "__doc__": meaning}
    return type(fault.replace(".", ""), (AuthenticationFailed,), described)


TokenInvalid = _authentication_failed("OIDCToken.Invalid", "The token cannot be read, or is from another issuer.")
TokenExpired = _authentication_failed("OIDCToken.Expired", "The token has expired, or is not valid yet.")
TokenAudience = _authentication_failed("OIDCToken.AudienceNotMatch", "The token is for another audience.")
TokenSignature = _authentication_failed(
    "OIDCToken.InvalidSignature", "The token is not signed with a registered key of the provider."
)
NotFederated = _authentication_failed(
    "NoPermission",
    "There is no such provider or role, or the role does not trust the provider. The answer does not say which.",
)
