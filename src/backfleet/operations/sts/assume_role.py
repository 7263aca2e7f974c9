"""AssumeRole: temporary credentials in a role's place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from backfleet import identity
from backfleet.identity import LONGEST_SESSION_POLICY
from backfleet.identity.policy import ASSUME, MalformedPolicy, ram_principals
from backfleet.operations.access_denied import TRUST_POLICY, denied_detail
from backfleet.operations.catalogue import STS, Call, operation
from backfleet.operations.sts.errors import (
    BadDuration,
    BadExternalId,
    BadRoleArn,
    BadSessionName,
    BadSourceIdentity,
    BeyondTheChain,
    PolicyGrammar,
    PolicySize,
    RoleNotFound,
    RootMayNot,
    StsNoPermission,
)
from backfleet.storage import Transaction
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe

DEFAULT_SECONDS: Final = 3600
ON_THE_WIRE: Final = 8192  # characters of a value that are read at all; its own limit is answered with its own code
_ROLE_ARN: Final = re.compile(r"acs:ram::([0-9]{1,32}):role/([A-Za-z0-9._-]{1,64})")
_SESSION_NAME: Final = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9=,.@:/_+-]{2,1224}")

CREDENTIALS: Final = {"AccessKeyId": str, "AccessKeySecret": str, "SecurityToken": str, "Expiration": str}
ASSUMED: Final = {
    "Credentials": CREDENTIALS,
    "AssumedRoleUser": {"Arn": str, "AssumedRoleId": str},
    "SourceIdentity": Maybe(str),
}
WISH_ERRORS: Final = (BadRoleArn, BadSessionName, BadDuration, PolicyGrammar, PolicySize)


@dataclass(frozen=True, slots=True)
class AssumeRole:
    """Whose place, for how long, and what the session may do of what the role may."""

    role_arn: str = text("RoleArn", required=True, longest=ON_THE_WIRE)
    session_name: str = text("RoleSessionName", required=True, longest=ON_THE_WIRE)
    duration: int = integer("DurationSeconds", default=DEFAULT_SECONDS)
    policy: str = text("Policy", default="")
    external_id: str = text("ExternalId", default="", longest=ON_THE_WIRE)
    source_identity: str = text("SourceIdentity", default="", longest=ON_THE_WIRE)


def role_arn(call: Call, asked: AssumeRole) -> list[str]:
    """The role, by the name it has: letter case does not count in the ARN that is sent, and does in policies.

    Another account's is judged as it was sent: a refusal must not tell how that account spells it, or that it is there.
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
    """What policies may ask about beside what every call has."""
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
    errors=(*WISH_ERRORS, BadExternalId, BadSourceIdentity, RoleNotFound, RootMayNot, BeyondTheChain),
)
def assume_role(call: Call, asked: AssumeRole) -> dict[str, Any]:
    """Temporary credentials of a role, for one whom it trusts. The caller's own policies must allow it too."""
    account_id, name = read_role_arn(asked.role_arn)
    wish = read_wish(asked.session_name, asked.duration, asked.policy, asked.source_identity)
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
        with wished(role):
            issued = identity.issue_credentials(
                call.services.vault, role, wish, call.caller, now=call.now, draw=call.services.draw
            )
    except identity.RootCannotAssume:
        raise RootMayNot from None
    except identity.LimitReached as no:
        raise BeyondTheChain(no.limit) from None
    return answer(issued)


def read_role_arn(arn: str) -> tuple[str, str]:
    """Account and name of a role. Raises BadRoleArn."""
    found = _ROLE_ARN.fullmatch(arn)
    if found is None:
        raise BadRoleArn
    return found[1], found[2]


def read_wish(name: str, seconds: int, policy: str, source_identity: str = "") -> identity.SessionOptions:
    """What the session should be. Raises ApiError."""
    if not _SESSION_NAME.fullmatch(name):
        raise BadSessionName
    if source_identity and not _SESSION_NAME.fullmatch(source_identity):
        raise BadSourceIdentity
    if len(policy.encode()) > LONGEST_SESSION_POLICY:
        raise PolicySize(LONGEST_SESSION_POLICY)
    return identity.SessionOptions(name, timedelta(seconds=max(0, min(seconds, 10**6))), policy, source_identity)


class wished:  # noqa: N801 - read as a word: `with wished(role):`
    """Says in STS's words what is wrong with a wish."""

    def __init__(self, role: identity.Role) -> None:
        self.role = role

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, identity.SessionTooLong):
            raise BadDuration(problem.longest) from None
        if isinstance(problem, MalformedPolicy):
            raise PolicyGrammar(str(problem)) from None


def answer(issued: identity.TemporaryCredentials) -> dict[str, Any]:
    """The credentials, as STS shows them."""
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
    """The role, if it trusts the caller. Of another account it is not said whether there is one."""
    context = {**call.circumstances, **conditions(call, asked)}
    try:
        role = identity.find_role(tx, account_id, name, any_case=True)
        identity.check_trust(role, ram_principals(call.account_id, call.caller.principal_arn), context)
    except identity.NotFound:
        if account_id == call.account_id:
            raise RoleNotFound(asked.role_arn) from None
        decision = identity.policy.Decision(allowed=False)
    except identity.NotTrusted as no:
        decision = no.decision if account_id == call.account_id else identity.policy.Decision(allowed=False)
    else:
        return role
    detail = denied_detail(call, ASSUME, asked.role_arn, context, decision, TRUST_POLICY)
    raise StsNoPermission({"AccessDeniedDetail": detail})
