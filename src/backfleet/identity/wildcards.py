"""Patterns of the policy language: `*` is any number of characters, also across `:` and `/`; `?` is exactly one."""

import functools
import re
from typing import Final

REMEMBERED: Final = 1024  # compiled sets of patterns; a set is as long as a policy document at the most


def matches(patterns: tuple[str, ...], text: str, *, ignore_case: bool = False) -> bool:
    """Whether one of the patterns stands for the whole text. Takes time linear in pattern times text, at the worst."""
    return _compiled(patterns, ignore_case).fullmatch(text.lower() if ignore_case else text) is not None


@functools.lru_cache(maxsize=REMEMBERED)
def _compiled(patterns: tuple[str, ...], ignore_case: bool) -> re.Pattern[str]:
    forms = (pattern.lower() if ignore_case else pattern for pattern in patterns)
    return re.compile("|".join(map(_expression, forms)), re.DOTALL)


def _expression(pattern: str) -> str:
    first, *rest = pattern.split("*")
    if not rest:
        return _literal(first)
    *middle, last = rest
    # Atomic: the leftmost place for each piece is as good as any other, and a pattern of many stars that fails must
    # not try them all.
    found = "".join(f"(?>.*?{_literal(piece)})" for piece in middle if piece)
    return f"{_literal(first)}{found}.*{_literal(last)}"


def _literal(text: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in text)
