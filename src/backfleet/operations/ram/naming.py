"""Names, texts and times as RAM writes them."""

import re
from datetime import datetime
from typing import Final

from backfleet.operations.ram.errors import BadVersionId, bad_parameter
from backfleet_host.texts import NOT_IN_LINES

ON_THE_WIRE: Final = 1024  # characters of any name in a request; each kind has a smaller limit with its own error
_USER_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_POLICY_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_ROLE_NAME: Final = re.compile(r"[A-Za-z0-9.-]+")
_VERSION: Final = re.compile(r"v[0-9]{1,9}")
_EMAIL: Final = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,63}")
_MOBILE_PHONE: Final = re.compile(r"[0-9]{1,4}-[0-9]{4,20}")


def user_name(value: str, parameter: str = "UserName") -> str:
    """Return the value if it can be a user's name: 1 to 64 letters, digits and `. - _`. Raises BadParameter."""
    return _checked(parameter, value, 64, _USER_NAME, ". - _")


def group_name(value: str, parameter: str = "GroupName") -> str:
    """Return the value if it can be a group's name: 1 to 64 letters, digits and `. - _`. Raises BadParameter."""
    return _checked(parameter, value, 64, _USER_NAME, ". - _")


def role_name(value: str) -> str:
    """Return the value if it can be a role's name: 1 to 64 letters, digits and `. -`. Raises BadParameter."""
    return _checked("RoleName", value, 64, _ROLE_NAME, ". -")


def provider_name(value: str) -> str:
    """Return the value if it can be a provider's name: 1 to 128 letters, digits and `. - _`. Raises BadParameter."""
    return _checked("OIDCProviderName", value, 128, _USER_NAME, ". - _")


def policy_name(value: str) -> str:
    """Return the value if it can be a policy's name: 1 to 128 letters, digits and `-`. Raises BadParameter."""
    return _checked("PolicyName", value, 128, _POLICY_NAME, "-")


def version_number(value: str) -> int:
    """Return the number in the id of a version. Raises BadVersionId."""
    if not _VERSION.fullmatch(value):
        raise BadVersionId
    return int(value[1:])


def free_text(parameter: str, value: str, longest: int) -> str:
    """Return the value if it is text, with or without line breaks, of at most `longest` characters.

    Raises:
        BadParameter: it is longer, or has control characters in it.
    """
    if len(value) > longest:
        raise bad_parameter(parameter, "Length")(f"At most {longest} characters are taken, {len(value)} were found.")
    if NOT_IN_LINES.search(value):
        wanted = "Control characters and marks of writing direction are not taken."
        raise bad_parameter(parameter, "InvalidChars")(wanted)
    return value


def email(value: str) -> str:
    """Return the value if it is empty or an email address. Raises BadParameter."""
    if value and not _EMAIL.fullmatch(value):
        raise bad_parameter("Email", "Format")("An address looks like name@example.com.")
    return value


def mobile_phone(value: str) -> str:
    """Return the value if it is empty, or a country code, a dash and a number. Raises BadParameter."""
    if value and not _MOBILE_PHONE.fullmatch(value):
        raise bad_parameter("MobilePhone", "Format")("A number looks like 86-18600008888.")
    return value


def date(moment: datetime) -> str:
    """Return a time in UTC and whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _checked(parameter: str, value: str, longest: int, form: re.Pattern[str], signs: str) -> str:
    if len(value) > longest:
        raise bad_parameter(parameter, "Length")(f"At most {longest} characters are taken, {len(value)} were found.")
    if not form.fullmatch(value):
        raise bad_parameter(parameter, "InvalidChars")(f"Letters, digits and {signs} are taken, {value!r} was found.")
    return value
