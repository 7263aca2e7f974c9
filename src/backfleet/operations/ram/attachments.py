"""What is attached to whom: policies to users, groups and roles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import NoResourceGroups, bad_names, in_rams_words, refusals
from backfleet.operations.ram.groups import NamedGroup, group_arn
from backfleet.operations.ram.policies import NAMED_ERRORS, NamedPolicy, policy_arn, policy_type, shown_policy
from backfleet.operations.ram.roles import NamedRole, role_arn
from backfleet.operations.ram.users import NamedUser, user_arn
from backfleet.wire.parameters import text
from backfleet.wire.shapes import Maybe

ATTACHED: Final = {
    "PolicyName": str,
    "PolicyType": str,
    "Description": str,
    "DefaultVersion": str,
    "AttachDate": Maybe(str),
}
ENTITIES: Final = {
    "Groups": {"Group": [{"GroupName": str, "Comments": str, "AttachDate": str}]},
    "Roles": {"Role": [{"RoleId": str, "RoleName": str, "Arn": str, "Description": str, "AttachDate": str}]},
    "Users": {"User": [{"UserId": str, "UserName": str, "DisplayName": str, "AttachDate": str}]},
}
CHECKS: Final[dict[str, Callable[[str], str]]] = {
    "User": naming.user_name,
    "Group": naming.group_name,
    "Role": naming.role_name,
}


@dataclass(frozen=True, slots=True)
class Attachment(NamedPolicy):
    """Which policy; a resource group if the cloud's console chose one."""

    resource_group: str = text("ResourceGroupId", default="", longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class UserAttachment(Attachment):
    """Which policy and which user."""

    holder: str = text("UserName", required=True, longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class GroupAttachment(Attachment):
    """Which policy and which group."""

    holder: str = text("GroupName", required=True, longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class RoleAttachment(Attachment):
    """Which policy and which role."""

    holder: str = text("RoleName", required=True, longest=naming.ON_THE_WIRE)


def _sides(kind: str) -> Callable[[Call, Any], list[str]]:
    """An attachment is about the policy and the holder: the caller needs permission for each."""
    return lambda call, asked: [*policy_arn(call, asked), f"acs:ram::{call.account_id}:{kind.lower()}/{asked.holder}"]


def _attach_errors(kind: str) -> tuple[Any, ...]:
    families = ("EntityNotExist.{}", "EntityAlreadyExists.{}.Policy", "LimitExceeded.{}.Policy")
    named = refusals(*(family.format(kind) for family in families))
    return (*NAMED_ERRORS, *bad_names(f"{kind}Name"), NoResourceGroups, *named)


def _detach_errors(kind: str) -> tuple[Any, ...]:
    named = refusals(f"EntityNotExist.{kind}", f"EntityNotExist.{kind}.Policy")
    return (*NAMED_ERRORS, *bad_names(f"{kind}Name"), NoResourceGroups, *named)


# --- Users ----------------------------------------------------------------------------------------------------------


@operation(
    RAM,
    "AttachPolicyToUser",
    action="ram:AttachPolicyToUser",
    resources=_sides("User"),
    answer={},
    errors=_attach_errors("User"),
)
def attach_policy_to_user(call: Call, asked: UserAttachment) -> dict[str, Any]:
    """Let a user do what a policy says, from their next request on."""
    return _attach(call, asked, asked.holder, "User")


@operation(
    RAM,
    "DetachPolicyFromUser",
    action="ram:DetachPolicyFromUser",
    resources=_sides("User"),
    answer={},
    errors=_detach_errors("User"),
)
def detach_policy_from_user(call: Call, asked: UserAttachment) -> dict[str, Any]:
    """Take a policy from a user, from their next request on."""
    return _detach(call, asked, asked.holder, "User")


@operation(
    RAM,
    "ListPoliciesForUser",
    action="ram:ListPoliciesForUser",
    resources=user_arn,
    answer={"Policies": {"Policy": [ATTACHED]}},
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User")),
)
def list_policies_for_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """What is attached to a user, not counting their groups."""
    return _list(call, asked.user_name, "User")


# --- Groups ---------------------------------------------------------------------------------------------------------


@operation(
    RAM,
    "AttachPolicyToGroup",
    action="ram:AttachPolicyToGroup",
    resources=_sides("Group"),
    answer={},
    errors=_attach_errors("Group"),
)
def attach_policy_to_group(call: Call, asked: GroupAttachment) -> dict[str, Any]:
    """Let everybody in a group do what a policy says, from their next request on."""
    return _attach(call, asked, asked.holder, "Group")


@operation(
    RAM,
    "DetachPolicyFromGroup",
    action="ram:DetachPolicyFromGroup",
    resources=_sides("Group"),
    answer={},
    errors=_detach_errors("Group"),
)
def detach_policy_from_group(call: Call, asked: GroupAttachment) -> dict[str, Any]:
    """Take a policy from a group, from the next request on."""
    return _detach(call, asked, asked.holder, "Group")


@operation(
    RAM,
    "ListPoliciesForGroup",
    action="ram:ListPoliciesForGroup",
    resources=group_arn,
    answer={"Policies": {"Policy": [ATTACHED]}},
    errors=(*bad_names("GroupName"), *refusals("EntityNotExist.Group")),
)
def list_policies_for_group(call: Call, asked: NamedGroup) -> dict[str, Any]:
    """What is attached to a group."""
    return _list(call, asked.group_name, "Group")


# --- Roles ----------------------------------------------------------------------------------------------------------


@operation(
    RAM,
    "AttachPolicyToRole",
    action="ram:AttachPolicyToRole",
    resources=_sides("Role"),
    answer={},
    errors=_attach_errors("Role"),
)
def attach_policy_to_role(call: Call, asked: RoleAttachment) -> dict[str, Any]:
    """Let a role do what a policy says; its sessions may from their next request on."""
    return _attach(call, asked, asked.holder, "Role")


@operation(
    RAM,
    "DetachPolicyFromRole",
    action="ram:DetachPolicyFromRole",
    resources=_sides("Role"),
    answer={},
    errors=_detach_errors("Role"),
)
def detach_policy_from_role(call: Call, asked: RoleAttachment) -> dict[str, Any]:
    """Take a policy from a role; from its sessions too, from their next request on."""
    return _detach(call, asked, asked.holder, "Role")


@operation(
    RAM,
    "ListPoliciesForRole",
    action="ram:ListPoliciesForRole",
    resources=role_arn,
    answer={"Policies": {"Policy": [ATTACHED]}},
    errors=(*bad_names("RoleName"), *refusals("EntityNotExist.Role")),
)
def list_policies_for_role(call: Call, asked: NamedRole) -> dict[str, Any]:
    """What is attached to a role."""
    return _list(call, asked.role_name, "Role")


# --- Policies -------------------------------------------------------------------------------------------------------


@operation(
    RAM,
    "ListEntitiesForPolicy",
    action="ram:ListEntitiesForPolicy",
    resources=policy_arn,
    answer=ENTITIES,
    errors=NAMED_ERRORS,
)
def list_entities_for_policy(call: Call, asked: NamedPolicy) -> dict[str, Any]:
    """To whom in the account a policy is attached."""
    name, kind = naming.policy_name(asked.policy_name), policy_type(asked.policy_type)
    with in_rams_words(), call.services.database.reading() as tx:
        found = identity.holders_of(tx, call.account_id, name, kind)
    shown: dict[str, list[dict[str, str]]] = {"Group": [], "Role": [], "User": []}
    for holder in found:
        shown[holder.kind].append(_holder(call, holder))
    return {f"{kind}s": {kind: listed} for kind, listed in shown.items()}


def _holder(call: Call, holder: identity.Holder) -> dict[str, str]:
    since = {"AttachDate": naming.date(holder.attached_at)}
    if holder.kind == "Group":
        return {"GroupName": holder.name, "Comments": holder.note} | since
    if holder.kind == "Role":
        arn = f"acs:ram::{call.account_id}:role/{holder.name}"
        return {"RoleId": holder.id, "RoleName": holder.name, "Arn": arn, "Description": holder.note} | since
    return {"UserId": holder.id, "UserName": holder.name, "DisplayName": holder.note} | since


def _attach(call: Call, asked: Attachment, holder: str, kind: str) -> dict[str, Any]:
    name, policy, of_type = _checked(asked, holder, kind)
    with in_rams_words(), call.services.database.transaction() as tx:
        identity.attach_policy(tx, call.account_id, name, policy, of_type, to=kind, now=call.now)
    return {}


def _detach(call: Call, asked: Attachment, holder: str, kind: str) -> dict[str, Any]:
    name, policy, of_type = _checked(asked, holder, kind)
    with in_rams_words(), call.services.database.transaction() as tx:
        identity.detach_policy(tx, call.account_id, name, policy, of_type, of=kind)
    return {}


def _list(call: Call, holder: str, kind: str) -> dict[str, Any]:
    name = CHECKS[kind](holder)
    with in_rams_words(), call.services.database.reading() as tx:
        found = identity.policies_of(tx, call.account_id, kind, name)
    return {"Policies": {"Policy": [_attached(policy) for policy in found]}}


def _checked(asked: Attachment, holder: str, kind: str) -> tuple[str, str, str]:
    if asked.resource_group:
        raise NoResourceGroups
    return CHECKS[kind](holder), naming.policy_name(asked.policy_name), policy_type(asked.policy_type)


def _attached(policy: identity.Policy) -> dict[str, Any]:
    attached = naming.date(policy.attached_at) if policy.attached_at else None
    shown = {name: value for name, value in shown_policy(policy).items() if name != "CreateDate"}
    return shown | {"AttachDate": attached}
