"""Unpack what the tar in an artifact is compressed with, within a limit of memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from typing import IO, Any, Callable, cast

from backfleet_host import zstd
from backfleet_host.archives.model import PIECE, BadArchive

MOST_MEMORY = 128 << 20  # bytes that a decompressor may take: `xz -9` takes 65 MiB, a careless dictionary takes 4 GiB
_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (zstd.MAGIC, "zstd"),
    # What follows is named, not read.
    (b"\x5d\x00\x00", "lzma"),
    (b"LZIP", "lzip"),
    (b"\x89LZO", "lzop"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
)


def compression_at(opened: IO[bytes]) -> str:
    """Return what begins at the file's position is compressed with, "" for nothing. The position stays."""
    magic = opened.read(6)
    opened.seek(-len(magic), io.SEEK_CUR)
    return next((name for begin, name in _COMPRESSIONS if magic.startswith(begin)), "")


def decompressed(opened: IO[bytes], size: int) -> IO[bytes]:
    """Unpack the next `size` bytes of a file.

    tarfile could do it, but ignores the checksum of gzip and gives xz all the memory that it asks for.
    """
    compression = compression_at(opened)
    packed: Any = _Window(opened, size)
    if compression == "":
        return cast("IO[bytes]", packed)
    if compression == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed, mode="rb"))
    if compression == "bzip2":
        return _read_streams(packed, bz2.BZ2Decompressor)
    if compression == "xz":
        return _read_streams(packed, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY))
    if compression == "zstd":
        return zstd.reading(packed)
    raise BadArchive(f"it is compressed with {compression}, which is not supported; repack it with xz")


class _Window(io.RawIOBase):
    """The next bytes of a file, read as if they were a file."""

    def __init__(self, opened: IO[bytes], size: int) -> None:
        super().__init__()
        self._opened, self._left = opened, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._opened.read(min(len(buffer), self._left))
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)


def _read_streams(packed: io.RawIOBase, fresh: Callable[[], Any]) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(_Streams(packed, fresh), PIECE))


class _Streams(io.RawIOBase):
    """Compressed streams one after the other, with zeros between them. Nothing else may follow."""

    def __init__(self, packed: io.RawIOBase, fresh: Callable[[], Any]) -> None:
        super().__init__()
        self._packed, self._fresh = packed, fresh
        self._decoder, self._rest = fresh(), b""  # what came with the end of the stream before

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._decoder.eof or self._begin_next():
            plain = self._decoder.decompress(self._more(), len(buffer))
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)
        return 0

    def _begin_next(self) -> bool:
        """Start with the next stream; return False if there is none."""
        rest = self._decoder.unused_data
        while rest is not None and not rest.strip(b"\0"):
            rest = self._packed.read(PIECE) or None
        if rest is not None:
            self._decoder, self._rest = self._fresh(), rest.lstrip(b"\0")
        return rest is not None

    def _more(self) -> bytes:
        if not self._decoder.needs_input:
            return b""
        piece, self._rest = self._rest or self._packed.read(PIECE) or b"", b""
        if not piece:
            raise EOFError("it is cut off")
        return piece
