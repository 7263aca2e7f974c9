"""Names, texts and moments as RAM writes them."""

import re
import unicodedata
from datetime import datetime
from typing import Final

from backfleet.operations.ram.errors import BadVersionId, bad_parameter

ON_THE_WIRE: Final = 1024  # characters of a name that are read at all; its own limit is answered with its own code
_USER_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_POLICY_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_ROLE_NAME: Final = re.compile(r"[A-Za-z0-9.-]+")
_VERSION: Final = re.compile(r"v[0-9]{1,9}")
_EMAIL: Final = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,63}")
_MOBILE_PHONE: Final = re.compile(r"[0-9]{1,4}-[0-9]{4,20}")


def user_name(value: str) -> str:
    """The value, if it can be a user's name: 1 to 64 letters, digits and `. - _`.

    Raises:
        BadParameter: it cannot.
    """
    _check("UserName", value, 64, _USER_NAME, "Letters, digits and . - _ are taken")
    return value


def new_user_name(value: str) -> str:
    """As `user_name`, in the parameter NewUserName. Raises BadParameter."""
    _check("NewUserName", value, 64, _USER_NAME, "Letters, digits and . - _ are taken")
    return value


def group_name(value: str, parameter: str = "GroupName") -> str:
    """The value, if it can be a group's name: 1 to 64 letters, digits and `. - _`.

    Raises:
        BadParameter: it cannot.
    """
    _check(parameter, value, 64, _USER_NAME, "Letters, digits and . - _ are taken")
    return value


def role_name(value: str) -> str:
    """The value, if it can be a role's name: 1 to 64 letters, digits and `. -`.

    Raises:
        BadParameter: it cannot.
    """
    _check("RoleName", value, 64, _ROLE_NAME, "Letters, digits and . - are taken")
    return value


def provider_name(value: str) -> str:
    """The value, if it can be an identity provider's name: 1 to 128 letters, digits and `. - _`.

    Raises:
        BadParameter: it cannot.
    """
    _check("OIDCProviderName", value, 128, _USER_NAME, "Letters, digits and . - _ are taken")
    return value


def version_number(value: str) -> int:
    """The number in a version's id. Raises BadVersionId."""
    if not _VERSION.fullmatch(value):
        raise BadVersionId
    return int(value[1:])


def policy_name(value: str) -> str:
    """The value, if it can be a policy's name: 1 to 128 letters, digits and `-`.

    Raises:
        BadParameter: it cannot.
    """
    _check("PolicyName", value, 128, _POLICY_NAME, "Letters, digits and - are taken")
    return value


def free_text(parameter: str, value: str, longest: int) -> str:
    """The value, if it is text of at most `longest` characters; lines may end in it.

    Raises:
        BadParameter: it is longer, or holds what no text holds.
    """
    if len(value) > longest:
        raise bad_parameter(parameter, "Length")(f"At most {longest} characters are taken, {len(value)} were found.")
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t" for c in value):
        raise bad_parameter(parameter, "InvalidChars")("Control characters are not taken.")
    return value


def email(value: str) -> str:
    """The value, if it is empty or looks like an address.

    Raises:
        BadParameter: it does not.
    """
    if value and not _EMAIL.fullmatch(value):
        raise bad_parameter("Email", "Format")("An address looks like name@example.com.")
    return value


def mobile_phone(value: str) -> str:
    """The value, if it is empty or a country code, a dash and a number.

    Raises:
        BadParameter: it is neither.
    """
    if value and not _MOBILE_PHONE.fullmatch(value):
        raise bad_parameter("MobilePhone", "Format")("A number looks like 86-18600008888.")
    return value


def date(moment: datetime) -> str:
    """A moment, in UTC and whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(parameter: str, value: str, longest: int, form: re.Pattern[str], told: str) -> None:
    if len(value) > longest:
        raise bad_parameter(parameter, "Length")(f"At most {longest} characters are taken, {len(value)} were found.")
    if not form.fullmatch(value):
        raise bad_parameter(parameter, "InvalidChars")(f"{told}, {value!r} was found.")
