"""GetPermissionDecision: what the policies of a user or a role decide on an action, and which statement decides it.

The cloud has no such operation. It makes no call and changes nothing, and tells of one's own account alone.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import Context, Decision, Permissions, Target, canonical
from backfleet.operations.access_denied import reason
from backfleet.operations.authorisation import contexts_of
from backfleet.operations.catalogue import RAM, Call, every_operation, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import bad_names, ram_errors, refusals
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import json_object, text
from backfleet.wire.shapes import Maybe

MOST_CONDITIONS: Final = 20
CLOSE: Final = 0.7  # of 1: how like an action must be to be named
LONGEST_CONDITION: Final = 256  # characters of a key or a value
ACTION: Final = r"[A-Za-z][A-Za-z0-9-]{0,31}:[A-Za-z][A-Za-z0-9]{0,63}"
DECISION: Final = {
    "Allowed": bool,
    "Decision": str,
    "Principal": str,
    "Action": str,
    "Resource": str,
    "Reason": str,
    "MatchedStatement": Maybe({"PolicyType": str, "PolicyName": str, "Statement": int, "Effect": str}),
    "MissingConditionKeys": [str],
    "Warning": str,
}


@value_object
class GetPermissionDecision:
    """A user, or a role, or neither for the caller; an action, a resource, and what conditions are to be compared with.

    Without Resource it is every resource of the product. The time, the principal's ARN and the user's name are known;
    other keys, such as acs:SourceIp, are given as Conditions.
    """

    user_name: str | None = text("UserName", longest=naming.ON_THE_WIRE)
    role_name: str | None = text("RoleName", longest=naming.ON_THE_WIRE)
    action_name: str | None = text("ActionName", required=True, longest=100, pattern=ACTION)
    resource: str | None = text("Resource", longest=1024)
    conditions: dict[str, Any] | None = json_object("Conditions")


@operation(
    RAM,
    "GetPermissionDecision",
    action="ram:GetPermissionDecision",
    answer=DECISION,
    errors=(
        *bad_names("UserName"),
        *bad_names("RoleName"),
        *refusals("EntityNotExist.User", "EntityNotExist.Role"),
    ),
)
def get_permission_decision(call: Call, asked: GetPermissionDecision) -> dict[str, Any]:
    """Say whether policies allow a user or a role of the account an action on a resource, and which statement decides.

    MissingConditionKeys are keys that statements about the action compare, and that were not given: with them the
    decision may be another one. Warning says that no operation here has this action, and which one is like it.

    Raises:
        ApiError: there is no such user or role; InvalidParameter.
    """
    action = asked.action_name or ""
    resource = asked.resource or f"acs:{action.partition(':')[0].lower()}:{call.region}:{call.account_id}:*"
    given = _conditions(asked.conditions or {})
    with ram_errors(), call.services.database.reading() as tx:
        who = _principal(tx, call, asked)
        permissions = identity.permissions_of(tx, who).about(action)
        known = {"acs:CurrentTime": call.circumstances["acs:CurrentTime"], "acs:PrincipalARN": who.principal_arn}
        if who.user_name is not None:
            known["acs:UserName"] = who.user_name
        target = Target((resource,))
        (context,) = contexts_of(tx, permissions, [target], {**known, **given}, call.account_id)
        decision = permissions.decide(action, target, context)
        of_all = _is_for_administrators(action) and not identity.is_administrator_account(tx, call.account_id)
    if of_all:
        decision = Decision(allowed=False)
    return {
        "Allowed": decision.allowed,
        "Decision": "Allow" if decision.allowed else "ExplicitDeny" if decision.explicit_deny else "ImplicitDeny",
        "Principal": who.principal_arn,
        "Action": action,
        "Resource": resource,
        "Reason": _reason(decision, who, action, resource, of_all=of_all),
        "MatchedStatement": _statement(decision),
        "MissingConditionKeys": _missing(permissions, context),
        "Warning": _unknown(action),
    }


def _principal(tx: Transaction, call: Call, asked: GetPermissionDecision) -> identity.Caller:
    """Return whose policies decide. Raises identity.NotFound, or an ApiError for a name that cannot be."""
    if asked.user_name and asked.role_name:
        raise InvalidParameter("Give UserName or RoleName, and not both.")
    if asked.user_name:
        user = identity.find_user(tx, call.account_id, naming.user_name(asked.user_name))
        return identity.user_caller(call.account_id, user.id, user.name)
    if asked.role_name:
        role = identity.find_role(tx, call.account_id, naming.role_name(asked.role_name))
        return identity.role_caller(role, identity.Session(role.name, "session"))
    return call.caller


def _conditions(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys and values that were given. Raises InvalidParameter."""
    fits = all(isinstance(value, str) and len(key) + len(value) <= LONGEST_CONDITION for key, value in found.items())
    if not fits or len(found) > MOST_CONDITIONS:
        raise InvalidParameter(
            f"Conditions are at most {MOST_CONDITIONS} keys with a text each, such as "
            '{"acs:SourceIp": "10.0.0.1"}, of at most 256 characters.'
        )
    return dict(found)


def _reason(decision: Decision, who: identity.Caller, action: str, resource: str, *, of_all: bool) -> str:
    if of_all:
        return f"{action} changes what belongs to every account; only the administrator account may."
    asked, because = f"{action} on {resource}", decision.because
    if not decision.allowed:
        return reason(decision, who.principal_arn, action, asked, names_policies=True)
    if because is None or not because.number:
        return f"{asked} is allowed: {who.principal_arn} is the account itself."
    return f"{asked} is allowed by statement {because.number} of {because.source}."


def _statement(decision: Decision) -> dict[str, Any] | None:
    because = decision.because
    if because is None or not because.number:
        return None
    kind, _, name = because.source.partition("/")
    return {"PolicyType": kind, "PolicyName": name, "Statement": because.number, "Effect": because.effect.value}


def _missing(permissions: Permissions, context: Context) -> list[str]:
    known = {canonical(key) for key in context}
    statements = (*permissions.own, *(permissions.within or ()))
    return sorted({key for statement in statements for key in statement.keys} - known)


def _unknown(action: str) -> str:
    """Return what to say of an action that no operation here has; "" of others. A policy may well name it."""
    known = {each.action.lower(): each.action for each in every_operation() if each.action}
    if action.lower() in known:
        return ""
    close = get_close_matches(action.lower(), known, n=1, cutoff=CLOSE)
    advice = f"; did you mean {known[close[0]]}?" if close else ""
    return f"No operation of this server has the action {action}{advice}"


def _is_for_administrators(action: str) -> bool:
    return any(each.administrator_only and (each.action or "").lower() == action.lower() for each in every_operation())
