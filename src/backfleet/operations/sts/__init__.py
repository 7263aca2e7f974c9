"""STS 2015-04-01: who am I."""

from dataclasses import dataclass
from typing import Any

from backfleet.operations.catalogue import STS, Call, operation


@dataclass(frozen=True, slots=True)
class GetCallerIdentity:
    """No parameters."""


@operation(STS, "GetCallerIdentity", action=None, needs_tls=True)
def get_caller_identity(call: Call, asked: GetCallerIdentity) -> dict[str, Any]:
    """Account, ARN and kind of the caller. Needs no permission: whoever holds a key may know whose it is."""
    caller = call.caller
    answer = {
        "AccountId": caller.account_id,
        "Arn": caller.arn,
        "PrincipalId": caller.principal_id,
        "IdentityType": caller.kind,
    }
    return answer | ({"UserId": caller.user_id} if caller.user_id else {})
