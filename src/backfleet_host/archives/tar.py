"""Read tars, compressed or not."""

from __future__ import annotations

import re
import stat
import tarfile
from pathlib import Path
from typing import IO, Any

from backfleet_host.archives.compression import decompressed
from backfleet_host.archives.model import BadArchive, Entries, Entry, Limits
from backfleet_host.library_internals import open_tar

LONGEST_HEADER = 64 << 10  # bytes that a tar spends on describing one entry
LONGEST_PADDING = 1 << 20  # bytes of zeros after a tar's end
_DESCRIBING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_OF_ONE_ENTRY = re.compile(rb"(?:^|\n)\d+ (?:path=|linkpath=|size=|hdrcharset=|GNU\.sparse)")
"""Fields that make sense in the description of one entry only."""


def read_tar_file(file: Path, limits: Limits) -> Entries:
    """Give the entries of a tar."""
    with file.open("rb") as opened:
        yield from read_tar(opened, file.stat().st_size, limits)


def begins_with_tar(head: bytes) -> bool:
    """Return whether these bytes are the beginning of a tar: a header whose checksum is right, or an empty tar."""
    block = head[: tarfile.BLOCKSIZE]
    if len(block) < tarfile.BLOCKSIZE:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return not block.strip(b"\0")
    return True


def read_tar(opened: IO[bytes], size: int, limits: Limits) -> Entries:
    """Give the entries of the tar that is the next `size` bytes of a file. Memory stays flat."""
    with decompressed(opened, size) as plain, open_tar(plain, _HeaderLimits(limits)) as archive:
        for info in archive:
            archive.members = []  # what was read is not needed again
            name = _without_dot(info.name)
            if info.isdir() and name in (".", ""):
                continue
            yield _entry_of(info, name), archive.extractfile(info) if info.isreg() else None
        _check_end(archive.fileobj)


def _entry_of(info: tarfile.TarInfo, name: str) -> Entry:
    if info.isdir():
        return Entry(name, 0, 0o755, is_folder=True)
    if info.issym():
        return Entry(name, 0, 0o777, link=info.linkname)
    if info.islnk():
        return Entry(name, 0, 0, copy_of=_without_dot(info.linkname))
    if info.isreg():
        return Entry(name, info.size, stat.S_IMODE(info.mode))
    raise BadArchive(f"{name!r} is neither a file, a folder nor a link")


def _without_dot(name: str) -> str:
    return name[2:] if name.startswith("./") else name


class _HeaderLimits:
    """Counts what a tar spends on describing its entries: packed it is many times smaller, and some stays in memory."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.description_bytes
        self._of_one_entry = 0

    def on_header(self, header: tarfile.TarInfo) -> None:
        """Count a header, and what follows it if it describes an entry."""
        is_describing = header.type in _DESCRIBING
        size = tarfile.BLOCKSIZE + header.size * is_describing
        self._left -= size
        self._of_one_entry = self._of_one_entry + size if is_describing else 0
        if header.size < 0 or self._of_one_entry > LONGEST_HEADER:
            raise BadArchive(
                f"it cannot be read as tar: a header announces {header.size} bytes of description; "
                f"at most {LONGEST_HEADER} are accepted"
            )
        if self._left < 0:
            raise BadArchive("it cannot be read as tar: its headers are larger than its entries need")

    def on_global_header(self, content: bytes) -> None:
        """Refuse a global header that renames or resizes entries. Any other, such as a comment, is ignored."""
        if _OF_ONE_ENTRY.search(content):
            raise BadArchive("it cannot be read as tar: a global header gives all entries a name or size")

    def on_sparse_file(self) -> None:
        raise BadArchive("it has sparse files, which are not supported; repack it without them")

    def on_broken_header(self, problem: tarfile.HeaderError) -> None:
        raise BadArchive(f"it cannot be read as tar: a header is missing, cut off or damaged: {problem}") from None


def _check_end(rest: Any) -> None:
    """Read to the very end, where a compressed stream has its checksum. Only zeros may follow the tar's own end."""
    padding = rest.read(LONGEST_PADDING + 1)
    if len(padding) > LONGEST_PADDING or padding.strip(b"\0"):
        raise BadArchive("it cannot be read as tar: something follows its end")
