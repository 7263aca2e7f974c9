"""Patterns of the policy language: `*` matches any number of characters, also `:` and `/`; `?` matches exactly one.

`${key}` is a policy variable: it stands for the request's value of a condition key, which is matched as it is.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

COMPILED_KEPT: Final = 4096  # compiled sets of patterns kept in memory: more than one caller's conditions can have
KEYS_KEPT: Final = 1024  # spellings of condition keys; each decision asks for all those of its call
FILLED_KEPT: Final = 256  # those with values of a request in them, which few requests share
VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")

Values = Mapping[str, str | tuple[str, ...]]
"""Condition keys in their canonical spelling, and their values."""


@functools.lru_cache(maxsize=KEYS_KEPT)
def canonical(key: str) -> str:
    """Return the spelling in which keys are compared: lower case, except for the names of tags after the slash."""
    head, slash, name = key.partition("/")
    return f"{head.lower()}{slash}{name}"


def variables_in(texts: Iterable[str]) -> list[str]:
    """Return the names of the policy variables in texts."""
    return [name for text in texts if "${" in text for name in VARIABLE.findall(text)]


def without_variables(pattern: str) -> str:
    """Return a pattern that matches at least what this one does, whatever values its variables have."""
    return VARIABLE.sub("*", pattern)


def has_broken_variable(text: str) -> bool:
    """Return whether a policy variable begins in the text and does not end."""
    return "${" in VARIABLE.sub("", text)


def fill(text: str, values: Values) -> str | None:
    """Return a text with the values of its variables. A variable without a value, or with several, gives None."""
    if "${" not in text:
        return text
    found = [values.get(canonical(name)) for name in VARIABLE.findall(text)]
    if not all(isinstance(value, str) for value in found):
        return None
    rest = iter(found)
    return VARIABLE.sub(lambda _match: str(next(rest)), text)


def matches(
    patterns: tuple[str, ...], text: str, *, ignore_case: bool = False, variables: Values | None = None
) -> bool:
    """Return whether one of the patterns matches the whole text. Takes time linear in pattern times text at worst.

    A pattern with a variable that has no value in `variables` matches nothing. Without `variables` there are none.
    """
    given: list[tuple[str, str]] = []
    if variables is not None and any("${" in one for one in patterns):
        names = dict.fromkeys(variables_in(patterns))
        known = {name: variables.get(canonical(name)) for name in names}
        patterns = tuple(one for one in patterns if all(isinstance(known[name], str) for name in variables_in([one])))
        given = [(name, str(value)) for name, value in known.items() if isinstance(value, str)]
    if not patterns:
        return False
    found = _filled(patterns, ignore_case, tuple(given)) if given else _compiled(patterns, ignore_case)
    return found.fullmatch(text.lower() if ignore_case else text) is not None


@functools.lru_cache(maxsize=COMPILED_KEPT)
def _compiled(patterns: tuple[str, ...], ignore_case: bool) -> re.Pattern[str]:
    return _expressions(patterns, ignore_case, ())


@functools.lru_cache(maxsize=FILLED_KEPT)
def _filled(patterns: tuple[str, ...], ignore_case: bool, given: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    return _expressions(patterns, ignore_case, given)


def _expressions(patterns: tuple[str, ...], ignore_case: bool, given: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    values = {name: value.lower() if ignore_case else value for name, value in given}
    return re.compile("|".join(_expression(pattern, values, ignore_case) for pattern in patterns), re.DOTALL)


def _expression(pattern: str, values: Mapping[str, str], ignore_case: bool) -> str:
    pieces = [""]  # regular expressions of what is between the stars
    for number, part in enumerate(VARIABLE.split(pattern) if values else [pattern]):
        if number % 2:
            pieces[-1] += re.escape(values[part])
            continue
        first, *rest = (part.lower() if ignore_case else part).split("*")
        pieces[-1] += _literal(first)
        pieces += map(_literal, rest)
    first, *rest = pieces
    if not rest:
        return first
    *middle, last = rest
    # Atomic groups: the leftmost match of each piece is as good as any other, and a failing pattern with many stars
    # must not try them all.
    found = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return f"{first}{found}.*{last}"


def _literal(text: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in text)
