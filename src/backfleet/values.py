"""Value objects: data that does not change once it is made."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

Made = TypeVar("Made")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_object(made: type[Made]) -> type[Made]:
    """Make a dataclass whose fields are set once, when a value is made. Values with equal fields are equal.

    The type checker sees to it that nobody sets a field later. `dataclass(frozen=True)` has Python see to it as well,
    and then a value of 28 fields takes 13 times as long to make.
    """
    return dataclass(slots=True, unsafe_hash=True)(made)


def changed(value: Made, /, **new: Any) -> Made:
    """Return a value with some fields changed, as `dataclasses.replace` does, in a quarter of its time.

    Raises:
        KeyError: it has no such field.
    """
    made: Any = type(value)
    read, places = _fields_of(made)
    values = list(read(value))
    for name, each in new.items():
        values[places[name]] = each
    found: Made = made(*values)
    return found


@functools.cache
def _fields_of(made: Any) -> tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, int]]:
    """Return what reads all fields of a class's values, of which there are several, and the place of each."""
    names = [each.name for each in fields(made)]
    return attrgetter(*names), {name: place for place, name in enumerate(names)}
