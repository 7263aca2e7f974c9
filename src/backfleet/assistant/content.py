"""What a command says once its parameters are in: `echo {{name}}` and `{"name": "Jack"}` -> `echo Jack`."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

MOST_NAMES = 20  # parameters of one command
LONGEST_NAME = 64  # characters
BUILT_IN: Final = frozenset(
    f"ACS::{name}" for name in ("RegionId", "AccountId", "InstanceId", "InstanceName", "InvokeId", "CommandId")
)
"""Parameters that nobody has to give."""

_PLACE = re.compile(r"\{\{([^{}\n]*)\}\}")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class EmptyName(ValueError):
    """A parameter without a name."""


class BadName(ValueError):
    """A name that no parameter may have."""


class LongName(ValueError):
    """A name that is longer than LONGEST_NAME."""


class TooManyNames(ValueError):
    """More than MOST_NAMES parameters."""


def names_in(content: str) -> list[str]:
    """The parameters that a command needs, in the order of their first place; built-in ones are not among them.

    Raises:
        EmptyName, BadName, LongName, TooManyNames: see there.
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


def filled(content: str, values: Mapping[str, str]) -> str:
    """The content with every place filled in. A value is not looked at again: braces in it stay as they are."""
    return _PLACE.sub(lambda place: values.get(place[1].strip(), place[0]), content)


def longest_filled(content: str, values: Mapping[str, str], longest_built_in: int) -> int:
    """How many characters the filled content can have at most, whatever the built-in parameters turn out to be."""
    sizes = {name: len(value) for name, value in values.items()} | dict.fromkeys(BUILT_IN, longest_built_in)
    grown = sum(sizes.get(place[1].strip(), len(place[0])) - len(place[0]) for place in _PLACE.finditer(content))
    return len(content) + grown


def unknown(names: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """What was given and is no parameter of the command."""
    return [name for name in given if name not in names]
