"""Shapes of answers, written as they look: `{"TaskId": str, "Clients": [{"ClientId": str, "Size": int}]}`.

A shape is `str`, `int`, `float` or `bool`; a list of one shape; a mapping from names to shapes; `Maybe(shape)` for a
member that may be absent; `Anything` where the caller chose the members. The reference and the OpenAPI document are
made from shapes, and tests compare every answer with its shape.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from backfleet.values import value_object

Shape = Any
"""One of the forms above; Python's type hints cannot express them."""

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}


@value_object
class Maybe:
    """A member that may be absent."""

    shape: Shape


class Anything:
    """Any JSON value."""


def misfits(shape: Shape, value: Any, place: str = "answer") -> Iterator[str]:
    """Yield what of a JSON value differs from its shape, one sentence each."""
    if isinstance(shape, Maybe):
        shape = shape.shape
    if shape is Anything:
        return
    if isinstance(shape, Mapping):
        yield from _object_misfits(shape, value, place)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place} is not a list"
            return
        for number, member in enumerate(value):
            yield from misfits(shape[0], member, f"{place}[{number}]")
    elif not _is(shape, value):
        yield f"{place} is {value!r}, not of type {_NAMES[shape]}"


def schema(shape: Shape) -> dict[str, Any]:
    """Return the shape as JSON Schema (2020-12)."""
    if isinstance(shape, Maybe):
        return schema(shape.shape)
    if shape is Anything:
        return {}
    if isinstance(shape, list):
        return {"type": "array", "items": schema(shape[0])}
    if isinstance(shape, Mapping):
        needed = [name for name, member in shape.items() if not isinstance(member, Maybe)]
        members = {name: schema(member) for name, member in shape.items()}
        return {"type": "object", "properties": members, "required": needed, "additionalProperties": False}
    return {"type": _NAMES[shape]}


def _object_misfits(shape: Mapping[str, Shape], value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} is not an object"
        return
    for name in value.keys() - shape.keys():
        yield f"{place}.{name} is not described"
    for name, member in shape.items():
        if name in value:
            yield from misfits(member, value[name], f"{place}.{name}")
        elif not isinstance(member, Maybe):
            yield f"{place}.{name} is missing"


def _is(shape: type, value: Any) -> bool:
    if shape is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
