"""Parameters that are repeated under numbered names: `Name.1`, `Tag.1.Key`."""

import re
from collections.abc import Sequence
from typing import Any

from backfleet.wire.errors import InvalidParameter, MissingParameter
from backfleet.wire.parameters._requests import (
    BadCharacter,
    Flat,
    Pairs,
    Parameter,
    Refusal,
    Request,
    check_line,
    flatten,
    parameter_field,
    parse,
    shown,
)


def repeat(
    name: str, *, required: bool = False, most: int = 100, longest_item: int = 128, refusal: Refusal = None
) -> Any:
    """Make a parameter `Name.1=a&Name.2=b` -> `tuple[str, ...]`, in the order of the numbers; gaps do not matter."""

    def read(flat: Flat) -> tuple[str, ...]:
        found = tuple(value for value in repeated_values(flat, name).values() if value)
        if required and not found:
            raise MissingParameter(name)
        if len(found) > most:
            raise InvalidParameter(f"{name} has {len(found)} entries; at most {most} are accepted.")
        for item in found:
            check_line(name, item)
            if len(item) > longest_item:
                raise InvalidParameter(
                    f"{name} has the entry {shown(item)}; at most {longest_item} characters are accepted."
                )
        return found

    def write(values: Sequence[str]) -> Pairs:
        return [(f"{name}.{number}", value) for number, value in enumerate(values, 1)]

    limits = {"most": most, "longest_item": longest_item}
    return parameter_field(Parameter(name, "repeat list", read, write, required, limits), refusal)


def repeat_objects(name: str, *, of: type[Any], most: int = 20, refusal: Refusal = None) -> Any:
    """Make a parameter `Tag.1.Key=a&Tag.1.Value=b` -> `tuple[of, ...]`; `of` is itself a request dataclass.

    The first letter of a member's name may be lower case, as ECS documents for tags.
    """

    def read(flat: Flat) -> tuple[Any, ...]:
        groups = _grouped(flat, name)
        if len(groups) > most:
            raise InvalidParameter(f"{name} has {len(groups)} entries; at most {most} are accepted.")
        return tuple(_member(of, groups[number], f"{name}.{number}") for number in sorted(groups))

    def write(values: Sequence[Any]) -> Pairs:
        return [
            (f"{name}.{number}.{member}", text)
            for number, value in enumerate(values, 1)
            for member, text in flatten(value).items()
        ]

    return parameter_field(Parameter(name, "repeat objects", read, write, False, {"most": most, "of": of}), refusal)


def _member(of: type[Request], flat: Flat, prefix: str) -> Request:
    """Read one of the repeated objects; its errors name the parameter with the prefix."""
    try:
        return parse(of, flat)
    except MissingParameter as problem:
        raise MissingParameter(f"{prefix}.{problem.name}") from None
    except BadCharacter as problem:
        raise BadCharacter(f"{prefix}.{problem.message}") from None
    except InvalidParameter as problem:
        raise InvalidParameter(f"{prefix}.{problem.message}") from None


def repeated_values(flat: Flat, name: str) -> dict[int, str]:
    """Return the values of `name.N` by N, sorted."""
    found: dict[int, str] = {}
    for key, value in flat.items():
        if not key.startswith(f"{name}."):
            continue
        number = key[len(name) + 1 :]
        if re.fullmatch(r"[0-9]{1,4}", number):
            _enter(found, int(number), value, key)
    return dict(sorted(found.items()))


def _grouped(flat: Flat, name: str) -> dict[int, dict[str, str]]:
    """Return the members of each `name.N` by N."""
    groups: dict[int, dict[str, str]] = {}
    for key, value in flat.items():
        if not key.startswith(f"{name}."):
            continue
        number, _, member = key[len(name) + 1 :].partition(".")
        if re.fullmatch(r"[0-9]{1,4}", number) and member:
            _enter(groups.setdefault(int(number), {}), member[0].upper() + member[1:], value, key)
    return groups


def _enter(found: dict[Any, str], place: Any, value: str, name: str) -> None:
    """Enter a value. Raise InvalidParameter if there is one: `A.1` and `A.01` are the same name."""
    if place in found:
        raise InvalidParameter(f"{shown(name)} is given twice.")
    found[place] = value
