"""AssumeRole: temporary credentials of a role."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from backfleet import identity
from backfleet.identity import LONGEST_SESSION_POLICY
from backfleet.identity.policy import ASSUME, MalformedPolicy, ram_principals
from backfleet.operations.access_denied import TRUST_POLICY, denied_detail
from backfleet.operations.catalogue import STS, Call, operation
from backfleet.operations.errors import StsNoPermission
from backfleet.operations.sts.errors import (
    BadDuration,
    BadExternalId,
    BadRoleArn,
    BadSessionName,
    BadSourceIdentity,
    PolicyGrammar,
    PolicySize,
    RoleChainTooLong,
    RoleNotFound,
    RootMayNot,
)
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe

DEFAULT_SECONDS: Final = 3600
ON_THE_WIRE: Final = 8192  # characters of any value in a request; each has a smaller limit with its own error
_ROLE_ARN: Final = re.compile(r"acs:ram::([0-9]{1,32}):role/([A-Za-z0-9._-]{1,64})")
_SESSION_NAME: Final = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9=,.@:/_+-]{2,1224}")

CREDENTIALS: Final = {"AccessKeyId": str, "AccessKeySecret": str, "SecurityToken": str, "Expiration": str}
ASSUMED: Final = {
    "Credentials": CREDENTIALS,
    "AssumedRoleUser": {"Arn": str, "AssumedRoleId": str},
    "SourceIdentity": Maybe(str),
}
SESSION_ERRORS: Final = (BadRoleArn, BadSessionName, BadDuration, PolicyGrammar, PolicySize)


@value_object
class AssumeRole:
    """A role, a duration, and a policy that restricts what the session may do of what the role may."""

    role_arn: str = text("RoleArn", required=True, longest=ON_THE_WIRE)
    session_name: str = text("RoleSessionName", required=True, longest=ON_THE_WIRE, raw=True)
    duration: int = integer("DurationSeconds", default=DEFAULT_SECONDS)
    policy: str = text("Policy", default="", raw=True)
    external_id: str = text("ExternalId", default="", longest=ON_THE_WIRE)
    source_identity: str = text("SourceIdentity", default="", longest=ON_THE_WIRE)


def role_arn(call: Call, asked: AssumeRole) -> list[str]:
    """Return the ARN of the role in its real letter case, which counts in policies and not in requests.

    The ARN of another account's role stays as it was sent: a refusal must not show how that account spells the role, or
    that it exists.
    """
    try:
        account_id, name = read_role_arn(asked.role_arn)
        if account_id != call.account_id:
            return [asked.role_arn]
        with call.services.database.reading() as tx:
            return [identity.find_role(tx, account_id, name, any_case=True).arn]
    except identity.NotFound:
        return [asked.role_arn]
    except BadRoleArn:
        return []


def conditions(call: Call, asked: AssumeRole | None) -> Mapping[str, str]:
    """Return condition keys beyond those of every call."""
    if asked is None:
        return {}
    given = {"sts:ExternalId": asked.external_id, "sts:RoleSessionName": asked.session_name}
    return {key: value for key, value in given.items() if value}


@operation(
    STS,
    "AssumeRole",
    action=ASSUME,
    resources=role_arn,
    conditions=conditions,
    answer=ASSUMED,
    errors=(*SESSION_ERRORS, BadExternalId, BadSourceIdentity, RoleNotFound, RootMayNot, RoleChainTooLong),
)
def assume_role(call: Call, asked: AssumeRole) -> dict[str, Any]:
    """Return temporary credentials of a role that trusts the caller. The caller's own policies must allow it too."""
    account_id, name = read_role_arn(asked.role_arn)
    options = read_session_options(asked.session_name, asked.duration, asked.policy, asked.source_identity)
    if asked.external_id and not _EXTERNAL_ID.fullmatch(asked.external_id):
        raise BadExternalId
    passed_on = call.caller.session.source_identity if call.caller.session is not None else ""
    if passed_on and asked.source_identity not in ("", passed_on):
        raise BadSourceIdentity
    if call.caller.kind == "Account":
        raise RootMayNot
    with call.services.database.reading() as tx:
        role = _trusting(tx, call, asked, account_id, name)
    try:
        with session_errors():
            issued = identity.issue_credentials(
                call.services.vault, role, options, call.caller, now=call.now, draw=call.services.draw
            )
    except identity.RootCannotAssume:
        raise RootMayNot from None
    except identity.LimitReached as problem:
        raise RoleChainTooLong(problem.limit) from None
    return answer(issued)


def read_role_arn(arn: str) -> tuple[str, str]:
    """Return the account and the name of a role. Raises BadRoleArn."""
    found = _ROLE_ARN.fullmatch(arn)
    if found is None:
        raise BadRoleArn
    return found[1], found[2]


def read_session_options(name: str, seconds: int, policy: str, source_identity: str = "") -> identity.SessionOptions:
    """Return the options of a session. Raises one of SESSION_ERRORS or BadSourceIdentity."""
    if not _SESSION_NAME.fullmatch(name):
        raise BadSessionName
    if source_identity and not _SESSION_NAME.fullmatch(source_identity):
        raise BadSourceIdentity
    if len(policy.encode()) > LONGEST_SESSION_POLICY:
        raise PolicySize(LONGEST_SESSION_POLICY)
    return identity.SessionOptions(name, timedelta(seconds=max(0, min(seconds, 10**6))), policy, source_identity)


@contextmanager
def session_errors() -> Iterator[None]:
    """Turn what identity refuses about the options of a session into errors of STS."""
    try:
        yield
    except identity.SessionTooLong as problem:
        raise BadDuration(problem.longest) from None
    except MalformedPolicy as problem:
        raise PolicyGrammar(str(problem)) from None


def answer(issued: identity.TemporaryCredentials) -> dict[str, Any]:
    """Return the credentials as STS shows them."""
    session = issued.caller.session
    shown = {
        "Credentials": {
            "AccessKeyId": issued.access_key_id,
            "AccessKeySecret": issued.secret,
            "SecurityToken": issued.token,
            "Expiration": issued.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "AssumedRoleUser": {"Arn": issued.caller.arn, "AssumedRoleId": issued.caller.principal_id},
    }
    if session is not None and session.source_identity:
        shown["SourceIdentity"] = session.source_identity  # type: ignore[assignment]  # the one plain member
    return shown


def _trusting(tx: Transaction, call: Call, asked: AssumeRole, account_id: str, name: str) -> identity.Role:
    """Return the role if it trusts the caller. The refusal does not say whether another account has the role."""
    context = {**call.circumstances, **conditions(call, asked)}
    try:
        role = identity.find_role(tx, account_id, name, any_case=True)
        identity.check_trust(role, ram_principals(call.account_id, call.caller.principal_arn), context)
    except identity.NotFound:
        if account_id == call.account_id:
            raise RoleNotFound(asked.role_arn) from None
        decision = identity.policy.Decision(allowed=False)
    except identity.NotTrusted as problem:
        decision = problem.decision if account_id == call.account_id else identity.policy.Decision(allowed=False)
    else:
        return role
    detail = denied_detail(call, ASSUME, asked.role_arn, context, decision, TRUST_POLICY)
    why = f"There is no role {asked.role_arn}, or its trust policy does not name {call.caller.principal_arn}."
    raise StsNoPermission({"AccessDeniedDetail": detail}, why)
