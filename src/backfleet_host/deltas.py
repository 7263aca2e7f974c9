"""Apply a delta: what makes a new release's content of an old one's, with the standard library alone.

Compressed bytes cannot be made again from other compressed bytes. So a delta works on content: it reads the *base*, the
files of a version one after the other by their path, and writes the *result*, an uncompressed tar of the new version.

A delta file is a header, then two zlib streams: steps and data. A step takes `literal` bytes of data as they are, then
adds `copy` bytes of data to as many bytes of the base, each byte for itself (as bsdiff does). What moves when a program
is built again changes its addresses: the differences are small and alike, and so compress well.

Nothing in a delta is trusted. Its lengths are compared with those that the caller knows from signed metadata. Every
step but the last copies at least `LEAST_COPY` bytes: that bounds the steps, and so the time, by the length of the
result. Memory is bounded by `BLOCK`.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import IO, Callable, Iterable, Iterator, List, Optional, Tuple

HEADER = struct.Struct("<8sQQQ")  # MAGIC, bytes of the base, of the result, and of the compressed steps
MAGIC = b"BFDELTA1"
STEP = struct.Struct("<QQq")  # literal, copy, and how far the copy begins from where the one before ended
LEAST_COPY = 32  # bytes; shorter copies cost more than they save
BLOCK = 1 << 18  # bytes that are worked on at a time
PIECE = 1 << 16  # compressed bytes read at a time

_LOW, _HIGH = (int.from_bytes(sign * BLOCK, "little") for sign in (b"\x7f", b"\x80"))


class BadDelta(ValueError):
    """A delta that is damaged, hostile or for other content; the text says what was found."""


def apply_delta(delta: Path, base: Path, lengths: Tuple[int, int], write: Callable[[bytes], object]) -> None:
    """Write the result of a delta, block by block. The caller verifies what was written by its hash.

    Args:
        delta: the file of the delta.
        base: the file of the base.
        lengths: bytes of the base and of the result, from signed metadata.
        write: called with each block; what it raises ends the work.

    Raises:
        BadDelta: the delta is damaged, hostile or for other content.
        OSError: a file cannot be read.
    """
    with open(delta, "rb") as opened, open(delta, "rb") as further, open(base, "rb", buffering=0) as old:
        header = opened.read(HEADER.size)
        if len(header) < HEADER.size or header[: len(MAGIC)] != MAGIC:
            raise BadDelta("it is no delta")
        _, base_length, result_length, size = HEADER.unpack(header)
        if (base_length, result_length) != lengths:
            raise BadDelta(f"it makes {result_length} bytes of {base_length}, not {lengths[1]} of {lengths[0]}")
        further.seek(HEADER.size + min(size, delta.stat().st_size))
        steps, data = _Inflated(opened, size, "steps"), _Inflated(further, None, "data")
        for predicted in _blocks(_checked(steps, base_length, result_length), old):
            write(add_bytes(predicted, data.read(len(predicted))))
        steps.check_end()
        data.check_end()


def add_bytes(left: bytes, right: bytes) -> bytes:
    """Add two strings of the same length, at most BLOCK, byte by byte without carry.

    Each string is one big number: the low seven bits of all bytes are added at once, and the high ones without carry.
    """
    size = len(left)
    if not right.strip(b"\0"):
        return left
    first, second = int.from_bytes(left, "little"), int.from_bytes(right, "little")
    low, high = (_LOW, _HIGH) if size == BLOCK else (_LOW & (1 << 8 * size) - 1, _HIGH & (1 << 8 * size) - 1)
    return (((first & low) + (second & low)) ^ ((first ^ second) & high)).to_bytes(size, "little")


def in_base_order(paths: Iterable[str]) -> List[str]:
    """Return the paths of a version's files in the order in which their contents make the base."""
    return sorted(paths, key=lambda path: path.encode("utf-8", "surrogateescape"))


def _checked(steps: _Inflated, base_length: int, result_length: int) -> Iterator[Tuple[int, int, int]]:
    """Yield (literal, copy, position in the base) of each step, until the result is complete."""
    left, position = result_length, 0
    while left:
        literal, copy, distance = STEP.unpack(steps.read(STEP.size))
        position += distance
        left -= literal + copy
        if left < 0:
            raise BadDelta(f"its steps make more than {result_length} bytes")
        if copy < LEAST_COPY and (copy or left):
            raise BadDelta(f"a step copies {copy} bytes; at least {LEAST_COPY} are expected")
        if copy and not 0 <= position <= base_length - copy:
            raise BadDelta(f"a step copies from outside of the {base_length} bytes of the base")
        yield literal, copy, position
        position += copy


def _blocks(steps: Iterator[Tuple[int, int, int]], old: IO[bytes]) -> Iterator[bytes]:
    """Yield what data is added to, in blocks: zeros where a step takes literal bytes, else bytes of the base."""
    pieces: List[bytes] = []
    free, zeros = BLOCK, bytes(BLOCK)
    for literal, copy, position in steps:
        done, count = 0, literal + copy
        while done < count:
            size = min(free, (literal if done < literal else count) - done)
            is_copy = done >= literal
            pieces.append(_read_exactly(old, position + done - literal, size) if is_copy else zeros[:size])
            done, free = done + size, free - size
            if not free:
                yield b"".join(pieces)
                pieces, free = [], BLOCK
    if pieces:
        yield b"".join(pieces)


def _read_exactly(old: IO[bytes], position: int, size: int) -> bytes:
    piece = os.pread(old.fileno(), size, position)
    if len(piece) != size:
        raise BadDelta("the base is shorter than it was")
    return piece


class _Inflated:
    """A zlib stream in a file that is read as far as is asked for, and no further."""

    def __init__(self, file: IO[bytes], size: Optional[int], what: str) -> None:
        self._file, self._left, self._what = file, size, what  # None = up to the end of the file
        self._stream, self._ready, self._at = zlib.decompressobj(), b"", 0  # ready bytes, and those taken of them

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises BadDelta."""
        found: List[bytes] = []
        while size:
            if self._at == len(self._ready):
                self._ready, self._at = self._next(max(size, PIECE)), 0
            piece = self._ready[self._at : self._at + size]
            found.append(piece)
            self._at += len(piece)
            size -= len(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def check_end(self) -> None:
        """Check that nothing follows what was read. Raises BadDelta."""
        if self._at < len(self._ready) or not self._ended():
            raise BadDelta(f"its {self._what} go on after the result is complete")

    def _ended(self) -> bool:
        while not self._stream.eof:
            if self._inflate(1):
                return False
        return not self._stream.unused_data and not self._compressed()

    def _next(self, size: int) -> bytes:
        while not (piece := self._inflate(size)):
            if self._stream.eof:
                raise BadDelta(f"its {self._what} end early")
        return piece

    def _inflate(self, size: int) -> bytes:
        compressed = self._stream.unconsumed_tail or self._compressed()
        if not compressed and not self._stream.eof:
            raise BadDelta(f"its {self._what} are cut off")
        try:
            return self._stream.decompress(compressed, size)
        except zlib.error as problem:
            raise BadDelta(f"its {self._what} are damaged: {problem}") from None

    def _compressed(self) -> bytes:
        piece = self._file.read(PIECE if self._left is None else min(PIECE, self._left))
        self._left = None if self._left is None else self._left - len(piece)
        return piece
