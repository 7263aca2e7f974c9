"""Ids that nobody can guess. Where they come from is an argument."""

import os
import string
from collections.abc import Callable
from typing import Final

Draw = Callable[[int], str]
"""Returns that many characters of [a-z0-9], all equally likely."""

SHARED: Final = 5  # characters: few batches lie between each other
_ALPHABET = (string.ascii_lowercase + string.digits).encode()
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_LEFT_OUT = bytes(range(256 - 256 % len(_ALPHABET), 256))  # bytes that would make some letters likelier than others


def draw(length: int) -> str:
    """Return characters from the operating system's random source; 20 of them have 103 bits."""
    found = ""
    while len(found) < length:  # once, unless far more bytes than one in 64 are left out
        found += os.urandom(length + length // 8 + 4).translate(_LETTERS, _LEFT_OUT).decode()
    return found[:length]


def new_ids(prefix: str, draw: Draw, count: int, length: int = 20) -> list[str]:
    """Return ids for rows that are stored together.

    Each has `length` characters of its own, after a few that all of them share: so they lie side by side in an index,
    and a database writes a few of its pages instead of one for each.
    """
    shared = draw(SHARED)
    return [f"{prefix}-{shared}{draw(length)}" for _ in range(count)]


def new_id(prefix: str, draw: Draw = draw, length: int = 20) -> str:
    """Return `prefix-` and `length` drawn characters, safe in file names, URLs and scripts."""
    return f"{prefix}-{draw(length)}"
