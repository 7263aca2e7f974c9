"""Ids nobody can guess, drawn from a source that is an argument."""

import secrets
import string
from collections.abc import Callable

Draw = Callable[[int], str]
"""Gives that many characters of [a-z0-9], each as likely as the others."""

_ALPHABET = string.ascii_lowercase + string.digits


def draw(length: int) -> str:
    """Characters from the operating system's random source; 20 of them carry 103 bits."""
    base = len(_ALPHABET)
    number = secrets.randbelow(base**length)  # one question to the system for all of them: tasks draw a hundred ids
    characters = []
    for _ in range(length):
        number, digit = divmod(number, base)
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def new_id(prefix: str, draw: Draw = draw, length: int = 20) -> str:
    """`prefix-` and `length` drawn characters: fit for a file name, a URL and a script alike."""
    return f"{prefix}-{draw(length)}"
