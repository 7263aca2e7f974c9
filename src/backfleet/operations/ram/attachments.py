"""Attachments of policies to users, groups and roles."""

from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import NoResourceGroups, bad_names, ram_errors, refusals
from backfleet.operations.ram.groups import NamedGroup
from backfleet.operations.ram.policies import NAMED_ERRORS, NamedPolicy, policy_arn, policy_type, shown_policy
from backfleet.operations.ram.requests import arn_of
from backfleet.operations.ram.roles import NamedRole
from backfleet.operations.ram.unmatched import WARNINGS, warnings_for
from backfleet.operations.ram.users import NamedUser
from backfleet.values import value_object
from backfleet.wire.errors import ApiError
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


@value_object
class Attachment(NamedPolicy):
    """A policy; a resource group if the cloud's console chose one. `_enter_kind` adds the holder."""

    resource_group: str = text("ResourceGroupId", default="", longest=naming.ON_THE_WIRE)


@value_object
class HolderRequests:
    """The requests about one kind of holders of policies: how a name is checked, and what the operations are for."""

    name: str  # User, Group or Role
    check: Callable[[str], str]
    named: type[Any]  # the request that names one
    attach_doc: str
    detach_doc: str
    list_doc: str

    @property
    def field(self) -> str:
        """The request field with the name."""
        return f"{self.name.lower()}_name"

    def errors(self, *families: str) -> tuple[type[ApiError], ...]:
        """Return the errors of a request that names one, and these of the holder."""
        return (*bad_names(f"{self.name}Name"), *refusals(*(family.format(self.name) for family in families)))

    def arns(self, call: Call, asked: Any) -> list[str]:
        """Return the policy and the holder: an attachment needs permission on each."""
        return [*policy_arn(call, asked), f"acs:ram::{call.account_id}:{self.name.lower()}/{asked.holder}"]


KINDS: Final = (
    HolderRequests(
        "User",
        naming.user_name,
        NamedUser,
        "Attach a policy to a user. It applies from the user's next request on.",
        "Detach a policy from a user. It stops applying with the user's next request.",
        "List the policies that are attached to a user, without those of the user's groups.",
    ),
    HolderRequests(
        "Group",
        naming.group_name,
        NamedGroup,
        "Attach a policy to a group. It applies to every member from the next request on.",
        "Detach a policy from a group. It stops applying with the next request of a member.",
        "List the policies that are attached to a group.",
    ),
    HolderRequests(
        "Role",
        naming.role_name,
        NamedRole,
        "Attach a policy to a role. It applies to sessions of the role from their next request on.",
        "Detach a policy from a role. It stops applying with the next request of a session of the role.",
        "List the policies that are attached to a role.",
    ),
)


def _enter(run: Callable[[Call, Any], dict[str, Any]], request: type[Any], doc: str, name: str, **rest: Any) -> None:
    """Enter an operation of one kind of holders into the catalogue."""
    run.__annotations__["asked"] = request
    run.__doc__ = doc
    operation(RAM, name, action=f"ram:{name}", **rest)(run)


def _enter_kind(kind: HolderRequests) -> None:
    holder = text(f"{kind.name}Name", required=True, longest=naming.ON_THE_WIRE)
    request = make_dataclass(
        f"{kind.name}Attachment", [("holder", str, holder)], bases=(Attachment,), slots=True, unsafe_hash=True
    )
    attached = "EntityNotExist.{}", "EntityAlreadyExists.{}.Policy", "LimitExceeded.{}.Policy"
    detached = "EntityNotExist.{}", "EntityNotExist.{}.Policy"

    def attach(call: Call, asked: Any) -> dict[str, Any]:
        name, policy, of_type = _checked(asked, kind)
        with ram_errors(), call.services.database.transaction() as tx:
            identity.attach_policy(tx, call.account_id, name, policy, of_type, to=kind.name, now=call.now)
            return {**warnings_for(tx, call, policy, of_type)}

    def detach(call: Call, asked: Any) -> dict[str, Any]:
        name, policy, of_type = _checked(asked, kind)
        with ram_errors(), call.services.database.transaction() as tx:
            identity.detach_policy(tx, call.account_id, name, policy, of_type, of=kind.name)
        return {}

    def list_policies(call: Call, asked: Any) -> dict[str, Any]:
        name = kind.check(getattr(asked, kind.field))
        with ram_errors(), call.services.database.reading() as tx:
            found = identity.policies_of(tx, call.account_id, kind.name, name)
        return {"Policies": {"Policy": [_attached(policy) for policy in found]}}

    errors = (*NAMED_ERRORS, NoResourceGroups)
    _enter(
        attach, request, kind.attach_doc, f"AttachPolicyTo{kind.name}",
        resources=kind.arns, answer=WARNINGS, errors=(*errors, *kind.errors(*attached)),
    )  # fmt: skip
    _enter(
        detach, request, kind.detach_doc, f"DetachPolicyFrom{kind.name}",
        resources=kind.arns, answer={}, errors=(*errors, *kind.errors(*detached)),
    )  # fmt: skip
    _enter(
        list_policies, kind.named, kind.list_doc, f"ListPoliciesFor{kind.name}",
        resources=arn_of(kind.name.lower(), kind.field),
        answer={"Policies": {"Policy": [ATTACHED]}}, errors=kind.errors("EntityNotExist.{}"),
    )  # fmt: skip


for _kind in KINDS:
    _enter_kind(_kind)


def _checked(asked: Any, kind: HolderRequests) -> tuple[str, str, str]:
    """Return the names of holder and policy, and the type of the policy. Raises ApiError."""
    if asked.resource_group:
        raise NoResourceGroups
    return kind.check(asked.holder), naming.policy_name(asked.policy_name), policy_type(asked.policy_type)


def _attached(policy: identity.Policy) -> dict[str, Any]:
    attached = naming.date(policy.attached_at) if policy.attached_at else None
    shown = {name: value for name, value in shown_policy(policy).items() if name != "CreateDate"}
    return shown | {"AttachDate": attached}


@operation(
    RAM,
    "ListEntitiesForPolicy",
    action="ram:ListEntitiesForPolicy",
    resources=policy_arn,
    answer=ENTITIES,
    errors=NAMED_ERRORS,
)
def list_entities_for_policy(call: Call, asked: NamedPolicy) -> dict[str, Any]:
    """List the users, groups and roles of the account that a policy is attached to."""
    name, kind = naming.policy_name(asked.policy_name), policy_type(asked.policy_type)
    with ram_errors(), call.services.database.reading() as tx:
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
