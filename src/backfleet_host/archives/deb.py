"""Read Debian packages: ar archives in which a tar holds the files."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Iterator, Tuple

from backfleet_host.archives.model import BadArchive, Entries, Limits
from backfleet_host.archives.tar import read_tar

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes


def read_deb(file: Path, limits: Limits) -> Entries:
    """Give the entries of a Debian package's data.tar."""
    with file.open("rb") as opened:
        yield from read_tar(opened, go_to_data(opened), limits)


def read_control(file: Path, limits: Limits, most: int) -> bytes:
    """Return the file `control` of a Debian package, which describes it, but no more than `most` bytes of it."""
    with file.open("rb") as opened:
        for entry, stream in read_tar(opened, _go_to(opened, "control.tar"), limits):
            if entry.path == "control" and stream is not None:
                return stream.read(most)
    raise BadArchive("it cannot be read as deb: it has no control file")


def go_to_data(opened: IO[bytes]) -> int:
    """Move to the first byte of the member data.tar.*, which holds the files; return its size."""
    return _go_to(opened, "data.tar")


def _go_to(opened: IO[bytes], wanted: str) -> int:
    if opened.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise BadArchive("it cannot be read as deb: it is no ar archive")
    for member, size in _ar_members(opened):
        if member == wanted or member.startswith(f"{wanted}."):
            return size
    raise BadArchive(f"it cannot be read as deb: it has no {wanted}")


def _ar_members(opened: IO[bytes]) -> Iterator[Tuple[str, int]]:
    """Give each member's name and size while the file is at its first byte."""
    while True:
        header = opened.read(_AR_HEADER)
        if not header.strip():
            return
        text = header.decode("latin-1")
        if len(header) != _AR_HEADER or not text.endswith("`\n") or not text[48:58].strip().isdecimal():
            raise BadArchive("it cannot be read as deb: a member's header is broken")
        size, begin = int(text[48:58]), opened.tell()
        yield text[:16].strip().rstrip("/"), size
        opened.seek(begin + size + size % 2)
