"""GetCallerIdentity: which account and identity a key belongs to."""

from typing import Any, Final

from backfleet.operations.catalogue import STS, Call, operation
from backfleet.values import value_object
from backfleet.wire.shapes import Maybe

IDENTITY: Final = {
    "AccountId": str,
    "Arn": str,
    "PrincipalId": str,
    "IdentityType": str,
    "UserId": Maybe(str),
    "RoleId": Maybe(str),
}


@value_object
class GetCallerIdentity:
    """No parameters."""


@operation(STS, "GetCallerIdentity", action=None, answer=IDENTITY)
def get_caller_identity(call: Call, asked: GetCallerIdentity) -> dict[str, Any]:
    """Return account, ARN and kind of the caller. It needs no permission: a key may show whose it is."""
    caller = call.caller
    answer = {
        "AccountId": caller.account_id,
        "Arn": caller.arn,
        "PrincipalId": caller.principal_id,
        "IdentityType": caller.kind,
    }
    return (
        answer
        | ({"UserId": caller.user_id} if caller.user_id else {})
        | ({"RoleId": caller.role_id} if caller.role_id else {})
    )
