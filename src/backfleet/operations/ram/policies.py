"""Policies, and the users they are attached to."""

from dataclasses import dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import LONGEST_DOCUMENT
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import BadParameter, BadPolicyType, NoResourceGroups, in_rams_words
from backfleet.operations.ram.users import Listed, NamedUser, user_arn
from backfleet.wire.parameters import text

TYPES: Final = ("Custom", "System")
VERSION: Final = "v1"  # a policy has one version here


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A policy to be made."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE)
    document: str = text("PolicyDocument", required=True)
    description: str = text("Description", default="")


@dataclass(frozen=True, slots=True)
class OwnPolicy:
    """Which of the account's own policies."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """Which policy."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE)
    policy_type: str = text("PolicyType", required=True, longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class Attachment(NamedPolicy):
    """Which policy and which user."""

    user_name: str = text("UserName", required=True, longest=naming.ON_THE_WIRE)
    resource_group: str = text("ResourceGroupId", default="", longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class ListedPolicies(Listed):
    """Which part of the list of policies."""

    policy_type: str = text("PolicyType", default="", longest=naming.ON_THE_WIRE)


def own_policy_arn(call: Call, asked: NewPolicy | OwnPolicy) -> list[str]:
    """The policy of the account's own that a call is about."""
    return [f"acs:ram::{call.account_id}:policy/{asked.policy_name}"]


def policy_arn(call: Call, asked: NamedPolicy) -> list[str]:
    """The policy a call is about. The system's belong to no account: who may hand out an account's own may not, by
    that alone, hand out AdministratorAccess."""
    owner = "system" if asked.policy_type == "System" else call.account_id
    return [f"acs:ram::{owner}:policy/{asked.policy_name}"]


def every_policy(call: Call, asked: object) -> list[str]:
    """Every policy the account sees."""
    return [f"acs:ram::{call.account_id}:policy/*"]


def both_sides(call: Call, asked: Attachment) -> list[str]:
    """An attachment is about the policy and the user: the caller needs permission for each."""
    return [*policy_arn(call, asked), f"acs:ram::{call.account_id}:user/{asked.user_name}"]


@operation(RAM, "CreatePolicy", action="ram:CreatePolicy", resources=own_policy_arn, needs_tls=True)
def create_policy(call: Call, asked: NewPolicy) -> dict[str, Any]:
    """A policy of the account's own; one that could not be carried out to the letter is refused."""
    name = naming.policy_name(asked.policy_name)
    described = naming.free_text("Description", asked.description, 1024)
    if len(asked.document) > LONGEST_DOCUMENT:
        raise BadParameter("PolicyDocument", "Length", f"At most {LONGEST_DOCUMENT} characters are taken.")
    with in_rams_words(), call.house.database.transaction() as tx:
        made = identity.create_policy(tx, call.account_id, name, asked.document, description=described, now=call.now)
    return {"Policy": _shown(made)}


@operation(RAM, "GetPolicy", action="ram:GetPolicy", resources=policy_arn, needs_tls=True)
def get_policy(call: Call, asked: NamedPolicy) -> dict[str, Any]:
    """One policy and its document."""
    name, kind = naming.policy_name(asked.policy_name), _type(asked.policy_type)
    with in_rams_words(), call.house.database.reading() as tx:
        found = identity.find_policy(tx, call.account_id, name, kind)
    shown = _shown(found)
    version = {
        "VersionId": VERSION,
        "IsDefaultVersion": True,
        "PolicyDocument": found.document,
        "CreateDate": shown["CreateDate"],
    }
    return {"Policy": shown | _counted(found), "DefaultPolicyVersion": version}


@operation(RAM, "ListPolicies", action="ram:ListPolicies", resources=every_policy, needs_tls=True)
def list_policies(call: Call, asked: ListedPolicies) -> dict[str, Any]:
    """The account's own policies, then the system's, each by name. The marker is type and name of the last before."""
    kind = _type(asked.policy_type) if asked.policy_type else None
    after, limit = _after(asked.marker), asked.max_items + 1
    with call.house.database.reading() as tx:
        found = identity.list_policies(tx, call.account_id, kind=kind, after=after, limit=limit)
    page = found[: asked.max_items]
    more = len(found) > len(page)
    return {
        "Policies": {"Policy": [_shown(policy) | _counted(policy) for policy in page]},
        "IsTruncated": more,
        "Marker": f"{page[-1].kind}/{page[-1].name}" if more else None,
    }


@operation(RAM, "DeletePolicy", action="ram:DeletePolicy", resources=own_policy_arn, needs_tls=True)
def delete_policy(call: Call, asked: OwnPolicy) -> dict[str, Any]:
    """Delete a policy of the account's own that is attached to nobody."""
    name = naming.policy_name(asked.policy_name)
    with in_rams_words(), call.house.database.transaction() as tx:
        identity.delete_policy(tx, call.account_id, name)
    return {}


@operation(RAM, "AttachPolicyToUser", action="ram:AttachPolicyToUser", resources=both_sides, needs_tls=True)
def attach_policy_to_user(call: Call, asked: Attachment) -> dict[str, Any]:
    """Let a user do what a policy says, from their next request on."""
    user, policy, kind = _attachment(asked)
    with in_rams_words(), call.house.database.transaction() as tx:
        identity.attach_policy(tx, call.account_id, user, policy, kind, now=call.now)
    return {}


@operation(RAM, "DetachPolicyFromUser", action="ram:DetachPolicyFromUser", resources=both_sides, needs_tls=True)
def detach_policy_from_user(call: Call, asked: Attachment) -> dict[str, Any]:
    """Take a policy from a user, from their next request on."""
    user, policy, kind = _attachment(asked)
    with in_rams_words(), call.house.database.transaction() as tx:
        identity.detach_policy(tx, call.account_id, user, policy, kind)
    return {}


@operation(RAM, "ListPoliciesForUser", action="ram:ListPoliciesForUser", resources=user_arn, needs_tls=True)
def list_policies_for_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """What is attached to a user."""
    name = naming.user_name(asked.user_name)
    with in_rams_words(), call.house.database.reading() as tx:
        found = identity.policies_of_user(tx, call.account_id, name)
    return {"Policies": {"Policy": [_attached(policy) for policy in found]}}


def _type(value: str) -> str:
    if value not in TYPES:
        raise BadPolicyType
    return value


def _attachment(asked: Attachment) -> tuple[str, str, str]:
    if asked.resource_group:
        raise NoResourceGroups
    return naming.user_name(asked.user_name), naming.policy_name(asked.policy_name), _type(asked.policy_type)


def _after(marker: str) -> tuple[str, str] | None:
    if not marker:
        return None
    kind, _, name = marker.partition("/")
    try:
        return _type(kind), naming.policy_name(name)
    except (BadPolicyType, BadParameter):
        raise BadParameter("Marker", "Format", "It is the Marker of the answer before.") from None


def _shown(policy: identity.Policy) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.kind,
        "Description": policy.description,
        "DefaultVersion": VERSION,
        "CreateDate": naming.date(policy.created_at) if policy.created_at else None,
    }


def _counted(policy: identity.Policy) -> dict[str, Any]:
    """What a policy that is read has beside one that is made."""
    changed = naming.date(policy.created_at) if policy.created_at else None
    return {"UpdateDate": changed, "AttachmentCount": policy.attached}


def _attached(policy: identity.Policy) -> dict[str, Any]:
    attached = naming.date(policy.attached_at) if policy.attached_at else None
    return {name: value for name, value in _shown(policy).items() if name != "CreateDate"} | {"AttachDate": attached}
