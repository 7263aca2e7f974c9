"""Everything that is wrong with the parameters of a call, found before it is made: for forms and command lines."""

import re
from typing import Any

from backfleet.wire.errors import ApiError
from backfleet.wire.parameters._requests import Flat, Parameter, parameters_of

NUMBER = re.compile(r"[0-9]{1,4}")
REPEATED = ("json list", "repeat list")


def faults(request: type[Any], flat: Flat) -> dict[str, str]:
    """Return what is wrong with each parameter, by its name: `parse` would report the first of these.

    Args:
        request: The dataclass of the request.
        flat: The parameters, merged.
    """
    found: dict[str, str] = {}
    for parameter in parameters_of(request):
        try:
            parameter.read(flat)
        except ApiError as problem:
            found[parameter.name] = problem.message
    return found


def unknown_names(request: type[Any], flat: Flat) -> list[str]:
    """Return the names that no parameter reads. The API ignores these; a person who writes them slipped."""
    parameters = parameters_of(request)
    return [name for name in flat if not any(_reads(parameter, name) for parameter in parameters)]


def is_given(parameter: Parameter, flat: Flat) -> bool:
    """Return whether a call gives a value to this parameter: empty text counts as not given."""
    return any(value and _reads(parameter, name) for name, value in flat.items())


def _reads(parameter: Parameter, name: str) -> bool:
    if name == parameter.name:
        return not parameter.kind.startswith("repeat")
    prefix, _, rest = name.partition(".")
    number, _, member = rest.partition(".")
    if prefix != parameter.name or not NUMBER.fullmatch(number):
        return False
    if parameter.kind in REPEATED:
        return not member
    if parameter.kind != "repeat objects" or not member:
        return False
    upper = member[0].upper() + member[1:]  # as ECS documents for tags
    return any(_reads(inner, upper) for inner in parameters_of(parameter.limits["of"]))
