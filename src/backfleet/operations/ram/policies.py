"""Policies."""

from dataclasses import dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import LONGEST_DOCUMENT
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import (
    BadParameter,
    BadPolicyType,
    MalformedPolicyDocument,
    bad_names,
    bad_parameter,
    bad_texts,
    in_rams_words,
    refusals,
)
from backfleet.operations.ram.tags import BAD_TAG
from backfleet.operations.ram.users import BAD_MARKER, PAGED, Listed
from backfleet.operations.tags import Tag
from backfleet.wire.parameters import boolean, repeat_objects, text
from backfleet.wire.shapes import Maybe

TYPES: Final = ("Custom", "System")
TOO_LONG: Final = bad_parameter("PolicyDocument", "Length")
NAMED_ERRORS: Final = (*bad_names("PolicyName"), BadPolicyType, *refusals("EntityNotExist.Policy"))
POLICY: Final = {
    "PolicyName": str,
    "PolicyType": str,
    "Description": str,
    "DefaultVersion": str,
    "CreateDate": Maybe(str),  # those of the system have no dates
    "UpdateDate": Maybe(str),
    "AttachmentCount": Maybe(int),
}
VERSION: Final = {"VersionId": str, "IsDefaultVersion": bool, "PolicyDocument": str, "CreateDate": Maybe(str)}


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A policy to be made."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE)
    document: str = text("PolicyDocument", required=True)
    description: str = text("Description", default="")
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag)
    written_tags: str = text("Tag", default="", longest=16_384)


@dataclass(frozen=True, slots=True)
class OwnPolicy:
    """Which of the account's own policies."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class DescribedPolicy(OwnPolicy):
    """Which policy, and what people are told of it."""

    description: str = text("NewDescription", required=True)


@dataclass(frozen=True, slots=True)
class DeletedPolicy(OwnPolicy):
    """Which policy, and whether its versions go too."""

    cascading: bool = boolean("CascadingDelete", default=False)


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """Which policy."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE)
    policy_type: str = text("PolicyType", required=True, longest=naming.ON_THE_WIRE)


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


@operation(
    RAM,
    "CreatePolicy",
    action="ram:CreatePolicy",
    resources=own_policy_arn,
    answer={"Policy": POLICY},
    errors=(
        *bad_names("PolicyName"),
        *bad_texts("Description"),
        TOO_LONG,
        BAD_TAG,
        MalformedPolicyDocument,
        *refusals("EntityAlreadyExists.Policy", "LimitExceeded.Policy"),
    ),
)
def create_policy(call: Call, asked: NewPolicy) -> dict[str, Any]:
    """A policy of the account's own; one that could not be carried out to the letter is refused."""
    name = naming.policy_name(asked.policy_name)
    described = naming.free_text("Description", asked.description, 1024)
    if asked.tags or asked.written_tags:
        raise BAD_TAG("Policies carry no tags here; leave them out.")
    check_length(asked.document)
    with in_rams_words(), call.services.database.transaction() as tx:
        made = identity.create_policy(tx, call.account_id, name, asked.document, description=described, now=call.now)
    return {"Policy": shown_policy(made)}


@operation(
    RAM,
    "GetPolicy",
    action="ram:GetPolicy",
    resources=policy_arn,
    answer={"Policy": POLICY, "DefaultPolicyVersion": VERSION},
    errors=NAMED_ERRORS,
)
def get_policy(call: Call, asked: NamedPolicy) -> dict[str, Any]:
    """One policy and the document that is in force."""
    name, kind = naming.policy_name(asked.policy_name), policy_type(asked.policy_type)
    with in_rams_words(), call.services.database.reading() as tx:
        found = identity.find_policy(tx, call.account_id, name, kind)
        version = identity.find_version(tx, call.account_id, name, kind, found.version)
    return {"Policy": shown_policy(found) | _counted(found), "DefaultPolicyVersion": shown_version(version)}


@operation(
    RAM,
    "ListPolicies",
    action="ram:ListPolicies",
    resources=every_policy,
    answer={"Policies": {"Policy": [POLICY]}, **PAGED},
    errors=(BAD_MARKER, BadPolicyType),
)
def list_policies(call: Call, asked: ListedPolicies) -> dict[str, Any]:
    """The account's own policies, then the system's, each by name. The marker is type and name of the last before."""
    kind = policy_type(asked.policy_type) if asked.policy_type else None
    after, limit = _after(asked.marker), asked.max_items + 1
    with call.services.database.reading() as tx:
        found = identity.list_policies(tx, call.account_id, kind=kind, after=after, limit=limit)
    page = found[: asked.max_items]
    more = len(found) > len(page)
    return {
        "Policies": {"Policy": [shown_policy(policy) | _counted(policy) for policy in page]},
        "IsTruncated": more,
        "Marker": f"{page[-1].kind}/{page[-1].name}" if more else None,
    }


@operation(
    RAM,
    "UpdatePolicyDescription",
    action="ram:UpdatePolicyDescription",
    resources=own_policy_arn,
    answer={"Policy": POLICY},
    errors=(*bad_names("PolicyName"), *bad_texts("NewDescription"), *refusals("EntityNotExist.Policy")),
)
def update_policy_description(call: Call, asked: DescribedPolicy) -> dict[str, Any]:
    """Change what people are told of a policy of the account's own."""
    name = naming.policy_name(asked.policy_name)
    described = naming.free_text("NewDescription", asked.description, 1024)
    with in_rams_words(), call.services.database.transaction() as tx:
        changed = identity.set_policy_description(tx, call.account_id, name, described, now=call.now)
    return {"Policy": shown_policy(changed) | _counted(changed)}


@operation(
    RAM,
    "DeletePolicy",
    action="ram:DeletePolicy",
    resources=own_policy_arn,
    answer={},
    errors=(
        *bad_names("PolicyName"),
        *refusals(
            "EntityNotExist.Policy",
            "DeleteConflict.Policy.User",
            "DeleteConflict.Policy.Group",
            "DeleteConflict.Policy.Role",
            "DeleteConflict.Policy.Version",
        ),
    ),
)
def delete_policy(call: Call, asked: DeletedPolicy) -> dict[str, Any]:
    """Delete a policy of the account's own that is attached to nobody; its other versions too, if that is said."""
    name = naming.policy_name(asked.policy_name)
    with in_rams_words(), call.services.database.transaction() as tx:
        identity.delete_policy(tx, call.account_id, name, versions_too=asked.cascading)
    return {}


def policy_type(value: str) -> str:
    """The value, if it is a type. Raises BadPolicyType."""
    if value not in TYPES:
        raise BadPolicyType
    return value


def check_length(document: str) -> None:
    """Raises BadParameter."""
    if len(document) > LONGEST_DOCUMENT:
        raise TOO_LONG(f"At most {LONGEST_DOCUMENT} characters are taken.")


def shown_policy(policy: identity.Policy) -> dict[str, Any]:
    """A policy, as it is made."""
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.kind,
        "Description": policy.description,
        "DefaultVersion": f"v{policy.version}",
        "CreateDate": naming.date(policy.created_at) if policy.created_at else None,
    }


def shown_version(version: identity.PolicyVersion) -> dict[str, Any]:
    """One version of a policy."""
    return {
        "VersionId": f"v{version.number}",
        "IsDefaultVersion": version.is_default,
        "PolicyDocument": version.document,
        "CreateDate": naming.date(version.created_at) if version.created_at else None,
    }


def _after(marker: str) -> tuple[str, str] | None:
    if not marker:
        return None
    kind, _, name = marker.partition("/")
    try:
        return policy_type(kind), naming.policy_name(name)
    except (BadPolicyType, BadParameter):
        raise BAD_MARKER("It is the Marker of the answer before.") from None


def _counted(policy: identity.Policy) -> dict[str, Any]:
    """What a policy that is read has beside one that is made."""
    changed = naming.date(policy.updated_at) if policy.updated_at else None
    return {"UpdateDate": changed, "AttachmentCount": policy.attached}
