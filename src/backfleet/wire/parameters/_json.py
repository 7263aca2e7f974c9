"""Parameters that travel as JSON in a string."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from backfleet.wire.errors import InvalidParameter, MissingParameter
from backfleet.wire.parameters._repeated import repeated_values
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
from backfleet_host.texts import NOT_TEXT


def json_list(name: str, *, required: bool = False, longest_item: int = 128) -> Any:
    """Make a parameter of a list of strings -> `tuple[str, ...] | None` (None: not given).

    It is accepted as a JSON array, as a JSON object (its values), or repeated as `Name.1=`, `Name.2=`. The operation
    itself limits how many there may be, because some limits span two lists.
    """

    def read(flat: Flat) -> tuple[str, ...] | None:
        repeated = repeated_values(flat, name)
        value = flat.get(name) or None
        if value is None and not repeated:
            if required:
                raise MissingParameter(name)
            return None
        if value is not None and repeated:
            raise InvalidParameter(f"{name} is given both as JSON text and as {name}.N; give one of them.")
        items = _strings_in_json(name, value) if value is not None else list(repeated.values())
        for item in items:
            check_line(name, item)
            if not item or len(item) > longest_item:
                raise InvalidParameter(
                    f"{name} has the entry {shown(item)}; entries are 1 to {longest_item} characters."
                )
        return tuple(items)

    return parameter_field(
        Parameter(name, "json list", read, _writes_json(name), required, {"longest_item": longest_item})
    )


def json_object(name: str, *, required: bool = False, refusal: Refusal = None) -> Any:
    """Make a parameter of a JSON object with values of any kind -> `dict[str, Any] | None`."""

    def read(flat: Flat) -> dict[str, Any] | None:
        value = given_value(flat, name, required)
        if value is None:
            return None
        found = _json(name, value)
        if not isinstance(found, dict):
            raise InvalidParameter(f'{name} is {_kind(found)}; it must be a JSON object such as {{"key":"value"}}.')
        return found

    return parameter_field(Parameter(name, "json object", read, _writes_json(name), required), refusal)


def _writes_json(name: str) -> Callable[[Any], Pairs]:
    return lambda value: [(name, json.dumps(value, ensure_ascii=False, separators=(",", ":")))]


def _strings_in_json(name: str, value: str) -> list[str]:
    found = _json(name, value)
    if isinstance(found, dict):
        found = list(found.values())  # an SDK whose model says "map" sends {"0": "i-1"}
    if not isinstance(found, list):
        hint = " A client that was given a string instead of a list sends this." if found is None else ""
        raise InvalidParameter(f'{name} is {_kind(found)}; it must be a JSON array such as ["i-1","i-2"].{hint}')
    for item in found:
        if not isinstance(item, str):
            raise InvalidParameter(
                f'{name} has {_kind(item)} in it; it must be a JSON array of strings such as ["i-1"].'
            )
    return found


def _json(name: str, value: str) -> Any:
    try:
        found = json.loads(value, object_pairs_hook=_each_name_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidParameter(f'{name} is {shown(value)}; it must be JSON, for example ["i-1","i-2"].') from None
    # Only now are escapes resolved, and what they stood for can be checked.
    if "\\u" in value and any(map(NOT_TEXT.search, _texts(found))):
        raise InvalidParameter(f"{name} has a character in it that is not text.")
    return found


def _texts(found: Any) -> Iterator[str]:
    """Yield every string in a JSON value, names included."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for member in found:
            yield from _texts(member)
    elif isinstance(found, dict):
        yield from _texts([*found, *found.values()])


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that occurs twice in an object: two readers could resolve it differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse_constant(_name: str) -> Any:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
