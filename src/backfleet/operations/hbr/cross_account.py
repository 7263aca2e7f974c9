"""The account that a call acts in: the caller's own, or another one through one of its roles.

Source: docs/api.md, "Across accounts".
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from backfleet import identity
from backfleet.identity.policy import ASSUME, Target
from backfleet.operations import _store as audit
from backfleet.operations.authorisation import denial, judge, refusal_of
from backfleet.operations.catalogue import HBR, Call, find
from backfleet.operations.hbr.errors import AssumeRoleFailed, RoleNotExist
from backfleet.operations.hbr.identifiers import CROSS_ACCOUNT
from backfleet.operations.perform import event_of
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet.wire.parameters import flatten, integer, text

SELF_ACCOUNT: Final = "SELF_ACCOUNT"
SERVICE: Final = "crossbackup.hbr.aliyuncs.com"
LINKED_ROLE: Final = identity.SERVICE_ROLES[SERVICE]
LARGEST_ID: Final = 10**16 - 1
NamedTargets = Callable[[Transaction, str], list[Target]]
"""Returns what a call names in the account of this id."""

CROSS_ACCOUNT_ERRORS: Final[tuple[type[ApiError], ...]] = (RoleNotExist, AssumeRoleFailed)


@value_object
class CrossAccount:
    """The three parameters of every operation that can act in another account."""

    cross_account_type: str | None = text("CrossAccountType", longest=64)
    cross_account_user_id: int | None = integer("CrossAccountUserId", least=0, most=LARGEST_ID)
    cross_account_role_name: str | None = text("CrossAccountRoleName", longest=64)


def check_cross_account(asked: CrossAccount) -> None:
    """Raise unless the three parameters fit together. Called before anything is read.

    Raises:
        InvalidParameter: the type is unknown, or a user or role comes without CROSS_ACCOUNT.
        MissingParameter: CROSS_ACCOUNT comes without them.
    """
    kind = asked.cross_account_type
    if kind not in (None, SELF_ACCOUNT, CROSS_ACCOUNT):
        raise InvalidParameter(f"CrossAccountType is {kind[:80]!r}; it must be {SELF_ACCOUNT} or {CROSS_ACCOUNT}.")
    if kind == CROSS_ACCOUNT and getattr(asked, "expires_in_seconds", None) is not None:
        raise InvalidParameter("ExpiresInSeconds is for your own account: a role is not assumed days later.")
    if kind == CROSS_ACCOUNT:
        if asked.cross_account_user_id is None:
            raise MissingParameter("CrossAccountUserId")
        if asked.cross_account_role_name is None:
            raise MissingParameter("CrossAccountRoleName")
    elif asked.cross_account_user_id is not None or asked.cross_account_role_name is not None:
        raise InvalidParameter(
            f"CrossAccountUserId and CrossAccountRoleName go with CrossAccountType {CROSS_ACCOUNT} only."
        )


def acting_call(call: Call, name: str, asked: CrossAccount, targets: NamedTargets) -> Call:
    """Return the call as it acts: unchanged, or as a role of the other account, whose audit trail then gets a row too.

    The caller's own policies have allowed the operation by now. What they say about the role and about what is over
    there is decided here, where the other account has agreed to be read: a Deny of the caller's own wins.

    Args:
        name: of the operation.
        targets: returns what the call names in an account.

    Raises:
        ApiError: as `check_cross_account` and `assume_role`; NoPermission: a policy of the caller denies a target, or
            the role's policies do not allow the operation on one.
    """
    check_cross_account(asked)
    if asked.cross_account_type != CROSS_ACCOUNT:
        return call
    operation = find(HBR.version, name)
    other, role_name = str(asked.cross_account_user_id), asked.cross_account_role_name or ""
    with call.services.database.transaction() as tx:
        there = replace(call, caller=assume_role(tx, call, other, role_name))
        found = targets(tx, other)
        denied = denial(tx, call, operation.action or "", found, call.circumstances, owner=other)
        if denied is not None:
            raise refusal_of(call, denied)
        ruling = judge(tx, operation, there, found, there.circumstances)
        allowed = ruling.decision.allowed
        refusal = None if allowed else refusal_of(there, ruling, of_another_account=True)
        code = refusal.code if refusal else ""
        named = {name: value for name, value in flatten(asked).items() if name.startswith("CrossAccount")}
        audit.write(tx, event_of(there, operation, call.caller.access_key_id, named, allowed=allowed, code=code))
    if refusal is not None:
        raise refusal
    return there


def assume_role(
    tx: Transaction, call: Call, other: str, role_name: str, *, registering: bool = False
) -> identity.Caller:
    """Return the caller as a role of another account.

    A role may trust the service instead of the caller's account. That counts for a registered pair only, because such a
    role does not name the accounts that it is meant for. A role may also trust the service for the caller's account
    alone, or the service-linked role of the caller's account, which counts while the account has that role.

    Args:
        registering: the call registers the pair.

    Raises:
        NoPermission: a policy of the caller denies sts:AssumeRole on the role.
        AssumeRoleFailed: the role trusts none of these; or there is no such role or account, and the pair is not
            registered: nobody may find out which roles others have.
        RoleNotExist: the role of a registered pair is gone.
    """
    arn = f"acs:ram::{other}:role/{role_name}"
    denied = denial(tx, call, ASSUME, [Target((arn,))], call.circumstances, owner=other)
    if denied is not None:
        raise refusal_of(call, replace(denied, product=HBR.code))
    paired = identity.are_paired(tx, call.account_id, other, role_name)
    try:
        return identity.assume_role(
            tx,
            call.caller,
            other,
            role_name,
            call.now,
            service=SERVICE if paired or registering else "",
            own_service=SERVICE,
            linked_role=LINKED_ROLE if has_linked_role(tx, call.account_id) else "",
            context=call.circumstances,
        )
    except identity.NotFound:
        raise (RoleNotExist if paired else AssumeRoleFailed) from None
    except identity.NotTrusted:
        raise AssumeRoleFailed from None


def has_linked_role(tx: Transaction, account_id: str) -> bool:
    """Return whether the account has the service-linked role for managing other accounts."""
    try:
        return bool(identity.find_role(tx, account_id, LINKED_ROLE).service)
    except identity.NotFound:
        return False
