"""Reading an artifact: wheel, zip, tar, deb or plain binary, one entry at a time, with nothing believed.

Both sides read with this: the control plane when a release is added, the host when it unpacks. What one would refuse
the other refuses too. Streams throughout: an entry is never held in memory whole, and no more is read than the limits
allow.
"""

from __future__ import annotations

import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator, List, Optional, Set, Tuple

FORMATS = ("wheel", "deb", "tar", "zip", "binary")

LONGEST_PATH = 1024  # characters
DEEPEST = 64  # folders within each other
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes

BROKEN = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, NotImplementedError)
"""What the libraries raise for archives that are cut off, damaged or of a kind they cannot read."""


class BadArchive(ValueError):
    """An archive that is broken or hostile; the text says what was found where."""


@dataclass(frozen=True)
class Limits:
    """More than this is refused before it is read."""

    unpacked_bytes: int = 4 << 30
    entries: int = 100_000


@dataclass(frozen=True)
class Entry:
    """One thing in an archive. `path` is relative, normal, and stays in the tree; so does a link's target."""

    path: str
    size: int  # bytes of a file; 0 otherwise
    mode: int  # permission bits; no set-uid, set-gid or sticky bit
    is_folder: bool = False
    link: Optional[str] = None  # a symbolic link's target


def walk(file: Path, form: str, limits: Limits, name: str = "") -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    """Every entry in order, with a stream for files. `name` is what a plain binary is called in the tree.

    Raises:
        BadArchive: broken, hostile, or larger than the limits.
    """
    if form not in FORMATS:
        raise BadArchive(f"{form!r} is not one of {', '.join(FORMATS)}")
    seen: Set[str] = set()
    total = 0
    try:
        for number, (entry, stream) in enumerate(_entries(file, form, name)):
            _check(entry, seen)
            total += entry.size
            if number >= limits.entries:
                raise BadArchive(f"there are more than {limits.entries} entries")
            if total > limits.unpacked_bytes:
                raise BadArchive(f"it unpacks to more than {limits.unpacked_bytes} bytes")
            yield entry, None if stream is None else _Exactly(stream, entry)  # type: ignore[misc]
    except BROKEN as problem:
        raise BadArchive(f"it cannot be read as {form}: {problem or type(problem).__name__}") from None


class _Exactly:
    """A stream that gives as many bytes as its entry promised: a lying header ends here, not on the disk."""

    def __init__(self, stream: IO[bytes], entry: Entry) -> None:
        self._stream, self._entry, self._left = stream, entry, entry.size

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes. Raises BadArchive at an end that comes too early or too late."""
        wanted = self._left if size < 0 else min(size, self._left)
        piece = self._stream.read(wanted) if wanted else b""
        self._left -= len(piece)
        if wanted and not piece:
            raise BadArchive(f"{self._entry.path} ends {self._left} bytes early")
        if not self._left and self._stream.read(1):
            raise BadArchive(f"{self._entry.path} is longer than its {self._entry.size} bytes")
        return piece


def _entries(file: Path, form: str, name: str) -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    if form in ("wheel", "zip"):
        return _zip(file, is_wheel=form == "wheel")
    if form == "tar":
        return _tar_file(file)
    if form == "deb":
        return _deb(file)
    return _binary(file, name)


def _binary(file: Path, name: str) -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    with file.open("rb") as opened:
        yield Entry(name, file.stat().st_size, 0o755), opened


def _zip(file: Path, *, is_wheel: bool) -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise BadArchive(f"{info.filename} is encrypted")
            kind_and_mode = info.external_attr >> 16
            if info.is_dir():
                yield Entry(info.filename.rstrip("/"), 0, 0o755, is_folder=True), None
            elif stat.S_ISLNK(kind_and_mode):
                target = archive.read(info)[:LONGEST_PATH].decode("utf-8", "replace")
                yield Entry(info.filename, 0, 0o777, link=target), None
            elif kind_and_mode and stat.S_IFMT(kind_and_mode) not in (0, stat.S_IFREG):
                raise BadArchive(f"{info.filename} is neither a file nor a folder")
            else:
                mode = stat.S_IMODE(kind_and_mode) or 0o644
                if is_wheel and _is_script(info.filename):
                    mode |= 0o755  # installers make a wheel's scripts executable, whatever the archive says
                with archive.open(info) as stream:
                    yield Entry(info.filename, info.file_size, mode), stream


def _is_script(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0].endswith(".data") and parts[1] == "scripts"


def _tar_file(file: Path) -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    with file.open("rb") as opened:
        yield from _tar(opened)


def _tar(opened: IO[bytes]) -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    # "r|*" reads forwards only: memory stays flat, and the compression is found by itself (gz, bz2, xz).
    with tarfile.open(fileobj=opened, mode="r|*") as archive:
        for info in archive:
            name = info.name[2:] if info.name.startswith("./") else info.name
            if name in (".", ""):
                continue
            if info.isdir():
                yield Entry(name, 0, 0o755, is_folder=True), None
            elif info.issym():
                yield Entry(name, 0, 0o777, link=info.linkname), None
            elif info.isreg():
                yield Entry(name, info.size, stat.S_IMODE(info.mode)), archive.extractfile(info)
            else:
                raise BadArchive(f"{name} is neither a file, a folder nor a symbolic link")
            archive.members = []  # type: ignore[attr-defined]  # what was read is not needed again


def _deb(file: Path) -> Iterator[Tuple[Entry, Optional[IO[bytes]]]]:
    """A Debian package is an ar archive; its files are in the member data.tar.*"""
    with file.open("rb") as opened:
        if opened.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise BadArchive("it cannot be read as deb: it is no ar archive")
        for member, size in _ar_members(opened):
            if member.startswith("data.tar"):
                if member.endswith(".zst"):
                    raise BadArchive("its data is compressed with zstd, which is not supported; repack it with xz")
                yield from _tar(_Window(opened, size))  # type: ignore[arg-type]
                return
    raise BadArchive("it cannot be read as deb: it has no data.tar")


def _ar_members(opened: IO[bytes]) -> Iterator[Tuple[str, int]]:
    """Each member's name and size, the file standing at its first byte."""
    while True:
        header = opened.read(_AR_HEADER)
        if not header.strip():
            return
        text = header.decode("latin-1")
        if len(header) != _AR_HEADER or not text.endswith("`\n") or not text[48:58].strip().isdigit():
            raise BadArchive("it cannot be read as deb: a member's header is broken")
        size, begin = int(text[48:58]), opened.tell()
        yield text[:16].strip().rstrip("/"), size
        opened.seek(begin + size + size % 2)


class _Window:
    """A part of a file, read as if it were a whole one."""

    def __init__(self, opened: IO[bytes], size: int) -> None:
        self._opened, self._left = opened, size

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of what is left."""
        piece = self._opened.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        return piece


def _check(entry: Entry, seen: Set[str]) -> None:
    path = entry.path
    shown = repr(path[:80])
    if not path or len(path) > LONGEST_PATH or "\0" in path or "\\" in path:
        raise BadArchive(f"the path {shown} is not one we unpack")
    if path.startswith("/") or posixpath.normpath(path) != path or ".." in path.split("/"):
        raise BadArchive(f"the path {shown} would leave the tree")
    if path.count("/") >= DEEPEST:
        raise BadArchive(f"the path {shown} is more than {DEEPEST} folders deep")
    if entry.mode & ~0o777:
        raise BadArchive(f"{shown} has set-uid, set-gid or sticky bits")
    if entry.link is not None:
        _check_link(entry)
    if path in seen and not entry.is_folder:
        raise BadArchive(f"{shown} is there twice")
    for folder in _folders_of(path):
        if folder in seen and folder + "/" not in seen:
            raise BadArchive(f"{shown} lies under something that is not a folder")
        seen.update((folder, folder + "/"))
    if entry.is_folder:
        if path in seen and path + "/" not in seen:
            raise BadArchive(f"{shown} is there twice")
        seen.add(path + "/")
    seen.add(path)


def _check_link(entry: Entry) -> None:
    target = entry.link or ""
    landed = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), target))
    if not target or target.startswith("/") or landed == ".." or landed.startswith("../") or "\0" in target:
        raise BadArchive(f"the link {entry.path[:80]!r} points out of the tree")


def _folders_of(path: str) -> List[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
