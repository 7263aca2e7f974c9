"""Parameters of one value: text, whole numbers, booleans."""

import re
from collections.abc import Sequence
from typing import Any

from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters._requests import (
    Flat,
    Pairs,
    Parameter,
    Refusal,
    check_line,
    given_value,
    parameter_field,
    shown,
)
from backfleet_host.texts import NOT_IN_LINE, NOT_IN_LINES


def text(
    name: str,
    *,
    required: bool = False,
    default: str | None = None,
    longest: int | None = None,
    pattern: str | None = None,
    choices: Sequence[str] = (),
    secret: bool = False,
    lines: bool = False,
    raw: bool = False,
    refusal: Refusal = None,
) -> Any:
    """Make a string parameter -> `str | None`.

    Args:
        name: Its name on the wire.
        required: Whether a call without it is refused.
        default: Its value if it was not given.
        longest: The most characters.
        pattern: A regular expression that must match all of it.
        choices: The values that are accepted.
        secret: Whether its field is left out when the request is printed. It may have any character.
        lines: Whether it may have several lines.
        raw: Whether it may have any character, because it is a document or a program and no name or note.
        refusal: The operation's own error for a value that is not accepted.
    """
    form = re.compile(pattern) if pattern else None
    not_in = None if raw or secret else NOT_IN_LINES if lines else NOT_IN_LINE

    def read(flat: Flat) -> str | None:
        value = given_value(flat, name, required)
        if value is None:
            return default
        if longest is not None and len(value) > longest:
            raise InvalidParameter(f"{name} has {len(value)} characters; at most {longest} are accepted.")
        if not_in is not None:
            check_line(name, value, not_in)
        if choices and value not in choices:
            raise InvalidParameter(f"{name} is {shown(value)}; it must be one of {', '.join(choices)}.")
        if form and not form.fullmatch(value):
            raise InvalidParameter(f"{name} is {shown(value)}; it must be of the form {pattern}.")
        return value

    limits = {"longest": longest, "pattern": pattern, "choices": tuple(choices), "default": default, "secret": secret}
    return parameter_field(
        Parameter(name, "string", read, lambda value: [(name, value)], required, limits), refusal, repr=not secret
    )


def integer(
    name: str,
    *,
    required: bool = False,
    default: int | None = None,
    least: int | None = None,
    most: int | None = None,
    refusal: Refusal = None,
) -> Any:
    """Make a parameter of a whole number as decimal text -> `int | None`, from `least` to `most`."""

    def read(flat: Flat) -> int | None:
        value = given_value(flat, name, required)
        if value is None:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise InvalidParameter(f"{name} is {shown(value)}; it must be a whole number.")
        number = int(value)
        if (least is not None and number < least) or (most is not None and number > most):
            raise InvalidParameter(f"{name} is {number}; it must be {_range(least, most)}.")
        return number

    limits = {"least": least, "most": most, "default": default}
    return parameter_field(
        Parameter(name, "integer", read, lambda value: [(name, str(value))], required, limits), refusal
    )


def boolean(name: str, *, required: bool = False, default: bool | None = None) -> Any:
    """Make a boolean parameter -> `bool | None`: `true` and `false` in any letter case, or `1` and `0`."""
    values = {"true": True, "1": True, "false": False, "0": False}

    def read(flat: Flat) -> bool | None:
        value = given_value(flat, name, required)
        if value is None:
            return default
        if value.lower() not in values:
            raise InvalidParameter(f"{name} is {shown(value)}; it must be true or false.")
        return values[value.lower()]

    def write(value: bool) -> Pairs:
        return [(name, "true" if value else "false")]

    return parameter_field(Parameter(name, "boolean", read, write, required, {"default": default}))


def _range(least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f"from {least} to {most}"
    return f"at least {least}" if least is not None else f"at most {most}"
