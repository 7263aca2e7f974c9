"""Flat names, `A.1.B` and JSON in a string <-> typed requests.

A request is a frozen dataclass whose fields say how each parameter travels:

    @dataclass(frozen=True, slots=True)
    class Request:
        instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
        page_size: int = integer("PageSize", default=10, least=1, most=99)

`parse(Request, flat)` reads one from merged query and form parameters; `flatten(request)` is the way back. Unknown
parameters are ignored, as official clients add some of their own. Empty text counts as "not given". Names are
case-sensitive, but for the members of repeated objects (`Tag.N.key`).
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter

Request = TypeVar("Request")
Flat = Mapping[str, str]
Pairs = Iterable[tuple[str, str]]
Refusal = Callable[[], ApiError] | None
"""An operation's own error for a value that its parameter does not take, where its API has one."""

_SPEC = "wire"
LONGEST_SHOWN = 80  # characters of a bad value that an error repeats

# What no store and no XML answer can carry: NUL, and half of a surrogate pair, which JSON escapes can smuggle in.
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Parameter:
    """How one field of a request travels: its wire name, what it takes, how to read and to write it."""

    name: str
    kind: str  # for the description: string, integer, boolean, json list, json object, repeat list, repeat objects
    read: Callable[[Flat], Any]
    write: Callable[[Any], Pairs]  # never called with None
    required: bool = False
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def parse(request: type[Request], flat: Flat) -> Request:
    """A typed request from flat parameters.

    Raises:
        MissingParameter: one that is required was not given.
        InvalidParameter: a value that its parameter does not take; the text names both.
    """
    fields = dataclasses.fields(request)  # type: ignore[arg-type]
    return request(**{field.name: field.metadata[_SPEC].read(flat) for field in fields})


def flatten(request: Any) -> dict[str, str]:
    """A request as flat parameters: what a client sends. What is None is left out."""
    flat: dict[str, str] = {}
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if value is not None:
            flat.update(field.metadata[_SPEC].write(value))
    return flat


def parameters_of(request: type[Any]) -> list[Parameter]:
    """How a request's fields travel, in their order: the description of the operation."""
    return [field.metadata[_SPEC] for field in dataclasses.fields(request)]


def merge(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Query and form parameters as one set.

    Raises:
        InvalidParameter: a name that occurs twice, for guessing which is meant would be a hole; or text that nothing
            can keep.
    """
    merged: dict[str, str] = {}
    for source in sources:
        for name, value in source:
            if name in merged:
                raise InvalidParameter(f"{_shown(name)} is given twice.")
            if _NOT_TEXT.search(name) or _NOT_TEXT.search(value):
                raise InvalidParameter(f"{_shown(name)} has a character in it that is not text (NUL).")
            merged[name] = value
    return merged


# --- One value ------------------------------------------------------------------------------------------------------


def text(
    name: str,
    *,
    required: bool = False,
    default: str | None = None,
    longest: int | None = None,
    pattern: str | None = None,
    choices: Sequence[str] = (),
    secret: bool = False,
    refusal: Refusal = None,
) -> Any:
    """A string parameter -> `str | None`. `longest` in characters; `pattern` must match all of it.

    A `secret` one takes any text, and its field does not print.
    """
    form = re.compile(pattern) if pattern else None

    def read(flat: Flat) -> str | None:
        value = _given(flat, name, required)
        if value is None:
            return default
        if longest is not None and len(value) > longest:
            raise InvalidParameter(f"{name} has {len(value)} characters; at most {longest} are taken.")
        if choices and value not in choices:
            raise InvalidParameter(f"{name} is {_shown(value)}; it must be one of {', '.join(choices)}.")
        if form and not form.fullmatch(value):
            raise InvalidParameter(f"{name} is {_shown(value)}; it must be of the form {pattern}.")
        return value

    limits = {"longest": longest, "pattern": pattern, "choices": tuple(choices), "default": default, "secret": secret}
    return _field(
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
    """A whole number as decimal text -> `int | None`, between `least` and `most`."""

    def read(flat: Flat) -> int | None:
        value = _given(flat, name, required)
        if value is None:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise InvalidParameter(f"{name} is {_shown(value)}; it must be a whole number.")
        number = int(value)
        if (least is not None and number < least) or (most is not None and number > most):
            raise InvalidParameter(f"{name} is {number}; it must be {_range(least, most)}.")
        return number

    limits = {"least": least, "most": most, "default": default}
    return _field(Parameter(name, "integer", read, lambda value: [(name, str(value))], required, limits), refusal)


def boolean(name: str, *, required: bool = False, default: bool | None = None) -> Any:
    """`true` or `false` in any letter case, `1` or `0` -> `bool | None`. Clients write them in every way."""
    words = {"true": True, "1": True, "false": False, "0": False}

    def read(flat: Flat) -> bool | None:
        value = _given(flat, name, required)
        if value is None:
            return default
        if value.lower() not in words:
            raise InvalidParameter(f"{name} is {_shown(value)}; it must be true or false.")
        return words[value.lower()]

    def write(value: bool) -> Pairs:
        return [(name, "true" if value else "false")]

    return _field(Parameter(name, "boolean", read, write, required, {"default": default}))


# --- JSON in a string -----------------------------------------------------------------------------------------------


def json_list(name: str, *, required: bool = False, longest_item: int = 128) -> Any:
    """A list of strings -> `tuple[str, ...] | None` (None: not given).

    Taken as a JSON array, as a JSON object (its values), or repeated as `Name.1=`, `Name.2=`. How many there may be is
    for the operation to say, for some limits span two lists.
    """

    def read(flat: Flat) -> tuple[str, ...] | None:
        repeated = _repeated(flat, name)
        value = flat.get(name) or None
        if value is None and not repeated:
            if required:
                raise MissingParameter(name)
            return None
        if value is not None and repeated:
            raise InvalidParameter(f"{name} is given both as JSON text and as {name}.N; give one of them.")
        items = _strings_in_json(name, value) if value is not None else list(repeated.values())
        for item in items:
            if not item or len(item) > longest_item:
                raise InvalidParameter(
                    f"{name} has the entry {_shown(item)}; entries are 1 to {longest_item} characters."
                )
        return tuple(items)

    return _field(Parameter(name, "json list", read, _writes_json(name), required, {"longest_item": longest_item}))


def json_object(name: str, *, required: bool = False, refusal: Refusal = None) -> Any:
    """A JSON object with values of any kind -> `dict[str, Any] | None`."""

    def read(flat: Flat) -> dict[str, Any] | None:
        value = _given(flat, name, required)
        if value is None:
            return None
        found = _json(name, value)
        if not isinstance(found, dict):
            raise InvalidParameter(f'{name} is {_kind(found)}; it must be a JSON object such as {{"key":"value"}}.')
        return found

    return _field(Parameter(name, "json object", read, _writes_json(name), required), refusal)


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
        raise InvalidParameter(f'{name} is {_shown(value)}; it must be JSON, for example ["i-1","i-2"].') from None
    # Escapes are resolved now, so what they stood for can be seen.
    if "\\u" in value and any(map(_NOT_TEXT.search, _texts(found))):
        raise InvalidParameter(f"{name} has a character in it that is not text.")
    return found


def _texts(found: Any) -> Iterator[str]:
    """Every string in it, names too."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for member in found:
            yield from _texts(member)
    elif isinstance(found, dict):
        yield from _texts([*found, *found.values()])


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers could differ on which of two equal names counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse_constant(_name: str) -> Any:
    """NaN and Infinity are not JSON."""
    raise ValueError


# --- Repeated names -------------------------------------------------------------------------------------------------


def repeat(
    name: str, *, required: bool = False, most: int = 100, longest_item: int = 128, refusal: Refusal = None
) -> Any:
    """`Name.1=a&Name.2=b` -> `tuple[str, ...]`. Gaps and the order of arrival do not matter: the numbers sort."""

    def read(flat: Flat) -> tuple[str, ...]:
        found = tuple(value for value in _repeated(flat, name).values() if value)
        if required and not found:
            raise MissingParameter(name)
        if len(found) > most:
            raise InvalidParameter(f"{name} has {len(found)} entries; at most {most} are taken.")
        for item in found:
            if len(item) > longest_item:
                raise InvalidParameter(
                    f"{name} has the entry {_shown(item)}; at most {longest_item} characters are taken."
                )
        return found

    def write(values: Sequence[str]) -> Pairs:
        return [(f"{name}.{number}", value) for number, value in enumerate(values, 1)]

    limits = {"most": most, "longest_item": longest_item}
    return _field(Parameter(name, "repeat list", read, write, required, limits), refusal)


def repeat_objects(name: str, *, of: type[Any], most: int = 20, refusal: Refusal = None) -> Any:
    """`Tag.1.Key=a&Tag.1.Value=b` -> `tuple[of, ...]`; `of` is itself a request dataclass.

    The first letter of a member's name may be small: the documented exception of ECS tags.
    """

    def read(flat: Flat) -> tuple[Any, ...]:
        groups = _grouped(flat, name)
        if len(groups) > most:
            raise InvalidParameter(f"{name} has {len(groups)} entries; at most {most} are taken.")
        return tuple(_member(of, groups[number], f"{name}.{number}") for number in sorted(groups))

    def write(values: Sequence[Any]) -> Pairs:
        return [
            (f"{name}.{number}.{member}", text)
            for number, value in enumerate(values, 1)
            for member, text in flatten(value).items()
        ]

    return _field(Parameter(name, "repeat objects", read, write, False, {"most": most, "of": of}), refusal)


def _member(of: type[Request], flat: Flat, prefix: str) -> Request:
    """One of the repeated objects; what is wrong with it is told by its whole name."""
    try:
        return parse(of, flat)
    except MissingParameter as problem:
        raise MissingParameter(f"{prefix}.{problem.name}") from None
    except InvalidParameter as problem:
        raise InvalidParameter(f"{prefix}.{problem.message}") from None


def _repeated(flat: Flat, name: str) -> dict[int, str]:
    """The values of `name.N` by N, sorted."""
    found: dict[int, str] = {}
    for key, value in flat.items():
        if not key.startswith(f"{name}."):
            continue
        number = key[len(name) + 1 :]
        if re.fullmatch(r"[0-9]{1,4}", number):
            _enter(found, int(number), value, key)
    return dict(sorted(found.items()))


def _grouped(flat: Flat, name: str) -> dict[int, dict[str, str]]:
    """The members of each `name.N`."""
    groups: dict[int, dict[str, str]] = {}
    for key, value in flat.items():
        if not key.startswith(f"{name}."):
            continue
        number, _, member = key[len(name) + 1 :].partition(".")
        if re.fullmatch(r"[0-9]{1,4}", number) and member:
            _enter(groups.setdefault(int(number), {}), member[0].upper() + member[1:], value, key)
    return groups


def _enter(found: dict[Any, str], place: Any, value: str, name: str) -> None:
    """`A.1` and `A.01`, `Tag.1.Key` and `Tag.1.key` are the same name: give it once."""
    if place in found:
        raise InvalidParameter(f"{_shown(name)} is given twice.")
    found[place] = value


# --- What they share ------------------------------------------------------------------------------------------------


def _field(parameter: Parameter, refusal: Refusal = None, *, repr: bool = True) -> Any:
    if refusal is not None:
        parameter = dataclasses.replace(parameter, read=_refusing(parameter.read, refusal))
    return dataclasses.field(metadata={_SPEC: parameter}, repr=repr)


def _refusing(read: Callable[[Flat], Any], refusal: Callable[[], ApiError]) -> Callable[[Flat], Any]:
    def reading(flat: Flat) -> Any:
        try:
            return read(flat)
        except InvalidParameter:
            raise refusal() from None

    return reading


def _given(flat: Flat, name: str, required: bool) -> str | None:
    value = flat.get(name)
    if value:
        return value
    if required:
        raise MissingParameter(name)
    return None


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")


def _range(least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f"from {least} to {most}"
    return f"at least {least}" if least is not None else f"at most {most}"


def _shown(value: str) -> str:
    return repr(value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "...")
