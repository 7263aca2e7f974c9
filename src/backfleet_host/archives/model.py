"""Entries, limits, and the one error of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Iterator, Optional, Tuple

FORMATS = ("wheel", "deb", "tar", "zip", "binary")

LONGEST_PATH = 1024  # bytes
DESCRIPTION = 4 << 10  # bytes that an archive spends on describing an entry, on average: ten times an honest one's
SPARE_DESCRIPTION = 1 << 20  # bytes more, for archives of few entries
PIECE = 128 << 10  # bytes unpacked or read at a time


class BadArchive(ValueError):
    """An archive that is broken or hostile; the text says what was found, and where."""


@dataclass(frozen=True)
class Limits:
    """More than this is refused before it is read."""

    unpacked_bytes: int = 4 << 30
    entries: int = 100_000

    @property
    def description_bytes(self) -> int:
        """Bytes that an archive may spend on describing its entries: they are read before any entry is counted."""
        return SPARE_DESCRIPTION + DESCRIPTION * self.entries

    def too_many_entries(self) -> BadArchive:
        """Return the error for an archive with more entries than this."""
        return BadArchive(f"there are more than {self.entries} entries")


@dataclass(frozen=True)
class Entry:
    """A file, folder or link. Its path is relative, normal, and stays in the tree; so does a link's target."""

    path: str
    size: int  # bytes of a file; 0 otherwise
    mode: int  # permission bits; set-uid and set-gid where they are named, sticky never
    is_folder: bool = False
    link: Optional[str] = None  # a symbolic link's target
    copy_of: Optional[str] = None  # the path of a file before it, which this one is as well: a hard link


Entries = Iterator[Tuple[Entry, Optional[IO[bytes]]]]
"""Each entry, and a stream for files that are no copies of another."""
