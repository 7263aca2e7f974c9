"""Make the file of a delta from two contents: what bsdiff finds, without the copies that are too short to pay."""

import zlib
from collections.abc import Iterator
from typing import Any, cast

from backfleet_host.deltas import HEADER, LEAST_COPY, MAGIC, STEP

LEVEL = 9
_SIGN = 1 << 63  # bsdiff writes a number as its sign and its absolute value
_TRIPLE = 24  # bytes


def make_delta(base: bytes, result: bytes) -> bytes:
    """Return the file of a delta that makes `result` of `base`.

    It takes some 17 times the size of the base in memory, and about a second for each megabyte.
    """
    steps, data, written, ended_at = zlib.compressobj(LEVEL), zlib.compressobj(LEVEL), 0, 0
    packed_steps, packed_data = [], []
    for at, position, difference in _copies(base, result):
        packed_steps.append(steps.compress(STEP.pack(at - written, len(difference), position - ended_at)))
        packed_data += [data.compress(result[written:at]), data.compress(difference)]
        written, ended_at = at + len(difference), position + len(difference)
    if written < len(result):
        packed_steps.append(steps.compress(STEP.pack(len(result) - written, 0, 0)))
        packed_data.append(data.compress(result[written:]))
    packed = b"".join([*packed_steps, steps.flush()])
    return b"".join([HEADER.pack(MAGIC, len(base), len(result), len(packed)), packed, *packed_data, data.flush()])


def _copies(base: bytes, result: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield for each copy where it is in the result, where in the base, and the difference of the two."""
    import bsdiff4.core  # here, as a server must start where it is not installed

    triples, differences, _ = cast(tuple[Any, bytes, bytes], bsdiff4.core.diff(base, result))
    at = position = taken = 0
    for copied, literal, distance in _numbers(triples):
        if copied >= LEAST_COPY:
            yield at, position, differences[taken : taken + copied]
        taken, at, position = taken + copied, at + copied + literal, position + copied + distance


def _numbers(triples: Any) -> Iterator[tuple[int, int, int]]:
    for begin in range(0, len(triples), _TRIPLE):
        first, second, third = (
            int.from_bytes(triples[place : place + 8], "little") for place in range(begin, begin + _TRIPLE, 8)
        )
        yield _signed(first), _signed(second), _signed(third)


def _signed(number: int) -> int:
    return -(number ^ _SIGN) if number & _SIGN else number
