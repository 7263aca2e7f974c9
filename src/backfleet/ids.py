"""Ids that nobody can guess. Where they come from is an argument."""

import secrets
import string
from collections.abc import Callable

Draw = Callable[[int], str]
"""Returns that many characters of [a-z0-9], all equally likely."""

_ALPHABET = string.ascii_lowercase + string.digits


def draw(length: int) -> str:
    """Return characters from the operating system's random source; 20 of them have 103 bits."""
    base = len(_ALPHABET)
    number = secrets.randbelow(base**length)  # one system call for all characters: a task draws a hundred ids
    characters = []
    for _ in range(length):
        number, digit = divmod(number, base)
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def new_id(prefix: str, draw: Draw = draw, length: int = 20) -> str:
    """Return `prefix-` and `length` drawn characters, safe in file names, URLs and scripts."""
    return f"{prefix}-{draw(length)}"
