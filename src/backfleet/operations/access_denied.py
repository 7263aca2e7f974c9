"""Why a call was refused: what the caller is told, and what only an administrator may read.

The reasons travel with the refusal, sealed; DecodeDiagnosticMessage opens them for those who may see policies.
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
LONGEST: Final = 16_384  # characters of a sealed diagnosis that are read at all


class NoDiagnosis(ValueError):
    """Not a diagnosis of ours, or not of this account."""


def denied_detail(
    call: Call, action: str | None, resource: str, context: Mapping[str, str], decision: Decision, kind: str = ""
) -> dict[str, object]:
    """AccessDeniedDetail of a refusal; `kind` of policy, if it is neither the caller's own nor their session's."""
    kind = kind or (SESSION_POLICY if decision.by_session else IDENTITY_POLICY)
    principal = _principal(call.caller)
    because = decision.because
    said = {
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
        "EncodedDiagnosticMessage": call.services.vault.box(PURPOSE).seal(json.dumps(said)),
    }


def open_diagnosis(call: Call, message: str) -> dict[str, Any]:
    """What a sealed diagnosis says, to a caller of the account whose call was refused.

    Raises:
        NoDiagnosis: it is not one of ours, or another account's.
    """
    try:
        said = json.loads(call.services.vault.box(PURPOSE).unseal(message))
    except identity.CannotOpen:
        raise NoDiagnosis from None
    if said["AuthPrincipal"]["AuthPrincipalOwnerId"] != call.account_id:
        raise NoDiagnosis
    return dict(said)


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
