"""Policies: the account's own, and the system's."""

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
    ram_errors,
    refusals,
)
from backfleet.operations.ram.requests import BAD_MARKER, PAGED, Listed, arn_of, every_arn
from backfleet.operations.ram.tags import BAD_TAG, read_tags
from backfleet.operations.ram.unmatched import WARNINGS, warnings_of
from backfleet.operations.tags import Tag
from backfleet.values import value_object
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
    "CreateDate": Maybe(str),  # policies of the system have no dates
    "UpdateDate": Maybe(str),
    "AttachmentCount": Maybe(int),
}
VERSION: Final = {"VersionId": str, "IsDefaultVersion": bool, "PolicyDocument": str, "CreateDate": Maybe(str)}


@value_object
class NewPolicy:
    """A policy to make."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE, raw=True)
    document: str = text("PolicyDocument", required=True, raw=True)
    description: str = text("Description", default="", raw=True)
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag)
    written_tags: str = text("Tag", default="", longest=16_384, raw=True)


@value_object
class OwnPolicy:
    """One of the account's own policies."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class DescribedPolicy(OwnPolicy):
    """A policy and its new description."""

    description: str = text("NewDescription", required=True, raw=True)


@value_object
class DeletedPolicy(OwnPolicy):
    """A policy, and whether to delete its versions too."""

    cascading: bool = boolean("CascadingDelete", default=False)


@value_object
class NamedPolicy:
    """A policy."""

    policy_name: str = text("PolicyName", required=True, longest=naming.ON_THE_WIRE, raw=True)
    policy_type: str = text("PolicyType", required=True, longest=naming.ON_THE_WIRE)


@value_object
class ListedPolicies(Listed):
    """A part of the policies."""

    policy_type: str = text("PolicyType", default="", longest=naming.ON_THE_WIRE)


OWN_POLICY_ARN: Final = arn_of("policy", "policy_name")


def policy_arn(call: Call, asked: NamedPolicy) -> list[str]:
    """Return the policy that a call is about.

    A policy of the system has an ARN outside the account: permission to attach the account's own policies does not
    include permission to attach AdministratorAccess.
    """
    owner = "system" if asked.policy_type == "System" else call.account_id
    return [f"acs:ram::{owner}:policy/{asked.policy_name}"]


@operation(
    RAM,
    "CreatePolicy",
    action="ram:CreatePolicy",
    resources=OWN_POLICY_ARN,
    answer={"Policy": POLICY, **WARNINGS},
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
    """Make a policy. A document with anything that this server cannot enforce exactly is refused."""
    name = naming.policy_name(asked.policy_name)
    described = naming.free_text("Description", asked.description, 1024)
    tags = {key: value or "" for key, value in read_tags(asked.tags, asked.written_tags).items()}
    check_length(asked.document)
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.create_policy(
            tx, call.account_id, name, asked.document, description=described, tags=tags, now=call.now
        )
    return {"Policy": shown_policy(made), **warnings_of(call, name, asked.document)}


@operation(
    RAM,
    "GetPolicy",
    action="ram:GetPolicy",
    resources=policy_arn,
    answer={"Policy": POLICY, "DefaultPolicyVersion": VERSION},
    errors=NAMED_ERRORS,
)
def get_policy(call: Call, asked: NamedPolicy) -> dict[str, Any]:
    """Return a policy and the document that is in force."""
    name, kind = naming.policy_name(asked.policy_name), policy_type(asked.policy_type)
    with ram_errors(), call.services.database.reading() as tx:
        found = identity.find_policy(tx, call.account_id, name, kind)
        version = identity.find_version(tx, call.account_id, name, kind, found.version)
    return {"Policy": shown_policy(found) | _read_fields(found), "DefaultPolicyVersion": shown_version(version)}


@operation(
    RAM,
    "ListPolicies",
    action="ram:ListPolicies",
    resources=every_arn("policy"),
    answer={"Policies": {"Policy": [POLICY]}, **PAGED},
    errors=(BAD_MARKER, BadPolicyType),
)
def list_policies(call: Call, asked: ListedPolicies) -> dict[str, Any]:
    """List the account's own policies, then the system's, by name. The marker is the type and name of the last one."""
    kind = policy_type(asked.policy_type) if asked.policy_type else None
    after, limit = _after(asked.marker), asked.max_items + 1
    with call.services.database.reading() as tx:
        found = identity.list_policies(tx, call.account_id, kind=kind, after=after, limit=limit)
    page = found[: asked.max_items]
    more = len(found) > len(page)
    return {
        "Policies": {"Policy": [shown_policy(policy) | _read_fields(policy) for policy in page]},
        "IsTruncated": more,
        "Marker": f"{page[-1].kind}/{page[-1].name}" if more else None,
    }


@operation(
    RAM,
    "UpdatePolicyDescription",
    action="ram:UpdatePolicyDescription",
    resources=OWN_POLICY_ARN,
    answer={"Policy": POLICY},
    errors=(*bad_names("PolicyName"), *bad_texts("NewDescription"), *refusals("EntityNotExist.Policy")),
)
def update_policy_description(call: Call, asked: DescribedPolicy) -> dict[str, Any]:
    """Change the description of one of the account's own policies."""
    name = naming.policy_name(asked.policy_name)
    described = naming.free_text("NewDescription", asked.description, 1024)
    with ram_errors(), call.services.database.transaction() as tx:
        changed = identity.set_policy_description(tx, call.account_id, name, described, now=call.now)
    return {"Policy": shown_policy(changed) | _read_fields(changed)}


@operation(
    RAM,
    "DeletePolicy",
    action="ram:DeletePolicy",
    resources=OWN_POLICY_ARN,
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
    """Delete one of the account's own policies that is not attached; with CascadingDelete its versions too."""
    name = naming.policy_name(asked.policy_name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_policy(tx, call.account_id, name, versions_too=asked.cascading)
    return {}


def policy_type(value: str) -> str:
    """Return the value if it is a policy type. Raises BadPolicyType."""
    if value not in TYPES:
        raise BadPolicyType
    return value


def check_length(document: str) -> None:
    """Raise BadParameter if a document is too long."""
    if len(document) > LONGEST_DOCUMENT:
        raise TOO_LONG(f"At most {LONGEST_DOCUMENT} characters are taken.")


def shown_policy(policy: identity.Policy) -> dict[str, Any]:
    """Return a policy as the answer that makes it shows it."""
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.kind,
        "Description": policy.description,
        "DefaultVersion": f"v{policy.version}",
        "CreateDate": naming.date(policy.created_at) if policy.created_at else None,
    }


def shown_version(version: identity.PolicyVersion) -> dict[str, Any]:
    """Return one version of a policy as answers show it."""
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


def _read_fields(policy: identity.Policy) -> dict[str, Any]:
    """Return the fields that only reads of a policy show."""
    changed = naming.date(policy.updated_at) if policy.updated_at else None
    return {"UpdateDate": changed, "AttachmentCount": policy.attached}
