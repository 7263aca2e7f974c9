"""In whose account a call acts: the caller's own, or another one by one of its roles. Decided here for all operations.

Source: docs/api.md, "Across accounts".
"""

from dataclasses import dataclass, replace
from typing import Final

from backfleet import identity
from backfleet.operations import _store as audit
from backfleet.operations.access_denied import denied_detail
from backfleet.operations.catalogue import HBR, Call, Operation, find
from backfleet.operations.errors import NoPermission
from backfleet.operations.hbr.errors import AssumeRoleFailed, RoleNotExist
from backfleet.operations.perform import event_of
from backfleet.storage import Transaction
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet.wire.parameters import flatten, integer, text

SELF_ACCOUNT, CROSS_ACCOUNT = "SELF_ACCOUNT", "CROSS_ACCOUNT"
SERVICE: Final = "crossbackup.hbr.aliyuncs.com"
LINKED_ROLE: Final = identity.SERVICE_ROLES[SERVICE]
LARGEST_ID: Final = 10**16 - 1
CROSS_ACCOUNT_ERRORS: Final[tuple[type[ApiError], ...]] = (RoleNotExist, AssumeRoleFailed)


@dataclass(frozen=True, slots=True)
class CrossAccount:
    """The three words that every operation has that can act in another account."""

    cross_account_type: str | None = text("CrossAccountType", longest=64)
    cross_account_user_id: int | None = integer("CrossAccountUserId", least=0, most=LARGEST_ID)
    cross_account_role_name: str | None = text("CrossAccountRoleName", longest=64)


def check_cross_account(asked: CrossAccount) -> None:
    """Whether the three words go together: asked before anything is read.

    Raises:
        InvalidParameter: another type, or a user or role without CROSS_ACCOUNT.
        MissingParameter: CROSS_ACCOUNT without them.
    """
    kind = asked.cross_account_type
    if kind not in (None, SELF_ACCOUNT, CROSS_ACCOUNT):
        raise InvalidParameter(f"CrossAccountType is {kind[:80]!r}; it must be {SELF_ACCOUNT} or {CROSS_ACCOUNT}.")
    if kind == CROSS_ACCOUNT:
        if asked.cross_account_user_id is None:
            raise MissingParameter("CrossAccountUserId")
        if asked.cross_account_role_name is None:
            raise MissingParameter("CrossAccountRoleName")
    elif asked.cross_account_user_id is not None or asked.cross_account_role_name is not None:
        raise InvalidParameter(
            f"CrossAccountUserId and CrossAccountRoleName go with CrossAccountType {CROSS_ACCOUNT} only."
        )


def acting_call(call: Call, name: str, asked: CrossAccount) -> Call:
    """The call of the operation `name` as it acts: as it is, or in the other account, whose trail of audit then has a
    row of its own.

    Raises:
        ApiError: as `check_crossing`; RoleNotExist; AssumeRoleFailed: the role trusts neither the caller nor, for
            a pair that was registered, the service; NoPermission: the role may not do what is asked.
    """
    check_cross_account(asked)
    if asked.cross_account_type != CROSS_ACCOUNT:
        return call
    operation = find(HBR.version, name)
    other, role_name = str(asked.cross_account_user_id), asked.cross_account_role_name or ""
    with call.services.database.transaction() as tx:
        paired = identity.are_paired(tx, call.account_id, other, role_name)
        there = replace(call, caller=act_in(tx, call, other, role_name, paired=paired))
        refusal = _refusal(tx, there, operation)
        code = refusal.code if refusal else ""
        named = {name: value for name, value in flatten(asked).items() if name.startswith("CrossAccount")}
        allowed = refusal is None
        audit.write(tx, event_of(there, operation, call.caller.access_key_id, named, allowed=allowed, code=code))
    if refusal is not None:
        raise refusal
    return there


def act_in(tx: Transaction, call: Call, other: str, role_name: str, *, paired: bool) -> identity.Caller:
    """The caller in the place of another account's role.

    The service may be trusted instead of the caller's account; then for a registered pair only, for such a role does
    not say for whom. What the account's own service-linked role is trusted with counts while the account has it.

    Raises:
        RoleNotExist: there is no such role, or no such account.
        AssumeRoleFailed: it does not trust them.
    """
    try:
        return identity.assume_role(
            tx,
            call.caller,
            other,
            role_name,
            call.now,
            service=SERVICE if paired else "",
            linked_role=LINKED_ROLE if has_linked_role(tx, call.account_id) else "",
            context=call.circumstances,
        )
    except identity.NotFound:
        raise RoleNotExist from None
    except identity.NotTrusted:
        raise AssumeRoleFailed from None


def has_linked_role(tx: Transaction, account_id: str) -> bool:
    """Whether the account has the role that the service looks after other accounts by."""
    try:
        return bool(identity.find_role(tx, account_id, LINKED_ROLE).service)
    except identity.NotFound:
        return False


def _refusal(tx: Transaction, there: Call, operation: Operation) -> ApiError | None:
    """What the role's own policies say of the operation."""
    if operation.action is None:
        return None
    resource = f"acs:{operation.product.code}:{there.region}:{there.account_id}:*"
    decision = identity.permissions_of(tx, there.caller).decide(operation.action, resource, there.circumstances)
    if decision.allowed:
        return None
    detail = denied_detail(there, operation.action, resource, there.circumstances, decision)
    return NoPermission({"AccessDeniedDetail": detail})
