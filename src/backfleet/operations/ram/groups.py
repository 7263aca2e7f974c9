"""Groups of users."""

from datetime import datetime
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import bad_names, bad_texts, ram_errors, refusals
from backfleet.operations.ram.requests import (
    BAD_MARKER,
    PAGED,
    Listed,
    after_name,
    arn_of,
    arns_of_renaming,
    every_arn,
    paged,
)
from backfleet.operations.ram.users import USER_ARN, NamedUser
from backfleet.values import value_object
from backfleet.wire.parameters import text
from backfleet.wire.shapes import Maybe

GROUP: Final = {"GroupId": str, "GroupName": str, "Comments": str, "CreateDate": str, "UpdateDate": Maybe(str)}


@value_object
class NamedGroup:
    """A group."""

    group_name: str = text("GroupName", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class NewGroup(NamedGroup):
    """A group to make."""

    comments: str = text("Comments", default="", raw=True)


@value_object
class ChangedGroup(NamedGroup):
    """A group and new details. What is not given stays."""

    new_name: str | None = text("NewGroupName", longest=naming.ON_THE_WIRE, raw=True)
    comments: str | None = text("NewComments", raw=True)


@value_object
class Membership(NamedGroup):
    """A user and a group."""

    user_name: str = text("UserName", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class ListedMembers(Listed):
    """A part of the users of a group."""

    group_name: str = text("GroupName", required=True, longest=naming.ON_THE_WIRE, raw=True)


GROUP_ARN: Final = arn_of("group", "group_name")


def group_and_user(call: Call, asked: Membership) -> list[str]:
    """Return the group and the user: a membership needs permission on each."""
    return [*GROUP_ARN(call, asked), f"acs:ram::{call.account_id}:user/{asked.user_name}"]


@operation(
    RAM,
    "CreateGroup",
    action="ram:CreateGroup",
    resources=GROUP_ARN,
    answer={"Group": GROUP},
    errors=(
        *bad_names("GroupName"),
        *bad_texts("Comments"),
        *refusals("EntityAlreadyExists.Group", "LimitExceeded.Group"),
    ),
)
def create_group(call: Call, asked: NewGroup) -> dict[str, Any]:
    """Make an empty group."""
    name = naming.group_name(asked.group_name)
    comments = naming.free_text("Comments", asked.comments, 128)
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.create_group(
            tx, call.account_id, name, comments=comments, now=call.now, draw=call.services.draw
        )
    return {"Group": _made(made)}


@operation(
    RAM,
    "GetGroup",
    action="ram:GetGroup",
    resources=GROUP_ARN,
    answer={"Group": GROUP},
    errors=(*bad_names("GroupName"), *refusals("EntityNotExist.Group")),
)
def get_group(call: Call, asked: NamedGroup) -> dict[str, Any]:
    """Return a group."""
    name = naming.group_name(asked.group_name)
    with ram_errors(), call.services.database.reading() as tx:
        return {"Group": _shown(identity.find_group(tx, call.account_id, name))}


@operation(
    RAM,
    "UpdateGroup",
    action="ram:UpdateGroup",
    resources=arns_of_renaming("group", "group_name"),
    answer={"Group": GROUP},
    errors=(
        *bad_names("GroupName", "NewGroupName"),
        *bad_texts("NewComments"),
        *refusals("EntityNotExist.Group", "EntityAlreadyExists.Group"),
    ),
)
def update_group(call: Call, asked: ChangedGroup) -> dict[str, Any]:
    """Change the name or comments of a group. Its users and policies stay."""
    name = naming.group_name(asked.group_name)
    new_name = None if asked.new_name is None else naming.group_name(asked.new_name, "NewGroupName")
    comments = None if asked.comments is None else naming.free_text("NewComments", asked.comments, 128)
    with ram_errors(), call.services.database.transaction() as tx:
        changed = identity.update_group(tx, call.account_id, name, new_name=new_name, comments=comments, now=call.now)
    return {"Group": _shown(changed)}


@operation(
    RAM,
    "ListGroups",
    action="ram:ListGroups",
    resources=every_arn("group"),
    answer={"Groups": {"Group": [GROUP]}, **PAGED},
    errors=(BAD_MARKER,),
)
def list_groups(call: Call, asked: Listed) -> dict[str, Any]:
    """List groups by name. The marker is the last name of the part before."""
    after = after_name(asked.marker)
    with call.services.database.reading() as tx:
        found = identity.list_groups(tx, call.account_id, after=after, limit=asked.max_items + 1)
    return {"Groups": {"Group": [_shown(group) for group in found[: asked.max_items]]}} | paged(found, asked)


@operation(
    RAM,
    "DeleteGroup",
    action="ram:DeleteGroup",
    resources=GROUP_ARN,
    answer={},
    errors=(
        *bad_names("GroupName"),
        *refusals("EntityNotExist.Group", "DeleteConflict.Group.User", "DeleteConflict.Group.Policy"),
    ),
)
def delete_group(call: Call, asked: NamedGroup) -> dict[str, Any]:
    """Delete a group that has neither users nor policies."""
    name = naming.group_name(asked.group_name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_group(tx, call.account_id, name)
    return {}


@operation(
    RAM,
    "AddUserToGroup",
    action="ram:AddUserToGroup",
    resources=group_and_user,
    answer={},
    errors=(
        *bad_names("GroupName", "UserName"),
        *refusals(
            "EntityNotExist.Group", "EntityNotExist.User", "EntityAlreadyExists.User.Group", "LimitExceeded.User.Group"
        ),
    ),
)
def add_user_to_group(call: Call, asked: Membership) -> dict[str, Any]:
    """Add a user to a group. Its policies apply from the user's next request on."""
    user, group = naming.user_name(asked.user_name), naming.group_name(asked.group_name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.join_group(tx, call.account_id, user, group, now=call.now)
    return {}


@operation(
    RAM,
    "RemoveUserFromGroup",
    action="ram:RemoveUserFromGroup",
    resources=group_and_user,
    answer={},
    errors=(
        *bad_names("GroupName", "UserName"),
        *refusals("EntityNotExist.Group", "EntityNotExist.User", "EntityNotExist.User.Group"),
    ),
)
def remove_user_from_group(call: Call, asked: Membership) -> dict[str, Any]:
    """Remove a user from a group. Its policies stop applying with the user's next request."""
    user, group = naming.user_name(asked.user_name), naming.group_name(asked.group_name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.leave_group(tx, call.account_id, user, group)
    return {}


@operation(
    RAM,
    "ListGroupsForUser",
    action="ram:ListGroupsForUser",
    resources=USER_ARN,
    answer={"Groups": {"Group": [{"GroupId": str, "GroupName": str, "Comments": str, "JoinDate": str}]}},
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User")),
)
def list_groups_for_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """List the groups of a user."""
    name = naming.user_name(asked.user_name)
    with ram_errors(), call.services.database.reading() as tx:
        found = identity.groups_of_user(tx, call.account_id, name)
    return {"Groups": {"Group": [_joined(group, since) for group, since in found]}}


@operation(
    RAM,
    "ListUsersForGroup",
    action="ram:ListUsersForGroup",
    resources=GROUP_ARN,
    answer={"Users": {"User": [{"UserName": str, "DisplayName": str, "JoinDate": str}]}, **PAGED},
    errors=(*bad_names("GroupName"), BAD_MARKER, *refusals("EntityNotExist.Group")),
)
def list_users_for_group(call: Call, asked: ListedMembers) -> dict[str, Any]:
    """List the users of a group."""
    name, after = naming.group_name(asked.group_name), after_name(asked.marker)
    with ram_errors(), call.services.database.reading() as tx:
        found = identity.users_in_group(tx, call.account_id, name, after=after, limit=asked.max_items + 1)
    shown = [
        {"UserName": user.name, "DisplayName": user.display_name, "JoinDate": naming.date(since)}
        for user, since in found[: asked.max_items]
    ]
    return {"Users": {"User": shown}} | paged([user for user, _since in found], asked)


def _made(group: identity.Group) -> dict[str, Any]:
    shown = {"GroupId": group.id, "GroupName": group.name, "Comments": group.comments}
    return shown | {"CreateDate": naming.date(group.created_at)}


def _shown(group: identity.Group) -> dict[str, Any]:
    return _made(group) | {"UpdateDate": naming.date(group.updated_at)}


def _joined(group: identity.Group, since: datetime) -> dict[str, Any]:
    shown = {"GroupId": group.id, "GroupName": group.name, "Comments": group.comments}
    return shown | {"JoinDate": naming.date(since)}
