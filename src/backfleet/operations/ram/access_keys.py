"""Access keys: of the user that is named, or else the caller's own."""

from typing import Any

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import bad_names, ram_errors, refusals
from backfleet.values import value_object
from backfleet.wire.errors import MissingParameter
from backfleet.wire.parameters import text

STATUSES = ("Active", "Inactive")
KEY = {"AccessKeyId": str, "Status": str, "CreateDate": str}
OWNER_ERRORS = (*bad_names("UserName"), *refusals("EntityNotExist.User"))
KEY_ERRORS = (*OWNER_ERRORS, *refusals("EntityNotExist.User.AccessKey", "DeleteConflict.Account.AccessKey"))


@value_object
class KeyOwner:
    """The owner of keys; the caller if nobody is named."""

    user_name: str = text("UserName", default="", longest=naming.ON_THE_WIRE, raw=True)


@value_object
class NamedKey(KeyOwner):
    """A key."""

    key_id: str = text("UserAccessKeyId", required=True, longest=64, pattern="[A-Za-z0-9.]+")


@value_object
class KeyStatus(NamedKey):
    """A key and its new status."""

    status: str = text("Status", required=True, choices=STATUSES)


def owner_arn(call: Call, asked: KeyOwner) -> list[str]:
    """Return the user whose keys a call is about."""
    return [f"acs:ram::{call.account_id}:user/{asked.user_name or call.caller.user_name or ''}"]


@operation(
    RAM,
    "CreateAccessKey",
    action="ram:CreateAccessKey",
    resources=owner_arn,
    answer={"AccessKey": {**KEY, "AccessKeySecret": str}},
    errors=(*OWNER_ERRORS, *refusals("LimitExceeded.User.AccessKey")),
)
def create_access_key(call: Call, asked: KeyOwner) -> dict[str, Any]:
    """Make a key. This answer is the only place that has its secret unsealed."""
    owner, services = _owner(call, asked), call.services
    with ram_errors(), services.database.transaction() as tx:
        made = identity.create_key(tx, services.vault, call.account_id, owner, now=call.now, draw=services.draw)
    shown = _shown(identity.AccessKey(made.access_key_id, True, made.created_at))
    return {"AccessKey": {**shown, "AccessKeySecret": made.access_key_secret}}


@operation(
    RAM,
    "ListAccessKeys",
    action="ram:ListAccessKeys",
    resources=owner_arn,
    answer={"AccessKeys": {"AccessKey": [KEY]}},
    errors=OWNER_ERRORS,
)
def list_access_keys(call: Call, asked: KeyOwner) -> dict[str, Any]:
    """List the keys of a user, oldest first, without their secrets."""
    owner = _owner(call, asked)
    with ram_errors(), call.services.database.reading() as tx:
        found = identity.list_keys(tx, call.account_id, owner)
    return {"AccessKeys": {"AccessKey": [_shown(key) for key in found]}}


@operation(
    RAM,
    "UpdateAccessKey",
    action="ram:UpdateAccessKey",
    resources=owner_arn,
    answer={},
    errors=KEY_ERRORS,
)
def update_access_key(call: Call, asked: KeyStatus) -> dict[str, Any]:
    """Enable or disable a key, from the next request with it on."""
    owner = _owner(call, asked)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.set_key(tx, call.account_id, owner, asked.key_id, active=asked.status == "Active")
    return {}


@operation(
    RAM,
    "DeleteAccessKey",
    action="ram:DeleteAccessKey",
    resources=owner_arn,
    answer={},
    errors=KEY_ERRORS,
)
def delete_access_key(call: Call, asked: NamedKey) -> dict[str, Any]:
    """Delete a key. It cannot be restored."""
    owner = _owner(call, asked)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_key(tx, call.account_id, owner, asked.key_id)
    return {}


def _owner(call: Call, asked: KeyOwner) -> str | None:
    """Return the name of the owner of the keys; None for the account itself.

    Raises:
        MissingParameter: no user is named, and the caller (a session of a role) has no keys.
    """
    if asked.user_name:
        return naming.user_name(asked.user_name)
    # Decide by kind: a missing user name alone must not give another kind of caller the account's own keys.
    if call.caller.kind == "Account":
        return None
    if call.caller.kind != "RAMUser" or call.caller.user_name is None:
        raise MissingParameter("UserName")
    return call.caller.user_name


def _shown(key: identity.AccessKey) -> dict[str, Any]:
    status = "Active" if key.active else "Inactive"
    return {"AccessKeyId": key.id, "Status": status, "CreateDate": naming.date(key.created_at)}
