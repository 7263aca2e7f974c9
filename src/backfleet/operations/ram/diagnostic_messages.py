"""DecodeDiagnosticMessage: why a call was refused, for callers who may see policies."""

from typing import Any, Final

from backfleet.operations.access_denied import LONGEST, NoDiagnosis, open_diagnosis
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram.errors import BadDiagnosis
from backfleet.values import value_object
from backfleet.wire.parameters import text

DIAGNOSIS: Final = {
    "ExplicitDeny": bool,
    "NoPermissionPolicyType": str,
    "AuthAction": str,
    "AuthResource": str,
    "AuthPrincipal": {"AuthPrincipalType": str, "AuthPrincipalDisplayName": str, "AuthPrincipalOwnerId": str},
    "AuthConditions": [{"ConditionKey": str, "ConditionValues": [str]}],
    "MatchedPolicies": [{"PolicyType": str, "PolicyIdentifier": str, "AttachedScope": str, "Effect": str}],
}


@value_object
class SealedDiagnosis:
    """The diagnosis that came with a refusal."""

    message: str = text("EncodedDiagnosticMessage", required=True, longest=LONGEST, raw=True)


@operation(
    RAM,
    "DecodeDiagnosticMessage",
    action="ram:DecodeDiagnosticMessage",
    answer={"DecodedDiagnosticMessage": DIAGNOSIS},
    errors=(BadDiagnosis,),
)
def decode_diagnostic_message(call: Call, asked: SealedDiagnosis) -> dict[str, Any]:
    """Decode the diagnosis of a refusal: the action, the resource, the conditions, and the policy that denied it."""
    try:
        return {"DecodedDiagnosticMessage": open_diagnosis(call, asked.message)}
    except NoDiagnosis:
        raise BadDiagnosis from None
