"""Ids that nobody can guess. Where they come from is an argument."""

import os
import string
from collections.abc import Callable

Draw = Callable[[int], str]
"""Returns that many characters of [a-z0-9], all equally likely."""

_ALPHABET = (string.ascii_lowercase + string.digits).encode()
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_LEFT_OUT = bytes(range(256 - 256 % len(_ALPHABET), 256))  # bytes that would make some letters likelier than others


def draw(length: int) -> str:
    """Return characters from the operating system's random source; 20 of them have 103 bits."""
    found = ""
    while len(found) < length:  # once, unless far more bytes than one in 64 are left out
        found += os.urandom(length + length // 8 + 4).translate(_LETTERS, _LEFT_OUT).decode()
    return found[:length]


def new_id(prefix: str, draw: Draw = draw, length: int = 20) -> str:
    """Return `prefix-` and `length` drawn characters, safe in file names, URLs and scripts."""
    return f"{prefix}-{draw(length)}"
