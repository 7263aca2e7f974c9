"""Explain why a call was refused: the AccessDeniedDetail of the error.

The reasons travel in it as a sealed diagnosis. DecodeDiagnosticMessage opens it for callers who may see policies.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import Decision
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
    call: Call, action: str | None, resource: str, context: Mapping[str, str], decision: Decision, kind: str = ""
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
        "AuthConditions": [{"ConditionKey": key, "ConditionValues": [value]} for key, value in sorted(context.items())],
        "MatchedPolicies": [_policy(because.source, because.effect.value)] if because else [],
    }
    return {
        "AuthAction": action,
        **principal,
        "PolicyType": kind,
        "NoPermissionType": "ExplicitDeny" if decision.explicit_deny else "ImplicitDeny",
        "EncodedDiagnosticMessage": call.services.vault.box(PURPOSE).seal(json.dumps(diagnosis)),
    }


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
