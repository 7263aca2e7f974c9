"""Users of the account."""

from dataclasses import dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import (
    BadParameter,
    bad_names,
    bad_parameter,
    bad_texts,
    in_rams_words,
    refusals,
)
from backfleet.wire.parameters import integer, text
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
PAGED: Final = {"IsTruncated": bool, "Marker": Maybe(str)}
BAD_MARKER: Final = bad_parameter("Marker", "Format")
_DETAILS: Final = (
    *bad_texts("DisplayName", "Comments"),
    *(bad_parameter(name, "Format") for name in ("Email", "MobilePhone")),
)
_NEW_DETAILS: Final = bad_texts("NewDisplayName", "NewComments")


@dataclass(frozen=True, slots=True)
class NamedUser:
    """Which user."""

    user_name: str = text("UserName", required=True, longest=naming.ON_THE_WIRE)


@dataclass(frozen=True, slots=True)
class NewUser(NamedUser):
    """A user to be made."""

    display_name: str = text("DisplayName", default="")
    comments: str = text("Comments", default="")
    email: str = text("Email", default="")
    mobile_phone: str = text("MobilePhone", default="")


@dataclass(frozen=True, slots=True)
class ChangedUser(NamedUser):
    """What a user should be; what is not given stays."""

    new_name: str | None = text("NewUserName", longest=naming.ON_THE_WIRE)
    display_name: str | None = text("NewDisplayName")
    comments: str | None = text("NewComments")
    email: str | None = text("NewEmail")
    mobile_phone: str | None = text("NewMobilePhone")


@dataclass(frozen=True, slots=True)
class Listed:
    """Which part of a list: at most so many, from the marker of the part before."""

    marker: str = text("Marker", default="", longest=naming.ON_THE_WIRE)
    max_items: int = integer("MaxItems", default=100, least=1, most=1000)


def user_arn(call: Call, asked: NamedUser) -> list[str]:
    """The user a call is about."""
    return [f"acs:ram::{call.account_id}:user/{asked.user_name}"]


def both_users(call: Call, asked: ChangedUser) -> list[str]:
    """Who renames touches the new name too: a policy may protect it."""
    names = [asked.user_name] + ([asked.new_name] if asked.new_name else [])
    return [f"acs:ram::{call.account_id}:user/{name}" for name in names]


def every_user(call: Call, asked: object) -> list[str]:
    """Every user of the account."""
    return [f"acs:ram::{call.account_id}:user/*"]


@operation(
    RAM,
    "CreateUser",
    action="ram:CreateUser",
    resources=user_arn,
    answer={"User": USER},
    errors=(*bad_names("UserName"), *_DETAILS, *refusals("EntityAlreadyExists.User", "LimitExceeded.User")),
)
def create_user(call: Call, asked: NewUser) -> dict[str, Any]:
    """A new user, who may do nothing yet."""
    name = naming.user_name(asked.user_name)
    details = {
        "display_name": naming.free_text("DisplayName", asked.display_name, 128),
        "comments": naming.free_text("Comments", asked.comments, 128),
        "email": naming.email(asked.email),
        "mobile_phone": naming.mobile_phone(asked.mobile_phone),
    }
    with in_rams_words(), call.services.database.transaction() as tx:
        made = identity.create_user(tx, call.account_id, name, **details, now=call.now, draw=call.services.draw)
    return {"User": _made(made)}


@operation(
    RAM,
    "GetUser",
    action="ram:GetUser",
    resources=user_arn,
    answer={"User": USER},
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User")),
)
def get_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """One user."""
    name = naming.user_name(asked.user_name)
    with in_rams_words(), call.services.database.reading() as tx:
        found = identity.find_user(tx, call.account_id, name)
    return {"User": _shown(found)}


@operation(
    RAM,
    "UpdateUser",
    action="ram:UpdateUser",
    resources=both_users,
    answer={"User": USER},
    errors=(
        *bad_names("UserName", "NewUserName"),
        *_NEW_DETAILS,
        *(bad_parameter(name, "Format") for name in ("Email", "MobilePhone")),
        *refusals("EntityNotExist.User", "EntityAlreadyExists.User"),
    ),
)
def update_user(call: Call, asked: ChangedUser) -> dict[str, Any]:
    """Change a user's name or details. Keys, policies and groups stay theirs."""
    name = naming.user_name(asked.user_name)
    new_name = None if asked.new_name is None else naming.new_user_name(asked.new_name)
    details = {
        "display_name": asked.display_name and naming.free_text("NewDisplayName", asked.display_name, 128),
        "comments": asked.comments and naming.free_text("NewComments", asked.comments, 128),
        "email": asked.email and naming.email(asked.email),
        "mobile_phone": asked.mobile_phone and naming.mobile_phone(asked.mobile_phone),
    }
    with in_rams_words(), call.services.database.transaction() as tx:
        changed = identity.update_user(tx, call.account_id, name, new_name=new_name, now=call.now, **details)
    return {"User": _shown(changed)}


@operation(
    RAM,
    "ListUsers",
    action="ram:ListUsers",
    resources=every_user,
    answer={"Users": {"User": [USER]}, **PAGED},
    errors=(BAD_MARKER,),
)
def list_users(call: Call, asked: Listed) -> dict[str, Any]:
    """Users by name. The marker is the last name of the part before."""
    after = after_name(asked.marker)
    with call.services.database.reading() as tx:
        found = identity.list_users(tx, call.account_id, after=after, limit=asked.max_items + 1)
    return {"Users": {"User": [_shown(user) for user in found[: asked.max_items]]}} | paged(found, asked)


@operation(
    RAM,
    "DeleteUser",
    action="ram:DeleteUser",
    resources=user_arn,
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
    with in_rams_words(), call.services.database.transaction() as tx:
        identity.delete_user(tx, call.account_id, name)
    return {}


def after_name(marker: str) -> str:
    """The name behind which a part of a list begins. Raises BadParameter."""
    try:
        return naming.user_name(marker) if marker else ""
    except BadParameter:
        raise BAD_MARKER("It is the Marker of the answer before.") from None


def paged(found: list[Any], asked: Listed) -> dict[str, Any]:
    """Whether there is more than was asked for, and the marker of the next part: the last name of this one."""
    more = len(found) > asked.max_items
    return {"IsTruncated": more, "Marker": found[asked.max_items - 1].name if more else None}


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
    """What a user who is read has beside one who is made."""
    return _made(user) | {"UpdateDate": naming.date(user.updated_at)}
