"""The form of an operation, made of its request's description, and what was typed into it. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Final
from urllib.parse import urlencode

from backfleet.operations.catalogue import Operation
from backfleet.values import value_object
from backfleet.wire.parameters import Parameter, faults, parameters_of

LONG_TEXT: Final = 500  # characters: where more are accepted, there is space for lines
SPARE_GROUPS: Final = 2  # empty groups of a repeated object that a form offers
Sent = Callable[[str], str]
"""Returns what was sent under a name; "" for nothing."""


@value_object
class Field:
    """One field of the form; `name` is that of the parameter, with its number where it is repeated."""

    name: str
    kind: str  # text, password, number, lines, area, choice
    label: str
    help: str
    value: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    fault: str = ""


@value_object
class Group:
    """The fields of one parameter: one, or those of its repeated objects."""

    name: str
    fields: list[Field]
    repeated: bool = False
    help: str = ""
    fault: str = ""


@value_object
class Filled:
    """An operation and what was typed into its form."""

    operation: Operation
    flat: Mapping[str, str]  # as it would be sent; without empty values
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def shareable(self) -> str:
        """The query of a link with this call's values; secrets are not part of it."""
        secrets = {each.name for each in parameters_of(self.operation.request) if each.limits.get("secret")}
        return urlencode({name: value for name, value in self.flat.items() if name not in secrets})

    @property
    def groups(self) -> list[Group]:
        """The form."""
        return [_group(each, self.flat, self.faults) for each in parameters_of(self.operation.request)]


def read(operation: Operation, sent: Sent, *, check: bool) -> Filled:
    """Read a form, or the values of a link, and find what is wrong by the code that the API uses.

    Args:
        operation: Whose form it is.
        sent: What was sent under a name.
        check: Whether faults are wanted: a form that was only opened has none.
    """
    flat: dict[str, str] = {}
    for parameter in parameters_of(operation.request):
        flat |= _read(parameter, sent, "")
    flat = {name: value for name, value in flat.items() if value}
    return Filled(operation, flat, faults(operation.request, flat) if check else {})


def _read(parameter: Parameter, sent: Sent, prefix: str) -> dict[str, str]:
    name, most = prefix + parameter.name, parameter.limits.get("most", 0)
    if parameter.kind == "repeat objects":
        found: dict[str, str] = {}
        for number in range(1, most + 1):
            for member in parameters_of(parameter.limits["of"]):
                found |= _read(member, sent, f"{name}.{number}.")
        return found
    text = sent(name).replace("\r\n", "\n")
    if parameter.kind == "repeat list":
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        lines = lines or [sent(f"{name}.{number}") for number in range(1, most + 1)]
        return {f"{name}.{number}": line for number, line in enumerate(filter(None, lines), 1)}
    if parameter.kind == "json list" and text.strip() and text.strip()[0] not in "[{":
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        text = json.dumps(lines, ensure_ascii=False)
    return {name: text}


def _group(parameter: Parameter, flat: Mapping[str, str], found: Mapping[str, str]) -> Group:
    if parameter.kind != "repeat objects":
        return Group(parameter.name, [_field(parameter, flat, "", found.get(parameter.name, ""))])
    most = parameter.limits["most"]
    used = {int(name.split(".")[1]) for name in flat if name.startswith(f"{parameter.name}.")}
    shown = min(max(used, default=0) + SPARE_GROUPS, most)
    fields = [
        _field(member, flat, f"{parameter.name}.{number}.", "")
        for number in range(1, shown + 1)
        for member in parameters_of(parameter.limits["of"])
    ]
    help_text = f"At most {most} of them; empty ones are left out."
    return Group(parameter.name, fields, repeated=True, help=help_text, fault=found.get(parameter.name, ""))


def _field(parameter: Parameter, flat: Mapping[str, str], prefix: str, fault: str) -> Field:
    name, limits = prefix + parameter.name, parameter.limits
    value = flat.get(name, "")
    if parameter.kind == "repeat list":
        numbers = sorted(int(each[len(name) + 1 :]) for each in flat if each.startswith(f"{name}."))
        value = "\n".join(flat[f"{name}.{number}"] for number in numbers)
    choices = ("true", "false") if parameter.kind == "boolean" else tuple(limits.get("choices") or ())
    return Field(
        name=name,
        kind=_kind(parameter, choices),
        label=name,
        help=_help(parameter.kind, limits),
        value="" if limits.get("secret") else value,
        required=parameter.required and not prefix,
        choices=choices,
        fault=fault,
    )


def _kind(parameter: Parameter, choices: tuple[str, ...]) -> str:
    if parameter.limits.get("secret"):
        return "password"
    if choices:
        return "choice"
    if parameter.kind in ("repeat list", "json list"):
        return "lines"
    if parameter.kind == "json object" or (parameter.limits.get("longest") or 0) > LONG_TEXT:
        return "area"
    return "number" if parameter.kind == "integer" else "text"


def _help(kind: str, limits: Mapping[str, Any]) -> str:
    parts = {
        "json list": ["One a line, or a JSON list"],
        "repeat list": [f"One a line, at most {limits.get('most')}"],
        "json object": ["A JSON object"],
        "integer": ["A whole number"],
    }.get(kind, [])
    least, most = limits.get("least"), limits.get("most")
    if kind == "integer" and (least is not None or most is not None):
        parts = [f"A whole number, {'...' if least is None else least} to {'...' if most is None else most}"]
    if limits.get("longest"):
        parts.append(f"at most {limits['longest']:,} characters")
    if limits.get("pattern"):
        parts.append(f"of the form {limits['pattern']}")
    if limits.get("default") not in (None, ""):
        parts.append(f"{json.dumps(limits['default'])} if not given")
    if limits.get("secret"):
        parts.append("never shown again, and not part of links and samples")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
