"""Console logins and MFA devices, which no user here has: what clients ask before they delete a user.

`alicloud_ram_user` with `force` deletes the login profile and unbinds the device of every user, and takes no other
refusal than that there is none.
"""

from typing import Any, NoReturn

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import REFUSALS, bad_names, ram_errors, refusals
from backfleet.operations.ram.users import USER_ARN, NamedUser

NO_PROFILE, NO_DEVICE = "EntityNotExist.User.LoginProfile", "EntityNotExist.User.MFADevice"
PROFILE = {"LoginProfile": {"UserName": str, "MFABindRequired": bool, "PasswordResetRequired": bool, "CreateDate": str}}
DEVICE = {"MFADevice": {"SerialNumber": str, "Type": str}}


def _refuse(call: Call, asked: NamedUser, code: str) -> NoReturn:
    """Refuse as the cloud does for a user who has none. Raises RamError, also if there is no such user."""
    name = naming.user_name(asked.user_name)
    with ram_errors(), call.services.database.reading() as tx:
        identity.find_user(tx, call.account_id, name)
    raise REFUSALS[code](f"Name: {name!r}.")


@operation(
    RAM,
    "GetLoginProfile",
    action="ram:GetLoginProfile",
    resources=USER_ARN,
    answer=PROFILE,
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User", NO_PROFILE)),
)
def get_login_profile(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Refuse: no user here logs in to a console."""
    _refuse(call, asked, NO_PROFILE)


@operation(
    RAM,
    "DeleteLoginProfile",
    action="ram:DeleteLoginProfile",
    resources=USER_ARN,
    answer={},
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User", NO_PROFILE)),
)
def delete_login_profile(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Refuse: no user here logs in to a console."""
    _refuse(call, asked, NO_PROFILE)


@operation(
    RAM,
    "GetUserMFAInfo",
    action="ram:GetUserMFAInfo",
    resources=USER_ARN,
    answer=DEVICE,
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User", NO_DEVICE)),
)
def get_user_mfa_info(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Refuse: no user here has a device."""
    _refuse(call, asked, NO_DEVICE)


@operation(
    RAM,
    "UnbindMFADevice",
    action="ram:UnbindMFADevice",
    resources=USER_ARN,
    answer=DEVICE,
    errors=(*bad_names("UserName"), *refusals("EntityNotExist.User", NO_DEVICE)),
)
def unbind_mfa_device(call: Call, asked: NamedUser) -> dict[str, Any]:
    """Refuse: no user here has a device."""
    _refuse(call, asked, NO_DEVICE)
