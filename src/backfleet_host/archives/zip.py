"""Read zips and wheels."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path
from typing import Optional

from backfleet_host.archives.model import LONGEST_PATH, BadArchive, Entries, Entry, Limits

LARGEST_DIRECTORY = 32 << 20  # bytes of a zip's table of contents: zipfile reads it in one go
_ZIP_ENTRY = b"PK\x01\x02"  # begins each in the table of contents


def read_zip(file: Path, limits: Limits, *, is_wheel: bool) -> Entries:
    """Give the entries of a zip."""
    with _LimitedZip(str(file)) as opened, opened.read_by_zipfile(limits) as archive:
        for info in archive.infolist():
            _check_entry(info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                yield Entry(info.filename[:-1], 0, 0o755, is_folder=True), None
            elif kind == stat.S_IFLNK:
                yield Entry(info.filename, 0, 0o777, link=_link_target(archive, info)), None
            elif kind not in (0, stat.S_IFREG):
                raise BadArchive(f"{info.filename!r} is neither a file, a folder nor a symbolic link")
            else:
                with archive.open(info) as stream:
                    yield Entry(info.filename, info.file_size, _mode_of(info, is_wheel=is_wheel)), stream


def _mode_of(info: zipfile.ZipInfo, *, is_wheel: bool) -> int:
    attributes = info.external_attr >> 16  # 0 where another system made it
    mode = stat.S_IMODE(attributes) if attributes else 0o644
    if not is_wheel:
        return mode
    # Installers do the same: they believe a wheel who may run a file, and make its scripts programs in any case.
    return mode & 0o7000 | (0o755 if mode & 0o111 or _is_script(info.filename) else 0o644)


class _LimitedZip(io.FileIO):
    """A zip that gives no more of its table of contents than the limits allow.

    zipfile reads the table in one go and makes an object of each entry in it, however many there are.
    """

    _limits: Optional[Limits] = None  # while zipfile reads the table

    def read_by_zipfile(self, limits: Limits) -> zipfile.ZipFile:
        self._limits = limits
        archive = zipfile.ZipFile(self)
        self._limits = None
        return archive

    def read(self, size: Optional[int] = -1, /) -> bytes:
        limits = self._limits
        most = LARGEST_DIRECTORY if limits is None else min(LARGEST_DIRECTORY, limits.description_bytes)
        if size is not None and size > most:
            raise BadArchive(f"its table of contents is larger than {most} bytes")
        piece = super().read(-1 if size is None else size) or b""
        if limits is not None and piece.startswith(_ZIP_ENTRY) and piece.count(_ZIP_ENTRY) > limits.entries:
            raise limits.too_many_entries()
        return piece


def _check_entry(info: zipfile.ZipInfo) -> None:
    shown = repr(info.orig_filename[:80])
    if info.orig_filename != info.filename:  # zipfile ends a name at a NUL; others do not
        raise BadArchive(f"the path {shown} goes on after a NUL")
    if info.flag_bits & 1:
        raise BadArchive(f"{shown} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The others are unpacked without a limit on memory, and not by every Python.
        method = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))  # type: ignore[attr-defined]
        raise BadArchive(f"{shown} is compressed with {method}, which is not supported; repack it with deflate")


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Read a link's target, which is the entry's content, as far as is needed to see that it is too long."""
    with archive.open(info) as stream:
        return stream.read(LONGEST_PATH + 1).decode("utf-8")


def _is_script(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0].endswith(".data") and parts[1] == "scripts"
