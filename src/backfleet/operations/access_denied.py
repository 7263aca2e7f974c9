"""Explain why a call was refused: the AccessDeniedDetail of the error.

The reasons travel in it as a sealed diagnosis. DecodeDiagnosticMessage opens it for callers who may see policies.
"""

import json
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import Context, Decision
from backfleet.operations.catalogue import Call

PRINCIPAL_TYPES: Final = {"Account": "Account", "RAMUser": "SubUser", "AssumedRoleUser": "AssumedRoleUser"}
IDENTITY_POLICY: Final = "AccountLevelIdentityBasedPolicy"
SESSION_POLICY: Final = "SessionPolicy"
TRUST_POLICY: Final = "AssumeRolePolicy"
PURPOSE: Final = "diagnoses"
LONGEST: Final = 16_384  # characters of a sealed diagnosis in a request


class NoDiagnosis(ValueError):
    """The text is not a diagnosis of this server, or belongs to another account."""


def denied_detail(
    call: Call, action: str | None, resource: str, context: Context, decision: Decision, kind: str = ""
) -> dict[str, object]:
    """Return the AccessDeniedDetail of a refusal.

    Args:
        kind: of the policy, if it is neither one of the caller's nor that of the caller's session.
    """
    kind = kind or (SESSION_POLICY if decision.by_session else IDENTITY_POLICY)
    principal = _principal(call.caller)
    because = decision.because
    diagnosis = {
        "ExplicitDeny": decision.explicit_deny,
        "NoPermissionPolicyType": kind,
        "AuthAction": action,
        "AuthResource": resource,
        "AuthPrincipal": principal,
        "AuthConditions": [
            {"ConditionKey": key, "ConditionValues": [value] if isinstance(value, str) else list(value)}
            for key, value in sorted(context.items())
        ],
        "MatchedPolicies": [_policy(because.source, because.effect.value)] if because else [],
    }
    return {
        "AuthAction": action,
        **principal,
        "PolicyType": kind,
        "NoPermissionType": "ExplicitDeny" if decision.explicit_deny else "ImplicitDeny",
        "EncodedDiagnosticMessage": call.services.vault.box(PURPOSE).seal(json.dumps(diagnosis)),
    }


def reason(decision: Decision, who: str, action: str, asked: str, *, names_policies: bool) -> str:
    """Return a sentence for people: what was refused, by which statement, or which policy of the system would allow it.

    Args:
        who: the ARN of the caller.
        asked: the action and the resource.
        names_policies: False for the policies of another account, which the caller need not know.
    """
    because = decision.because
    if because is not None:
        of = f"statement {because.number} of {because.source}" if because.number else because.source
        return f"{asked} is denied by {of if names_policies else 'a policy of ' + who}."
    if decision.by_session:
        return f"{asked} is not allowed by the policy of the session itself; begin one with a wider policy."
    if not names_policies:
        return f"No policy of {who} allows {asked}."
    would = identity.system_policy_for(action)
    return f"No policy of {who} allows {asked}." + (f" The system policy {would} would." if would else "")


def open_diagnosis(call: Call, message: str) -> dict[str, Any]:
    """Return the contents of a sealed diagnosis, for a caller of the account in which the call was refused.

    Raises:
        NoDiagnosis: it was not sealed by this server, or belongs to another account.
    """
    try:
        diagnosis = json.loads(call.services.vault.box(PURPOSE).unseal(message))
    except identity.CannotOpen:
        raise NoDiagnosis from None
    if diagnosis["AuthPrincipal"]["AuthPrincipalOwnerId"] != call.account_id:
        raise NoDiagnosis
    return dict(diagnosis)


def _principal(caller: identity.Caller) -> dict[str, str]:
    name = caller.user_id or caller.account_id
    if caller.session is not None:
        name = f"{caller.session.role_name}:{caller.session.name}"
    return {
        "AuthPrincipalType": PRINCIPAL_TYPES[caller.kind],
        "AuthPrincipalDisplayName": name,
        "AuthPrincipalOwnerId": caller.account_id,
    }


def _policy(source: str, effect: str) -> dict[str, str]:
    kind, _, name = source.partition("/")
    return {"PolicyType": kind, "PolicyIdentifier": name or kind, "AttachedScope": "Account", "Effect": effect}
