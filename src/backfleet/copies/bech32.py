"""Bech32, in which age writes its keys. Source: BIP 173, without its limit of 90 characters."""

from collections.abc import Iterable
from typing import Final

LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
CHECKSUM: Final = 6  # letters


def decode(text: str, kind: str) -> bytes:
    """Return the bytes of a text.

    Args:
        text: all of it in capitals, or none.
        kind: how it must begin, before the separating `1`; in small letters.

    Raises:
        ValueError: it is of another kind, or has a slip.
    """
    lower = text.lower()
    if text not in (lower, text.upper()) or not lower.startswith(f"{kind}1"):
        raise ValueError("it is of another kind")
    letters = lower[len(kind) + 1 :]
    if len(letters) <= CHECKSUM or not set(letters) <= set(LETTERS):
        raise ValueError("it has letters that it cannot have")
    values = [LETTERS.index(letter) for letter in letters]
    if _polymod([*_expanded(kind), *values]) != 1:
        raise ValueError("its checksum does not hold")
    return _eights(values[:-CHECKSUM])


def _eights(values: Iterable[int]) -> bytes:
    """Return bytes from groups of five bits."""
    held, bits, found = 0, 0, bytearray()
    for value in values:
        held, bits = (held << 5) | value, bits + 5
        if bits >= 8:
            bits -= 8
            found.append((held >> bits) & 0xFF)
    if bits >= 5 or held & ((1 << bits) - 1):
        raise ValueError("its last letter has bits too many")
    return bytes(found)


def _expanded(kind: str) -> list[int]:
    return [ord(letter) >> 5 for letter in kind] + [0] + [ord(letter) & 31 for letter in kind]


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(GENERATORS):
            if top >> place & 1:
                check ^= generator
    return check
