"""AssumeRoleWithOIDC: temporary credentials for the subject of an identity provider's token, without a signature."""

import re
from dataclasses import replace
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import Context, Principal
from backfleet.operations import _store as audit
from backfleet.operations.catalogue import STS, Call, find, operation
from backfleet.operations.perform import event_of
from backfleet.operations.sts.assume_role import (
    ASSUMED,
    DEFAULT_SECONDS,
    ON_THE_WIRE,
    SESSION_ERRORS,
    answer,
    read_role_arn,
    read_session_options,
    session_errors,
)
from backfleet.operations.sts.errors import (
    BadProviderArn,
    NotFederated,
    TokenAudience,
    TokenExpired,
    TokenInvalid,
    TokenSignature,
)
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text

_PROVIDER_ARN: Final = re.compile(r"acs:ram::([0-9]{1,32}):oidc-provider/([A-Za-z0-9._-]{1,128})")
_FAULTS: Final = {
    "Expired": TokenExpired,
    "Audience": TokenAudience,
    "Signature": TokenSignature,
}
NO_PERMISSION: Final = "There is no permission: no such role, or it does not trust this subject."
TOKEN_INFO: Final = {
    "Subject": str,
    "Issuer": str,
    "ClientIds": str,
    "ExpirationTime": str,
    "IssuanceTime": str,
    "VerificationInfo": str,
}


@value_object
class AssumeRoleWithOIDC:
    """A role, and the token that authenticates the caller."""

    provider_arn: str = text("OIDCProviderArn", required=True, longest=ON_THE_WIRE)
    token: str = text("OIDCToken", required=True, secret=True)
    role_arn: str = text("RoleArn", required=True, longest=ON_THE_WIRE)
    session_name: str = text("RoleSessionName", required=True, longest=ON_THE_WIRE, raw=True)
    duration: int = integer("DurationSeconds", default=DEFAULT_SECONDS)
    policy: str = text("Policy", default="", raw=True)


@operation(
    STS,
    "AssumeRoleWithOIDC",
    action=None,
    anonymous=True,
    answer={**ASSUMED, "OIDCTokenInfo": TOKEN_INFO},
    errors=(*SESSION_ERRORS, BadProviderArn, NotFederated, TokenInvalid, TokenExpired, TokenAudience, TokenSignature),
)
def assume_role_with_oidc(call: Call, asked: AssumeRoleWithOIDC) -> dict[str, Any]:
    """Return temporary credentials of a role that trusts the provider, for the subject of a token of the provider."""
    account_id, role_name = read_role_arn(asked.role_arn)
    found = _PROVIDER_ARN.fullmatch(asked.provider_arn)
    if found is None or found[1] != account_id:
        raise BadProviderArn
    options = read_session_options(asked.session_name, asked.duration, asked.policy)
    with call.services.database.reading() as tx:
        try:
            provider = identity.find_provider(tx, account_id, found[2])
        except identity.NotFound:
            raise NotFederated("No such OIDC Provider registered.") from None
    try:
        vouched = identity.verify_token(provider, asked.token, call.now)
    except identity.BadToken as problem:
        raise _FAULTS.get(problem.fault, TokenInvalid)(f"The OIDC token is refused: {problem.why}.") from None
    issued = issue_to(call, provider, vouched, role_name, options)
    _audit(call, asked, issued)
    return answer(issued) | {"OIDCTokenInfo": _shown(vouched)}


def log_in_with_oidc(
    call: Call, provider: identity.Provider, vouched: identity.VerifiedToken, role_arn: str, session_name: str
) -> identity.TemporaryCredentials:
    """Return temporary credentials for the subject of a token that an endpoint verified, and write their audit row.

    They last as long as the role allows, at most as long as a session of the console.

    Raises:
        NotFederated: there is no such role, or it does not trust this subject.
    """
    account_id, role_name = read_role_arn(role_arn)
    if account_id != provider.account_id:
        raise BadProviderArn
    seconds = call.services.settings.console_seconds
    with call.services.database.reading() as tx:
        try:
            longest = identity.find_role(tx, account_id, role_name, any_case=True).max_session
        except identity.NotFound:
            raise NotFederated(NO_PERMISSION) from None
    lasting = max(900, min(seconds, int(longest.total_seconds())))
    issued = issue_to(call, provider, vouched, role_name, read_session_options(session_name, lasting, ""))
    named = AssumeRoleWithOIDC(provider.arn, "", role_arn, session_name, lasting, "")
    _audit(call, named, issued)
    return issued


def issue_to(
    call: Call,
    provider: identity.Provider,
    vouched: identity.VerifiedToken,
    role_name: str,
    options: identity.SessionOptions,
) -> identity.TemporaryCredentials:
    """Return temporary credentials of a role of the provider's account for the subject of a verified token.

    Raises:
        ApiError: NotFederated, or one of SESSION_ERRORS.
    """
    with call.services.database.reading() as tx:
        try:
            role = identity.find_role(tx, provider.account_id, role_name, any_case=True)
            identity.check_trust(role, frozenset({Principal("Federated", provider.arn)}), _context(call, vouched))
        except (identity.NotFound, identity.NotTrusted):
            raise NotFederated(NO_PERMISSION) from None
    person = identity.federated_person(vouched.issuer, vouched.subject)
    with session_errors():
        return identity.issue_federated_credentials(
            call.services.vault, role, options, provider.id, person, now=call.now, draw=call.services.draw
        )


def _context(call: Call, vouched: identity.VerifiedToken) -> Context:
    """Return the condition keys of the trust policy. Of the token's audiences those count that are the provider's."""
    keys: Context = {"oidc:iss": vouched.issuer, "oidc:sub": vouched.subject, "oidc:aud": vouched.audiences}
    return {**call.circumstances, **keys}


def _audit(call: Call, asked: AssumeRoleWithOIDC, issued: identity.TemporaryCredentials) -> None:
    """Write the audit row of a call that succeeded: unauthenticated callers must not fill an account's trail.

    A call that was signed by somebody of the same account already has its row.
    """
    if call.account_id == issued.caller.account_id:
        return
    authenticated = replace(call, caller=issued.caller)
    named = {"RoleArn": asked.role_arn, "OIDCProviderArn": asked.provider_arn, "RoleSessionName": asked.session_name}
    with call.services.database.transaction() as tx:
        operation = find(STS.version, "AssumeRoleWithOIDC")
        audit.write(tx, event_of(authenticated, operation, issued.access_key_id, named, allowed=True))


def _shown(vouched: identity.VerifiedToken) -> dict[str, str]:
    return {
        "Subject": vouched.subject,
        "Issuer": vouched.issuer,
        "ClientIds": ",".join(vouched.audiences),
        "ExpirationTime": vouched.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "IssuanceTime": vouched.issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "VerificationInfo": "Success",
    }
