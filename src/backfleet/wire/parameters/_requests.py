"""Requests as dataclasses whose fields are parameters: what all kinds of parameters share."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet_host.texts import NOT_IN_LINE, NOT_TEXT

Request = TypeVar("Request")
Flat = Mapping[str, str]
Pairs = Iterable[tuple[str, str]]
Refusal = Callable[[], ApiError] | None
"""An operation's own error for a value that a parameter does not accept, where its API has one."""

SPEC = "wire"  # the key of a field's metadata
LONGEST_SHOWN = 80  # characters of a bad value that an error repeats

# What no database and no XML answer can hold: NUL, and half of a surrogate pair, which JSON escapes can smuggle in.


@value_object
class Parameter:
    """How one field of a request travels: its name on the wire, what it accepts, how to read and to write it."""

    name: str
    kind: str  # for the reference: string, integer, boolean, json list, json object, repeat list, repeat objects
    read: Callable[[Flat], Any]
    write: Callable[[Any], Pairs]  # never called with None
    required: bool = False
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def parse(request: type[Request], flat: Flat) -> Request:
    """Read a typed request from flat parameters.

    Raises:
        MissingParameter: a required one was not given.
        InvalidParameter: a value that its parameter does not accept; the text names both.
    """
    fields = dataclasses.fields(request)  # type: ignore[arg-type]
    return request(**{field.name: field.metadata[SPEC].read(flat) for field in fields})


def flatten(request: Any) -> dict[str, str]:
    """Return a request as flat parameters, as a client sends it. Fields that are None are left out."""
    flat: dict[str, str] = {}
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if value is not None:
            flat.update(field.metadata[SPEC].write(value))
    return flat


def parameters_of(request: type[Any]) -> list[Parameter]:
    """Return how the fields of a request travel, in their order."""
    return [field.metadata[SPEC] for field in dataclasses.fields(request)]


def merge(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Merge query and form parameters. One that is in both with the same value is one: some clients send it so.

    Raises:
        InvalidParameter: a name occurs twice in one of them, or with two values, which two readers could resolve
            differently; or text that no database can store.
    """
    merged: dict[str, str] = {}
    for source in sources:
        names = set()
        for name, value in source:
            if name in names or merged.get(name, value) != value:
                raise InvalidParameter(f"{shown(name)} is given twice.")
            if NOT_TEXT.search(name) or NOT_TEXT.search(value):
                raise InvalidParameter(f"{shown(name)} has a character in it that is not text (NUL).")
            merged[name] = value
            names.add(name)
    return merged


# --- For the makers of fields ---------------------------------------------------------------------------------------


def parameter_field(parameter: Parameter, refusal: Refusal = None, *, repr: bool = True) -> Any:
    """Return the dataclass field of a parameter; `refusal` replaces its InvalidParameter."""
    if refusal is not None:
        parameter = dataclasses.replace(parameter, read=_refusing(parameter.read, refusal))
    return dataclasses.field(metadata={SPEC: parameter}, repr=repr)


def _refusing(read: Callable[[Flat], Any], refusal: Callable[[], ApiError]) -> Callable[[Flat], Any]:
    def reading(flat: Flat) -> Any:
        try:
            return read(flat)
        except BadCharacter:
            raise
        except InvalidParameter:
            raise refusal() from None

    return reading


def given_value(flat: Flat, name: str, required: bool) -> str | None:
    """Return a value, None if it was not given. Raise MissingParameter if it is required."""
    value = flat.get(name)
    if value:
        return value
    if required:
        raise MissingParameter(name)
    return None


class BadCharacter(InvalidParameter):
    """A value has a character that no line may have. No operation has an error of its own for that."""


def check_line(name: str, value: str, not_in: re.Pattern[str] = NOT_IN_LINE) -> None:
    """Raise InvalidParameter if a value has a character that would deceive or garble a line which shows it."""
    found = not_in.search(value)
    if found is not None:
        raise BadCharacter(
            f"{name} has the character U+{ord(found[0]):04X} at position {found.start() + 1}; leave out control "
            "characters, line ends and marks of writing direction."
        )


def shown(value: str) -> str:
    """Return a value as an error shows it: quoted, and cut to a limited length."""
    return repr(value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "...")
