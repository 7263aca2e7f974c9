"""Users of the account."""

from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import (
    bad_names,
    bad_parameter,
    bad_texts,
    ram_errors,
    refusals,
)
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
from backfleet.values import value_object
from backfleet.wire.parameters import text
from backfleet.wire.shapes import Maybe

USER: Final = {
    "UserId": str,
    "UserName": str,
    "DisplayName": str,
    "MobilePhone": str,
    "Email": str,
    "Comments": str,
    "CreateDate": str,
    "UpdateDate": Maybe(str),
}
_DETAILS: Final = (
    *bad_texts("DisplayName", "Comments"),
    *(bad_parameter(name, "Format") for name in ("Email", "MobilePhone")),
)
USER_ARN: Final = arn_of("user", "user_name")
_NEW_DETAILS: Final = bad_texts("NewDisplayName", "NewComments")


@value_object
class NamedUser:
    """A user."""

    user_name: str = text("UserName", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class NewUser(NamedUser):
    """A user to make."""

    display_name: str = text("DisplayName", default="", raw=True)
    comments: str = text("Comments", default="", raw=True)
    email: str = text("Email", default="", raw=True)
    mobile_phone: str = text("MobilePhone", default="", raw=True)


@value_object
class ChangedUser(NamedUser):
    """A user and new details. What is not given stays."""

    new_name: str | None = text("NewUserName", longest=naming.ON_THE_WIRE, raw=True)
    display_name: str | None = text("NewDisplayName", raw=True)
    comments: str | None = text("NewComments", raw=True)
    email: str | None = text("NewEmail", raw=True)
    mobile_phone: str | None = text("NewMobilePhone", raw=True)


@operation(
    RAM,
    "CreateUser",
    action="ram:CreateUser",
    resources=USER_ARN,
    answer={"User": USER},
    errors=(*bad_names("UserName"), *_DETAILS, *refusals("EntityAlreadyExists.User", "LimitExceeded.User")),
)
def create_user(call: Call, asked: NewUser) -> dict[str, Any]:
    """Make a user. The user has no permissions yet."""
    name = naming.user_name(asked.user_name)
    details = {
        "display_name": naming.free_text("DisplayName", asked.display_name, 128),
        "comments": naming.free_text("Comments", asked.comments, 128),
        "email": naming.email(asked.email),
        "mobile_phone": naming.mobile_phone(asked.mobile_phone),
    }
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.create_user(tx, call.account_id, name, **details, now=call.now, draw=call.services.draw)
    return {"User": _made(made)}


@operation(
    RAM,
    "GetUser",
    action="ram:GetUser",
    resources=USER_ARN,
    answer={"User": USER},
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User")),
)
def get_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Return a user."""
    name = naming.user_name(asked.user_name)
    with ram_errors(), call.services.database.reading() as tx:
        found = identity.find_user(tx, call.account_id, name)
    return {"User": _shown(found)}


@operation(
    RAM,
    "UpdateUser",
    action="ram:UpdateUser",
    resources=arns_of_renaming("user", "user_name"),
    answer={"User": USER},
    errors=(
        *bad_names("UserName", "NewUserName"),
        *_NEW_DETAILS,
        *(bad_parameter(name, "Format") for name in ("Email", "MobilePhone")),
        *refusals("EntityNotExist.User", "EntityAlreadyExists.User"),
    ),
)
def update_user(call: Call, asked: ChangedUser) -> dict[str, Any]:
    """Change the name or details of a user. Keys, policies and groups stay the user's."""
    name = naming.user_name(asked.user_name)
    new_name = None if asked.new_name is None else naming.user_name(asked.new_name, "NewUserName")
    details = {
        "display_name": asked.display_name and naming.free_text("NewDisplayName", asked.display_name, 128),
        "comments": asked.comments and naming.free_text("NewComments", asked.comments, 128),
        "email": asked.email and naming.email(asked.email),
        "mobile_phone": asked.mobile_phone and naming.mobile_phone(asked.mobile_phone),
    }
    with ram_errors(), call.services.database.transaction() as tx:
        changed = identity.update_user(tx, call.account_id, name, new_name=new_name, now=call.now, **details)
    return {"User": _shown(changed)}


@operation(
    RAM,
    "ListUsers",
    action="ram:ListUsers",
    resources=every_arn("user"),
    answer={"Users": {"User": [USER]}, **PAGED},
    errors=(BAD_MARKER,),
)
def list_users(call: Call, asked: Listed) -> dict[str, Any]:
    """List users by name. The marker is the last name of the part before."""
    after = after_name(asked.marker)
    with call.services.database.reading() as tx:
        found = identity.list_users(tx, call.account_id, after=after, limit=asked.max_items + 1)
    return {"Users": {"User": [_shown(user) for user in found[: asked.max_items]]}} | paged(found, asked)


@operation(
    RAM,
    "DeleteUser",
    action="ram:DeleteUser",
    resources=USER_ARN,
    answer={},
    errors=(
        *bad_names("UserName"),
        *refusals(
            "EntityNotExist.User",
            "DeleteConflict.User.AccessKey",
            "DeleteConflict.User.Policy",
            "DeleteConflict.User.Group",
        ),
    ),
)
def delete_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Delete a user who has neither keys nor policies and is in no group."""
    name = naming.user_name(asked.user_name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_user(tx, call.account_id, name)
    return {}


def _made(user: identity.User) -> dict[str, Any]:
    return {
        "UserId": user.id,
        "UserName": user.name,
        "DisplayName": user.display_name,
        "MobilePhone": user.mobile_phone,
        "Email": user.email,
        "Comments": user.comments,
        "CreateDate": naming.date(user.created_at),
    }


def _shown(user: identity.User) -> dict[str, Any]:
    """Return a user as reads show it, with one field more than the answer that makes it."""
    return _made(user) | {"UpdateDate": naming.date(user.updated_at)}
