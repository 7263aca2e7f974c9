"""Reading an artifact: wheel, zip, tar, deb or plain binary, one entry at a time, with nothing believed.

Both sides read with this: the control plane when a release is added, the host when it unpacks. What one would refuse
the other refuses too, whichever Python either runs on. Streams throughout: an entry is never held in memory whole, and
no more is read than the limits allow. What is cut off or damaged is refused, wherever the archive's form lets it show.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Iterator, List, Optional, Set, Tuple, cast

FORMATS = ("wheel", "deb", "tar", "zip", "binary")

LONGEST_PATH = 1024  # bytes
LONGEST_NAME = 255  # bytes of one part of a path: what Linux takes
DEEPEST = 64  # folders within each other
MOST_FOLDERS = 100_000  # named or implied
LONGEST_HEADER = 64 << 10  # bytes that a tar spends on describing one entry
LONGEST_PADDING = 1 << 20  # bytes of zeros after a tar's end
LARGEST_DIRECTORY = 32 << 20  # bytes of a zip's table of contents: zipfile reads it in one go

_UNFIT = re.compile("[\0-\x1f\x7f-\x9f\\\\\ud800-\udfff]")  # control characters, backslash, what is no UTF-8
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes
_UNREAD = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x5d\x00\x00", "lzma"),
    (b"LZIP", "lzip"),
    (b"\x89LZO", "lzop"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
)
_DESCRIBING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

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
)
"""What the libraries raise for archives that are cut off, damaged or of a kind they cannot read; none says all."""


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


Entries = Iterator[Tuple[Entry, Optional[IO[bytes]]]]


def walk(file: Path, form: str, limits: Limits, name: str = "") -> Entries:
    """Every entry in order, with a stream for files. `name` is what a plain binary is called in the tree.

    Raises:
        BadArchive: broken, hostile, or larger than the limits; also from a stream that is read.
        OSError: the file itself cannot be read.
    """
    if form not in FORMATS:
        raise BadArchive(f"{form!r} is not one of {', '.join(FORMATS)}")
    tree = _Tree(limits)
    with _told_as_bad(form):
        for entry, stream in _entries(file, form, name):
            _check(entry)
            tree.take(entry)
            yield entry, None if stream is None else cast("IO[bytes]", _Exactly(stream, entry, form))


@contextlib.contextmanager
def _told_as_bad(form: str) -> Iterator[None]:
    """Whatever the libraries raise about the bytes becomes a BadArchive; what the disk raises stays what it is."""
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


class _Exactly:
    """A stream that gives as many bytes as its entry promised: a lying header ends here, not on the disk."""

    def __init__(self, stream: IO[bytes], entry: Entry, form: str) -> None:
        self._stream, self._entry, self._form, self._left = stream, entry, form, entry.size

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes. Raises BadArchive at an end that comes too early or too late."""
        wanted = self._left if size < 0 else min(size, self._left)
        with _told_as_bad(self._form):
            piece = self._stream.read(wanted) if wanted else b""
            self._left -= len(piece)
            if wanted and not piece:
                raise BadArchive(f"{self._entry.path} ends {self._left} bytes early")
            if not self._left and self._stream.read(1):
                raise BadArchive(f"{self._entry.path} is longer than its {self._entry.size} bytes")
        return piece


def _entries(file: Path, form: str, name: str) -> Entries:
    if form in ("wheel", "zip"):
        return _zip(file, is_wheel=form == "wheel")
    if form == "tar":
        return _tar_file(file)
    if form == "deb":
        return _deb(file)
    return _binary(file, name)


def _binary(file: Path, name: str) -> Entries:
    with file.open("rb") as opened:
        yield Entry(name, file.stat().st_size, 0o755), opened


# --- Zip ------------------------------------------------------------------------------------------------------------


def _zip(file: Path, *, is_wheel: bool) -> Entries:
    with _Sparing(str(file)) as opened, zipfile.ZipFile(opened) as archive:
        for info in archive.infolist():
            _check_zip_entry(info)
            kind, mode = stat.S_IFMT(info.external_attr >> 16), stat.S_IMODE(info.external_attr >> 16) or 0o644
            if info.is_dir():
                yield Entry(info.filename[:-1], 0, 0o755, is_folder=True), None
            elif kind == stat.S_IFLNK:
                yield Entry(info.filename, 0, 0o777, link=_zip_link(archive, info)), None
            elif kind not in (0, stat.S_IFREG):
                raise BadArchive(f"{info.filename!r} is neither a file, a folder nor a symbolic link")
            else:
                if is_wheel and _is_script(info.filename):
                    mode |= 0o755  # installers make a wheel's scripts executable, whatever the archive says
                with archive.open(info) as stream:
                    yield Entry(info.filename, info.file_size, mode), stream


class _Sparing(io.FileIO):
    """A zip of which nobody reads very much at once."""

    def read(self, size: Optional[int] = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY:
            raise BadArchive(f"its table of contents is larger than {LARGEST_DIRECTORY} bytes")
        return super().read(-1 if size is None else size) or b""


def _check_zip_entry(info: zipfile.ZipInfo) -> None:
    shown = repr(info.orig_filename[:80])
    if info.orig_filename != info.filename:  # zipfile ends a name at a NUL; others do not
        raise BadArchive(f"the path {shown} is not one we unpack")
    if info.flag_bits & 1:
        raise BadArchive(f"{shown} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The others are unpacked without a limit on memory, and not by every Python.
        method = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))  # type: ignore[attr-defined]
        raise BadArchive(f"{shown} is compressed with {method}, which is not supported; repack it with deflate")


def _zip_link(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """A link's target is the entry's content; of one that is too long no more is read than shows it."""
    with archive.open(info) as stream:
        return stream.read(LONGEST_PATH + 1).decode("utf-8")


def _is_script(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0].endswith(".data") and parts[1] == "scripts"


# --- Tar ------------------------------------------------------------------------------------------------------------


def _tar_file(file: Path) -> Entries:
    with file.open("rb") as opened:
        yield from _tar(opened, file.stat().st_size)


def _tar(opened: IO[bytes], size: int) -> Entries:
    """The entries of the tar that begins where the file stands."""
    # "r|" reads forwards only: memory stays flat.
    with _decompressed(opened, size) as plain, tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as archive:
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
                raise BadArchive(f"{name!r} is neither a file, a folder nor a symbolic link")
            archive.members = []  # type: ignore[attr-defined]  # what was read is not needed again
        _check_end(archive.fileobj)


def _decompressed(opened: IO[bytes], size: int) -> IO[bytes]:
    """What is packed in it, by its first bytes. Not tarfile's own way: that looks at no checksum of gzip's."""
    magic = opened.read(6)
    opened.seek(-len(magic), io.SEEK_CUR)
    for begin, compression in _UNREAD:
        if magic.startswith(begin):
            raise BadArchive(f"it is compressed with {compression}, which is not supported; repack it with xz")
    packed: Any = _Window(opened, size)
    if magic.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed, mode="rb"))
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    return lzma.LZMAFile(packed) if magic == b"\xfd7zXZ\0" else cast("IO[bytes]", packed)


class _Window(io.RawIOBase):
    """The next so many bytes of a file, read as if they were a whole one."""

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


class _Header(tarfile.TarInfo):
    """A header of a tar. tarfile takes a broken one for the end, and reads descriptions of any length into memory."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> _Header:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end as it should be
            raise
        except tarfile.HeaderError as problem:
            raise BadArchive(f"it cannot be read as tar: a header is missing, cut off or damaged: {problem}") from None

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _DESCRIBING and header.size > LONGEST_HEADER):
            raise BadArchive(f"it cannot be read as tar: a header speaks of {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            header._refuse_sparse()
        return header

    def _refuse_sparse(self, *_: Any) -> None:
        """Their maps have any length, too."""
        raise BadArchive("it has sparse files, which are not supported; repack it without them")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def _check_end(rest: Any) -> None:
    """Read on to the very end, where a compressed stream has its checksum. After a tar's own end there are zeros."""
    padding = rest.read(LONGEST_PADDING + 1)
    if len(padding) > LONGEST_PADDING or padding.strip(b"\0"):
        raise BadArchive("it cannot be read as tar: something follows its end")


# --- Debian packages ------------------------------------------------------------------------------------------------


def _deb(file: Path) -> Entries:
    """A Debian package is an ar archive; its files are in the member data.tar.*"""
    with file.open("rb") as opened:
        if opened.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise BadArchive("it cannot be read as deb: it is no ar archive")
        for member, size in _ar_members(opened):
            if member == "data.tar" or member.startswith("data.tar."):
                yield from _tar(opened, size)
                return
    raise BadArchive("it cannot be read as deb: it has no data.tar")


def _ar_members(opened: IO[bytes]) -> Iterator[Tuple[str, int]]:
    """Each member's name and size, the file standing at its first byte."""
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


# --- What may be in a tree ------------------------------------------------------------------------------------------


class _Tree:
    """What the entries so far come to: no path twice, nothing under what is no folder, no more than the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = self._bytes = 0
        self._folders: Set[str] = set()
        self._others: Set[str] = set()

    def take(self, entry: Entry) -> None:
        """Put an entry in."""
        self._entries, self._bytes = self._entries + 1, self._bytes + entry.size
        if self._entries > self._limits.entries:
            raise BadArchive(f"there are more than {self._limits.entries} entries")
        if self._bytes > self._limits.unpacked_bytes:
            raise BadArchive(f"it unpacks to more than {self._limits.unpacked_bytes} bytes")
        self._take_folders(entry)
        if entry.path in self._others or (entry.path in self._folders and not entry.is_folder):
            raise BadArchive(f"{entry.path[:80]!r} is there twice")
        (self._folders if entry.is_folder else self._others).add(entry.path)

    def _take_folders(self, entry: Entry) -> None:
        for folder in _folders_of(entry.path):
            if folder in self._others:
                raise BadArchive(f"{entry.path[:80]!r} lies under something that is not a folder")
            self._folders.add(folder)
        if len(self._folders) > MOST_FOLDERS:
            raise BadArchive(f"there are more than {MOST_FOLDERS} folders")


def _check(entry: Entry) -> None:
    path, parts = entry.path, entry.path.split("/")
    shown = repr(path[:80])
    if not _is_fit(path) or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise BadArchive(f"the path {shown} is not one we unpack")
    if any(part in ("", ".", "..") for part in parts):
        raise BadArchive(f"the path {shown} would leave the tree, or is not written in the shortest way")
    if len(parts) > DEEPEST:
        raise BadArchive(f"the path {shown} is more than {DEEPEST} folders deep")
    if entry.mode & ~0o777:
        raise BadArchive(f"{shown} has set-uid, set-gid or sticky bits")
    if entry.size < 0:
        raise BadArchive(f"{shown} has a size of {entry.size} bytes")
    if entry.link is not None:
        _check_link(path, entry.link)


def _check_link(path: str, target: str) -> None:
    """Up first, then down, as links are written: a `..` after a name could go up from where another link leads."""
    if not _is_fit(target):
        raise BadArchive(f"the link {path[:80]!r} has a target that is not one we unpack")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    down = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or down > path.count("/") or ".." in parts[down:]:
        raise BadArchive(f"the link {path[:80]!r} points out of the tree, or could")


def _is_fit(text: str) -> bool:
    return bool(text) and not _UNFIT.search(text) and len(text.encode()) <= LONGEST_PATH


def _folders_of(path: str) -> List[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
