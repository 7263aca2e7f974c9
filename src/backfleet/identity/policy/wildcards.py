"""Patterns of the policy language: `*` matches any number of characters, also `:` and `/`; `?` matches exactly one."""

import functools
import re
from typing import Final

COMPILED_KEPT: Final = 1024  # compiled sets of patterns kept in memory; a set is at most as long as a document


def matches(patterns: tuple[str, ...], text: str, *, ignore_case: bool = False) -> bool:
    """Return whether one of the patterns matches the whole text. Takes time linear in pattern times text at worst."""
    return _compiled(patterns, ignore_case).fullmatch(text.lower() if ignore_case else text) is not None


@functools.lru_cache(maxsize=COMPILED_KEPT)
def _compiled(patterns: tuple[str, ...], ignore_case: bool) -> re.Pattern[str]:
    forms = (pattern.lower() if ignore_case else pattern for pattern in patterns)
    return re.compile("|".join(map(_expression, forms)), re.DOTALL)


def _expression(pattern: str) -> str:
    first, *rest = pattern.split("*")
    if not rest:
        return _literal(first)
    *middle, last = rest
    # Atomic groups: the leftmost match of each piece is as good as any other, and a failing pattern with many stars
    # must not try them all.
    found = "".join(f"(?>.*?{_literal(piece)})" for piece in middle if piece)
    return f"{_literal(first)}{found}.*{_literal(last)}"


def _literal(text: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in text)
