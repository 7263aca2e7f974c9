"""Roles of the account."""

from datetime import timedelta
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import LONGEST_DOCUMENT
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import (
    BadDuration,
    MalformedPolicyDocument,
    bad_names,
    bad_parameter,
    bad_texts,
    ram_errors,
    refusals,
)
from backfleet.operations.ram.requests import BAD_MARKER, PAGED, Listed, after_name, arn_of, every_arn, paged
from backfleet.operations.ram.tags import BAD_TAG, read_tags, shown_tags
from backfleet.operations.tags import Tag
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, integer, repeat_objects, text
from backfleet.wire.shapes import Maybe

HOUR: Final = 3600
SERVICE_PREFIX: Final = "AliyunServiceRoleFor"
RESERVED: Final = bad_parameter("RoleName", "Format")
NO_CONSOLE: Final = bad_parameter("AllowConsoleLogin", "Format")
ROLE: Final = {
    "RoleId": str,
    "RoleName": str,
    "Arn": str,
    "Description": str,
    "AssumeRolePolicyDocument": str,
    "MaxSessionDuration": int,
    "CreateDate": str,
    "AllowConsoleLogin": bool,
    "UpdateDate": Maybe(str),
    "RolePrincipalName": Maybe(str),
    "IsServiceLinkedRole": Maybe(bool),
    "Tags": Maybe({"Tag": [{"TagKey": str, "TagValue": str}]}),
}


@value_object
class NamedRole:
    """A role."""

    role_name: str = text("RoleName", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class NewRole(NamedRole):
    """A role to make."""

    trust: str = text("AssumeRolePolicyDocument", required=True, raw=True)
    description: str = text("Description", default="", raw=True)
    max_session: int = integer("MaxSessionDuration", default=HOUR)
    console: bool = boolean("AllowConsoleLogin", default=False)
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag)
    written_tags: str = text("Tag", default="", longest=16_384, raw=True)


@value_object
class ChangedRole(NamedRole):
    """A role and new details. What is not given stays."""

    trust: str | None = text("NewAssumeRolePolicyDocument", raw=True)
    description: str | None = text("NewDescription", raw=True)
    max_session: int | None = integer("NewMaxSessionDuration")


@value_object
class ListedRoles(Listed):
    """A part of the roles, and the tags that they must have."""

    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag)
    written_tags: str = text("Tag", default="", longest=16_384, raw=True)


@value_object
class NewServiceRole:
    """A service that acts by a role of its own."""

    service: str = text("ServiceName", required=True, longest=naming.ON_THE_WIRE)


ROLE_ARN: Final = arn_of("role", "role_name")


def service_name(call: Call, asked: NewServiceRole | None) -> dict[str, str]:
    """Return the condition key by which policies can allow the roles of some services only."""
    return {} if asked is None else {"ram:ServiceName": asked.service}


@operation(
    RAM,
    "CreateRole",
    action="ram:CreateRole",
    resources=ROLE_ARN,
    answer={"Role": ROLE},
    errors=(
        *bad_names("RoleName"),
        RESERVED,
        NO_CONSOLE,
        bad_parameter("AssumeRolePolicyDocument", "Length"),
        *bad_texts("Description"),
        BAD_TAG,
        BadDuration,
        MalformedPolicyDocument,
        *refusals("EntityAlreadyExists.Role", "LimitExceeded.Role"),
    ),
)
def create_role(call: Call, asked: NewRole) -> dict[str, Any]:
    """Make a role without permissions. The principals that its trust policy names can assume it."""
    name = naming.role_name(asked.role_name)
    if name.lower().startswith(SERVICE_PREFIX.lower()):
        raise RESERVED(f"{SERVICE_PREFIX}... are roles of services; use CreateServiceLinkedRole.")
    if asked.console:
        raise NO_CONSOLE("There is no console login for roles here; leave it out.")
    tags = {key: value or "" for key, value in read_tags(asked.tags, asked.written_tags).items()}
    described = naming.free_text("Description", asked.description, 1024)
    trust, longest = _trust(asked.trust, "AssumeRolePolicyDocument"), _duration(asked.max_session)
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.create_role(
            tx, call.account_id, name, trust, description=described, max_session=longest, tags=tags,
            now=call.now, draw=call.services.draw,
        )  # fmt: skip
    return {"Role": _made(made)}


@operation(
    RAM,
    "CreateServiceLinkedRole",
    action="ram:CreateServiceLinkedRole",
    resources=every_arn("role"),
    conditions=service_name,
    answer={"Role": ROLE},
    errors=refusals("EntityNotExist.ServiceName", "EntityAlreadyExists.Role", "LimitExceeded.Role"),
)
def create_service_linked_role(call: Call, asked: NewServiceRole) -> dict[str, Any]:
    """Make the role by which a service acts in this account."""
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.create_service_role(tx, call.account_id, asked.service, now=call.now, draw=call.services.draw)
    return {"Role": _shown(made)}


@operation(
    RAM,
    "GetRole",
    action="ram:GetRole",
    resources=ROLE_ARN,
    answer={"Role": ROLE},
    errors=(*bad_names("RoleName"), *refusals("EntityNotExist.Role")),
)
def get_role(call: Call, asked: NamedRole) -> dict[str, Any]:
    """Return a role and its trust policy."""
    name = naming.role_name(asked.role_name)
    with ram_errors(), call.services.database.reading() as tx:
        return {"Role": _shown(identity.find_role(tx, call.account_id, name))}


@operation(
    RAM,
    "UpdateRole",
    action="ram:UpdateRole",
    resources=ROLE_ARN,
    answer={"Role": ROLE},
    errors=(
        *bad_names("RoleName"),
        bad_parameter("NewAssumeRolePolicyDocument", "Length"),
        *bad_texts("NewDescription"),
        BadDuration,
        MalformedPolicyDocument,
        *refusals("EntityNotExist.Role", "OperationDenied.Role.ServiceLinked"),
    ),
)
def update_role(call: Call, asked: ChangedRole) -> dict[str, Any]:
    """Change a role's trust policy, description or maximum session duration, also for sessions that are running."""
    name = naming.role_name(asked.role_name)
    trust = None if asked.trust is None else _trust(asked.trust, "NewAssumeRolePolicyDocument")
    longest = None if asked.max_session is None else _duration(asked.max_session)
    described = asked.description and naming.free_text("NewDescription", asked.description, 1024)
    with ram_errors(), call.services.database.transaction() as tx:
        changed = identity.update_role(
            tx, call.account_id, name, trust=trust, description=described, max_session=longest, now=call.now
        )
    return {"Role": _shown(changed)}


@operation(
    RAM,
    "ListRoles",
    action="ram:ListRoles",
    resources=every_arn("role"),
    answer={"Roles": {"Role": [ROLE]}, **PAGED},
    errors=(BAD_MARKER, BAD_TAG),
)
def list_roles(call: Call, asked: ListedRoles) -> dict[str, Any]:
    """List roles by name. The marker is the last name of the part before."""
    after, tags = after_name(asked.marker), read_tags(asked.tags, asked.written_tags)
    with call.services.database.reading() as tx:
        found = identity.list_roles(tx, call.account_id, after=after, limit=asked.max_items + 1, tags=tags)
    return {"Roles": {"Role": [_shown(role) for role in found[: asked.max_items]]}} | paged(found, asked)


@operation(
    RAM,
    "DeleteRole",
    action="ram:DeleteRole",
    resources=ROLE_ARN,
    answer={},
    errors=(*bad_names("RoleName"), *refusals("EntityNotExist.Role", "DeleteConflict.Role.Policy")),
)
def delete_role(call: Call, asked: NamedRole) -> dict[str, Any]:
    """Delete a role that has no policies. The next request of each of its sessions is refused."""
    name = naming.role_name(asked.role_name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_role(tx, call.account_id, name)
    return {}


def _trust(document: str, parameter: str) -> str:
    if len(document) > LONGEST_DOCUMENT:
        raise bad_parameter(parameter, "Length")(f"At most {LONGEST_DOCUMENT} characters are taken.")
    return document


def _duration(seconds: int) -> timedelta:
    if not HOUR <= seconds <= 12 * HOUR:
        raise BadDuration
    return timedelta(seconds=seconds)


def _made(role: identity.Role) -> dict[str, Any]:
    return {
        "RoleId": role.id,
        "RoleName": role.name,
        "Arn": role.arn,
        "Description": role.description,
        "AssumeRolePolicyDocument": role.trust,
        "MaxSessionDuration": int(role.max_session.total_seconds()),
        "CreateDate": naming.date(role.created_at),
        "AllowConsoleLogin": False,
    }


def _shown(role: identity.Role) -> dict[str, Any]:
    """Return a role as reads show it, with more fields than the answer that makes it."""
    more = {
        "UpdateDate": naming.date(role.updated_at),
        "RolePrincipalName": f"{role.name.lower()}@role.{role.account_id}.onaliyunservice.com",
        "IsServiceLinkedRole": bool(role.service),
    }
    return _made(role) | more | shown_tags(role.tags)
