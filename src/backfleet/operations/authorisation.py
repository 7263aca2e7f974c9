"""Decide whether a caller may make a call, target by target."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import ALLOWED, Context, Decision, Permissions, Target
from backfleet.operations.access_denied import denied_detail, reason
from backfleet.operations.catalogue import HBR, STS, Call, Operation
from backfleet.operations.errors import Forbidden, NoPermission, StsNoPermission
from backfleet.operations.tag_conditions import requested_tags, resource_tags
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import ApiError

REFUSALS: Final[Mapping[str, type[NoPermission | StsNoPermission]]] = {
    HBR.code: NoPermission,
    STS.code: StsNoPermission,
}


@value_object
class Ruling:
    """What the policies decided on an action, with the deciding resource and the context of its conditions."""

    action: str | None
    decision: Decision
    resource: str
    context: Context
    product: str = ""  # whose error a refusal is; "" for that of the action
    of_all_accounts: bool = False  # the action changes what belongs to every account, and the caller's may not


def targets_of(operation: Operation, call: Call, request: Any) -> list[Target]:
    """Return what the call touches: all of the product's resources if the operation does not or cannot name them."""
    everything = f"acs:{operation.product.code}:{call.region}:{call.account_id}:*"
    named: Sequence[str | Target] = ()
    if operation.resources is not None and request is not None:
        named = operation.resources(call, request)
    return [Target((one,)) if isinstance(one, str) else one for one in named or [everything]]


def context_of(operation: Operation, call: Call, request: Any) -> dict[str, str]:
    """Return the keys that conditions may use. An operation's keys never replace those of every call."""
    own = operation.conditions(call, request) if operation.conditions is not None else {}
    return {**requested_tags(request), **own, **call.circumstances}


def judge(
    tx: Transaction, operation: Operation, call: Call, targets: Sequence[Target], context: Mapping[str, str]
) -> Ruling:
    """Decide on all targets of a call: one that is refused refuses the call.

    What belongs to every account is for the administrator account: no policy of another account can allow it.
    """
    if operation.action is None:
        return Ruling(None, ALLOWED, targets[0].arns[0], context)
    if operation.administrator_only and not identity.is_administrator_account(tx, call.account_id):
        return Ruling(operation.action, Decision(allowed=False), targets[0].arns[0], context, of_all_accounts=True)
    permissions = identity.permissions_of(tx, call.caller)
    if len(targets) > 1 and permissions.allow_all(operation.action, targets, context):
        targets = targets[-1:]  # which the last of all decisions is about
    contexts = contexts_of(tx, permissions, targets, context, call.account_id)
    for target, here in zip(targets, contexts, strict=True):
        decision = permissions.decide(operation.action, target, here)
        if not decision.allowed:
            break
    return Ruling(operation.action, decision, target.arns[0], here)


def denial(
    tx: Transaction, call: Call, action: str, targets: Sequence[Target], context: Mapping[str, str], *, owner: str
) -> Ruling | None:
    """Return the ruling of a statement that denies the caller one of the targets; None if none does.

    Args:
        owner: the account of the targets, whose tags count.
    """
    permissions = identity.permissions_of(tx, call.caller)
    for target, here in zip(targets, contexts_of(tx, permissions, targets, context, owner), strict=True):
        decision = permissions.denial(action, target, here)
        if decision is not None:
            return Ruling(action, decision, target.arns[0], here)
    return None


def refusal_of(call: Call, ruling: Ruling, *, of_another_account: bool = False) -> ApiError:
    """Return the error of a ruling that is not an Allow, in the words of the action's product.

    Args:
        of_another_account: the policies are those of another account, whose names are left out of the text.
    """
    detail = denied_detail(call, ruling.action, ruling.resource, ruling.context, ruling.decision)
    product = ruling.product or (ruling.action or "").partition(":")[0]
    if ruling.of_all_accounts:
        why = f"{ruling.action} changes what belongs to every account; only the administrator account may."
    else:
        asked = f"{ruling.action} on {ruling.resource}"
        who = call.caller.principal_arn
        why = reason(ruling.decision, who, ruling.action or "", asked, names_policies=not of_another_account)
    return REFUSALS.get(product, Forbidden)({"AccessDeniedDetail": detail}, why)


def contexts_of(
    tx: Transaction, permissions: Permissions, targets: Sequence[Target], context: Mapping[str, str], owner: str
) -> list[dict[str, str]]:
    """Return the context of each target: that of the call, and the tags of the owner's resources in it."""
    if not permissions.depend_on_tags:
        return [dict(context)] * len(targets)
    arns = [arn for target in targets for arn in target.arns]
    # An ARN may be one of another account: its tags must not decide here.
    tags = resource_tags(tx, [arn for arn in arns if arn.split(":", 4)[3:4] == [owner]])
    return [
        {**{name: value for arn in target.arns for name, value in tags.get(arn, {}).items()}, **context}
        for target in targets
    ]
