"""Users of the account."""

from dataclasses import dataclass
from typing import Any

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import BadParameter, in_rams_words
from backfleet.wire.parameters import integer, text


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
class Listed:
    """Which part of a list: at most so many, from the marker of the part before."""

    marker: str = text("Marker", default="", longest=naming.ON_THE_WIRE)
    max_items: int = integer("MaxItems", default=100, least=1, most=1000)


def user_arn(call: Call, asked: NamedUser) -> list[str]:
    """The user a call is about."""
    return [f"acs:ram::{call.account_id}:user/{asked.user_name}"]


def every_user(call: Call, asked: object) -> list[str]:
    """Every user of the account."""
    return [f"acs:ram::{call.account_id}:user/*"]


@operation(RAM, "CreateUser", action="ram:CreateUser", resources=user_arn, needs_tls=True)
def create_user(call: Call, asked: NewUser) -> dict[str, Any]:
    """A new user, who may do nothing yet."""
    name = naming.user_name(asked.user_name)
    details = {
        "display_name": naming.free_text("DisplayName", asked.display_name, 128),
        "comments": naming.free_text("Comments", asked.comments, 128),
        "email": naming.email(asked.email),
        "mobile_phone": naming.mobile_phone(asked.mobile_phone),
    }
    with in_rams_words(), call.house.database.transaction() as tx:
        made = identity.create_user(tx, call.account_id, name, **details, now=call.now, draw=call.house.draw)
    return {"User": _shown(made)}


@operation(RAM, "GetUser", action="ram:GetUser", resources=user_arn, needs_tls=True)
def get_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """One user."""
    name = naming.user_name(asked.user_name)
    with in_rams_words(), call.house.database.reading() as tx:
        found = identity.find_user(tx, call.account_id, name)
    return {"User": _shown(found) | {"UpdateDate": naming.date(found.created_at)}}


@operation(RAM, "ListUsers", action="ram:ListUsers", resources=every_user, needs_tls=True)
def list_users(call: Call, asked: Listed) -> dict[str, Any]:
    """Users by name. The marker is the last name of the part before."""
    after = _after(asked.marker)
    with call.house.database.reading() as tx:
        found = identity.list_users(tx, call.account_id, after=after, limit=asked.max_items + 1)
    page = found[: asked.max_items]
    more = len(found) > len(page)
    shown = [_shown(user) | {"UpdateDate": naming.date(user.created_at)} for user in page]
    return {"Users": {"User": shown}, "IsTruncated": more, "Marker": page[-1].name if more else None}


@operation(RAM, "DeleteUser", action="ram:DeleteUser", resources=user_arn, needs_tls=True)
def delete_user(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Delete a user who has neither keys nor policies."""
    name = naming.user_name(asked.user_name)
    with in_rams_words(), call.house.database.transaction() as tx:
        identity.delete_user(tx, call.account_id, name)
    return {}


def _after(marker: str) -> str:
    try:
        return naming.user_name(marker) if marker else ""
    except BadParameter:
        raise BadParameter("Marker", "Format", "It is the Marker of the answer before.") from None


def _shown(user: identity.User) -> dict[str, Any]:
    return {
        "UserId": user.id,
        "UserName": user.name,
        "DisplayName": user.display_name,
        "MobilePhone": user.mobile_phone,
        "Email": user.email,
        "Comments": user.comments,
        "CreateDate": naming.date(user.created_at),
    }
