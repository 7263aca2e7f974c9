"""Versions of policies: up to five, of which one is in force."""

from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import BadVersionId, MalformedPolicyDocument, bad_names, ram_errors, refusals
from backfleet.operations.ram.policies import (
    NAMED_ERRORS,
    OWN_POLICY_ARN,
    TOO_LONG,
    VERSION,
    NamedPolicy,
    OwnPolicy,
    check_length,
    policy_arn,
    policy_type,
    shown_version,
)
from backfleet.operations.ram.unmatched import WARNINGS, warnings_of
from backfleet.values import value_object
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import boolean, text

ROTATE: Final = "DeleteOldestNonDefaultVersionWhenLimitExceeded"
VERSION_ERRORS: Final[tuple[type[ApiError], ...]] = (BadVersionId, *refusals("EntityNotExist.Policy.Version"))


@value_object
class NewVersion(OwnPolicy):
    """A new version of a policy."""

    document: str = text("PolicyDocument", required=True, raw=True)
    default: bool = boolean("SetAsDefault", default=False)
    rotation: str = text("RotateStrategy", default="None", choices=("None", ROTATE))


@value_object
class OwnVersion(OwnPolicy):
    """A version of one of the account's own policies."""

    version_id: str = text("VersionId", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class NamedVersion(NamedPolicy):
    """A version of a policy."""

    version_id: str = text("VersionId", required=True, longest=naming.ON_THE_WIRE, raw=True)


@operation(
    RAM,
    "CreatePolicyVersion",
    action="ram:CreatePolicyVersion",
    resources=OWN_POLICY_ARN,
    answer={"PolicyVersion": VERSION, **WARNINGS},
    errors=(
        *bad_names("PolicyName"),
        TOO_LONG,
        MalformedPolicyDocument,
        *refusals("EntityNotExist.Policy", "LimitExceeded.Policy.Version"),
    ),
)
def create_policy_version(call: Call, asked: NewVersion) -> dict[str, Any]:
    """Make a new version of a policy. It is in force only with SetAsDefault."""
    name = naming.policy_name(asked.policy_name)
    check_length(asked.document)
    how = {"default": asked.default, "rotate": asked.rotation == ROTATE}
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.add_version(tx, call.account_id, name, asked.document, now=call.now, **how)
    return {"PolicyVersion": shown_version(made), **warnings_of(call, name, asked.document)}


@operation(
    RAM,
    "GetPolicyVersion",
    action="ram:GetPolicyVersion",
    resources=policy_arn,
    answer={"PolicyVersion": VERSION},
    errors=(*NAMED_ERRORS, *VERSION_ERRORS),
)
def get_policy_version(call: Call, asked: NamedVersion) -> dict[str, Any]:
    """Return one version of a policy."""
    name, kind = naming.policy_name(asked.policy_name), policy_type(asked.policy_type)
    number = naming.version_number(asked.version_id)
    with ram_errors(), call.services.database.reading() as tx:
        return {"PolicyVersion": shown_version(identity.find_version(tx, call.account_id, name, kind, number))}


@operation(
    RAM,
    "ListPolicyVersions",
    action="ram:ListPolicyVersions",
    resources=policy_arn,
    answer={"PolicyVersions": {"PolicyVersion": [VERSION]}},
    errors=NAMED_ERRORS,
)
def list_policy_versions(call: Call, asked: NamedPolicy) -> dict[str, Any]:
    """List the versions of a policy, oldest first."""
    name, kind = naming.policy_name(asked.policy_name), policy_type(asked.policy_type)
    with ram_errors(), call.services.database.reading() as tx:
        found = identity.list_versions(tx, call.account_id, name, kind)
    return {"PolicyVersions": {"PolicyVersion": [shown_version(version) for version in found]}}


@operation(
    RAM,
    "SetDefaultPolicyVersion",
    action="ram:SetDefaultPolicyVersion",
    resources=OWN_POLICY_ARN,
    answer={},
    errors=(*bad_names("PolicyName"), *VERSION_ERRORS, *refusals("EntityNotExist.Policy")),
)
def set_default_policy_version(call: Call, asked: OwnVersion) -> dict[str, Any]:
    """Put a version of a policy in force, from the next request on."""
    name, number = naming.policy_name(asked.policy_name), naming.version_number(asked.version_id)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.set_default_version(tx, call.account_id, name, number, now=call.now)
    return {}


@operation(
    RAM,
    "DeletePolicyVersion",
    action="ram:DeletePolicyVersion",
    resources=OWN_POLICY_ARN,
    answer={},
    errors=(
        *bad_names("PolicyName"),
        *VERSION_ERRORS,
        *refusals("EntityNotExist.Policy", "DeleteConflict.Policy.Version.Default"),
    ),
)
def delete_policy_version(call: Call, asked: OwnVersion) -> dict[str, Any]:
    """Delete a version of a policy that is not in force."""
    name, number = naming.policy_name(asked.policy_name), naming.version_number(asked.version_id)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_version(tx, call.account_id, name, number)
    return {}
