"""The few DER elements that an RSA key is made of (ITU-T X.690).

Our own, so that a host with neither `cryptography` nor `openssl` can read and write its key file.
"""

from __future__ import annotations

from typing import List, Tuple

INTEGER, BIT_STRING, OCTET_STRING, SEQUENCE = 0x02, 0x03, 0x04, 0x30


def element(tag: int, content: bytes) -> bytes:
    """Return an element with this tag and content."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def integers(*values: int) -> bytes:
    """Return a SEQUENCE of non-negative INTEGERs."""
    encoded = [element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big")) for value in values]
    return element(SEQUENCE, b"".join(encoded))


def read_element(data: bytes) -> Tuple[int, bytes, bytes]:
    """Return the tag and content of the first element, and what follows it.

    Raises:
        ValueError: the data is cut off, or its length is not written as DER asks.
    """
    if len(data) < 2:
        raise ValueError("the key is cut off")
    tag, length, start = data[0], data[1], 2
    if length >= 0x80:
        start += length & 0x7F
        if not 1 <= length & 0x7F <= 4 or len(data) < start:
            raise ValueError("the key is cut off, or not DER")
        length = int.from_bytes(data[2:start], "big")
    end = start + length
    if len(data) < end or element(tag, data[start:end]) != data[:end]:
        raise ValueError("the key is cut off, or not DER")
    return tag, data[start:end], data[end:]


def read_sequence(data: bytes) -> List[Tuple[int, bytes]]:
    """Return tag and content of every element in the SEQUENCE that is all of `data`.

    Raises:
        ValueError: it is something else.
    """
    tag, rest, after = read_element(data)
    if tag != SEQUENCE or after:
        raise ValueError("the key is not one DER sequence")
    found = []
    while rest:
        tag, content, rest = read_element(rest)
        found.append((tag, content))
    return found
