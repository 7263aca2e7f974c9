"""Turn whatever a library raises about bad bytes into BadArchive, and give no more of a file than was announced."""

from __future__ import annotations

import contextlib
import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from typing import IO, Iterator

from backfleet_host.archives.model import BadArchive, Entry

_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    ValueError,
    MemoryError,
)
"""What the libraries raise for archives that are cut off, damaged or of an unknown kind. No library documents all."""


@contextlib.contextmanager
def as_bad_archive(form: str) -> Iterator[None]:
    """Turn whatever a library raises about the bytes into BadArchive. What the disk raises stays as it is."""
    try:
        yield
    except BadArchive:
        raise
    except _BROKEN as problem:
        raise _cannot_be_read(form, problem) from None
    except OSError as problem:
        if problem.errno not in (None, errno.EINVAL):  # decompressors give no number, a jump before the start EINVAL
            raise
        raise _cannot_be_read(form, problem) from None


def _cannot_be_read(form: str, problem: object) -> BadArchive:
    return BadArchive(f"it cannot be read as {form}: {str(problem)[:200] or type(problem).__name__}")


class ExactStream:
    """A stream that gives exactly as many bytes as its entry announced. A false header ends here, not on the disk."""

    def __init__(self, stream: IO[bytes], entry: Entry, form: str) -> None:
        self._stream, self._entry, self._form, self._left = stream, entry, form, entry.size

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes.

        Raises:
            BadArchive: the content is shorter or longer than announced.
        """
        wanted = self._left if size < 0 else min(size, self._left)
        with as_bad_archive(self._form):
            piece = self._stream.read(wanted) if wanted else b""
            self._left -= len(piece)
            if wanted and not piece:
                raise BadArchive(f"{self._entry.path} ends {self._left} bytes early")
            if not self._left and self._stream.read(1):
                raise BadArchive(f"{self._entry.path} is longer than its {self._entry.size} bytes")
        return piece
