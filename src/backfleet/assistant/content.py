"""Fill parameters into the content of a command: `echo {{name}}` with `{"name": "Jack"}` is `echo Jack`."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

MOST_NAMES = 20  # parameters of one command
LONGEST_NAME = 64  # characters
BUILT_IN: Final = frozenset(
    f"ACS::{name}" for name in ("RegionId", "AccountId", "InstanceId", "InstanceName", "InvokeId", "CommandId")
)
"""Parameters that the server fills in."""

_PLACE = re.compile(r"\{\{([^{}\n]*)\}\}")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class EmptyName(ValueError):
    """A parameter without a name."""


class BadName(ValueError):
    """A parameter name with characters that are not allowed."""


class LongName(ValueError):
    """A parameter name longer than LONGEST_NAME."""


class TooManyNames(ValueError):
    """More than MOST_NAMES parameters."""


def parameter_names(content: str) -> list[str]:
    """Return the parameters that a command needs, in the order of their first place, without the built-in ones.

    Raises:
        EmptyName: `{{}}`.
        LongName: a name has more than LONGEST_NAME characters.
        BadName: a name has other characters than letters, digits, `-` and `_`.
        TooManyNames: there are more than MOST_NAMES parameters.
    """
    found: dict[str, None] = {}
    for place in _PLACE.finditer(content):
        name = place[1].strip()
        if name in BUILT_IN:
            continue
        if not name:
            raise EmptyName
        if len(name) > LONGEST_NAME:
            raise LongName
        if not _NAME.fullmatch(name):
            raise BadName
        found[name] = None
    if len(found) > MOST_NAMES:
        raise TooManyNames
    return list(found)


def fill_in(content: str, values: Mapping[str, str]) -> str:
    """Return the content with every parameter replaced by its value. Braces within a value stay as they are."""
    return _PLACE.sub(lambda place: values.get(place[1].strip(), place[0]), content)


def longest_content(content: str, values: Mapping[str, str], longest_built_in: int) -> int:
    """Return the most characters that the filled content can have, with built-in values of up to `longest_built_in`."""
    sizes = {name: len(value) for name, value in values.items()} | dict.fromkeys(BUILT_IN, longest_built_in)
    grown = sum(sizes.get(place[1].strip(), len(place[0])) - len(place[0]) for place in _PLACE.finditer(content))
    return len(content) + grown


def unknown_parameters(names: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """Return the given parameters that the command does not have."""
    return [name for name in given if name not in names]
