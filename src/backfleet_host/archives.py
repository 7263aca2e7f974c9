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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Callable, Collection, Dict, Iterator, List, Optional, Set, Tuple, cast

from backfleet_host import zstd

FORMATS = ("wheel", "deb", "tar", "zip", "binary")

LONGEST_PATH = 1024  # bytes
LONGEST_NAME = 255  # bytes of one part of a path: what Linux takes
DEEPEST = 64  # folders within each other
MOST_FOLDERS = 100_000  # named or implied
LONGEST_HEADER = 64 << 10  # bytes that a tar spends on describing one entry
DESCRIPTION = 4 << 10  # bytes that an archive spends on describing an entry, on average: ten times an honest one's
SPARE_DESCRIPTION = 1 << 20  # bytes more, for archives of few entries
MOST_MEMORY = 128 << 20  # bytes that a decompressor may take: `xz -9` takes 65 MiB, a careless dictionary takes 4 GiB
LONGEST_PADDING = 1 << 20  # bytes of zeros after a tar's end
PIECE = 128 << 10  # bytes unpacked or read at a time
LARGEST_DIRECTORY = 32 << 20  # bytes of a zip's table of contents: zipfile reads it in one go

_UNFIT = re.compile("[\0-\x1f\x7f-\x9f\\\\\ud800-\udfff]")  # control characters, backslash, what is no UTF-8
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes
_ZIP_ENTRY = b"PK\x01\x02"  # begins each in the table of contents
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
_DESCRIBING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_OF_ONE = re.compile(rb"(?:^|\n)\d+ (?:path=|linkpath=|size=|hdrcharset=|GNU\.sparse)")
"""Fields that make sense in the description of one entry only."""

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
    mode: int  # permission bits; set-uid and set-gid where they are named, sticky never
    is_folder: bool = False
    link: Optional[str] = None  # a symbolic link's target
    copy_of: Optional[str] = None  # the path of a file before it, which this one is as well: a hard link


Entries = Iterator[Tuple[Entry, Optional[IO[bytes]]]]


def can_read_zstd() -> bool:
    """Whether this machine can: others can read everything else."""
    return zstd.can_read()


def walk(file: Path, form: str, limits: Limits, name: str = "", set_uid: Collection[str] = ()) -> Entries:
    """Every entry in order, with a stream for files that are no copies.

    `name` is what a plain binary is called in the tree. `set_uid` are the paths of files that may have the set-uid and
    set-gid bits.

    Raises:
        BadArchive: broken, hostile, or larger than the limits; also from a stream that is read.
        OSError: the file itself cannot be read.
    """
    if form not in FORMATS:
        raise BadArchive(f"{form!r} is not one of {', '.join(FORMATS)}")
    tree = _Tree(limits)
    with _told_as_bad(form):
        for told, stream in _entries(file, form, limits, name):
            entry = tree.completed(told)
            _check(entry, set_uid)
            tree.take(entry)
            yield entry, None if stream is None else cast("IO[bytes]", _Exactly(stream, entry, form))


def compression_of(file: Path, form: str) -> str:
    """What the tar in an artifact is compressed with, as `zstd`; "" if nothing, or nothing of its own.

    Raises: as `walk`.
    """
    if form not in ("tar", "deb"):
        return ""
    with _told_as_bad(form), file.open("rb") as opened:
        if form == "deb":
            _go_to_data(opened)
        return _compression(opened)


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


def _entries(file: Path, form: str, limits: Limits, name: str) -> Entries:
    if form in ("wheel", "zip"):
        return _zip(file, limits, is_wheel=form == "wheel")
    if form == "tar":
        return _tar_file(file, limits)
    if form == "deb":
        return _deb(file, limits)
    return _binary(file, name)


def _most_described(limits: Limits) -> int:
    """Bytes that an archive may spend on describing its entries: they are read before any entry is counted."""
    return SPARE_DESCRIPTION + DESCRIPTION * limits.entries


def _too_many(limits: Limits) -> BadArchive:
    return BadArchive(f"there are more than {limits.entries} entries")


def _binary(file: Path, name: str) -> Entries:
    with file.open("rb") as opened:
        yield Entry(name, file.stat().st_size, 0o755), opened


# --- Zip ------------------------------------------------------------------------------------------------------------


def _zip(file: Path, limits: Limits, *, is_wheel: bool) -> Entries:
    with _Sparing(str(file)) as opened, opened.read_by_zipfile(limits) as archive:
        for info in archive.infolist():
            _check_zip_entry(info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                yield Entry(info.filename[:-1], 0, 0o755, is_folder=True), None
            elif kind == stat.S_IFLNK:
                yield Entry(info.filename, 0, 0o777, link=_zip_link(archive, info)), None
            elif kind not in (0, stat.S_IFREG):
                raise BadArchive(f"{info.filename!r} is neither a file, a folder nor a symbolic link")
            else:
                with archive.open(info) as stream:
                    yield Entry(info.filename, info.file_size, _zip_mode(info, is_wheel=is_wheel)), stream


def _zip_mode(info: zipfile.ZipInfo, *, is_wheel: bool) -> int:
    told = info.external_attr >> 16  # nothing, where another system made it
    mode = stat.S_IMODE(told) if told else 0o644
    if not is_wheel:
        return mode
    # As installers do: of a wheel they believe who may run a file, and make its scripts programs whatever it says.
    return mode & 0o7000 | (0o755 if mode & 0o111 or _is_script(info.filename) else 0o644)


class _Sparing(io.FileIO):
    """A zip of which nobody reads very much at once, nor more of its table of contents than the limits allow.

    zipfile reads the table in one go and makes an object of each entry in it, however many its end speaks of.
    """

    _limits: Optional[Limits] = None  # while zipfile reads the table

    def read_by_zipfile(self, limits: Limits) -> zipfile.ZipFile:
        self._limits = limits
        archive = zipfile.ZipFile(self)
        self._limits = None
        return archive

    def read(self, size: Optional[int] = -1, /) -> bytes:
        limits = self._limits
        most = LARGEST_DIRECTORY if limits is None else min(LARGEST_DIRECTORY, _most_described(limits))
        if size is not None and size > most:
            raise BadArchive(f"its table of contents is larger than {most} bytes")
        piece = super().read(-1 if size is None else size) or b""
        if limits is not None and piece.startswith(_ZIP_ENTRY) and piece.count(_ZIP_ENTRY) > limits.entries:
            raise _too_many(limits)
        return piece


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


def _tar_file(file: Path, limits: Limits) -> Entries:
    with file.open("rb") as opened:
        yield from _tar(opened, file.stat().st_size, limits)


def _tar(opened: IO[bytes], size: int, limits: Limits) -> Entries:
    """The entries of the tar that begins where the file stands."""
    # "r|" reads forwards only: memory stays flat.
    read: Any = _Tar
    with _decompressed(opened, size) as plain, read.open(fileobj=plain, mode="r|", limits=limits) as archive:
        for info in archive:
            archive.members = []  # what was read is not needed again
            name = _shortened(info.name)
            if info.isdir() and name in (".", ""):
                continue
            yield _tar_entry(info, name), archive.extractfile(info) if info.isreg() else None
        _check_end(archive.fileobj)


def _tar_entry(info: tarfile.TarInfo, name: str) -> Entry:
    if info.isdir():
        return Entry(name, 0, 0o755, is_folder=True)
    if info.issym():
        return Entry(name, 0, 0o777, link=info.linkname)
    if info.islnk():
        return Entry(name, 0, 0, copy_of=_shortened(info.linkname))
    if info.isreg():
        return Entry(name, info.size, stat.S_IMODE(info.mode))
    raise BadArchive(f"{name!r} is neither a file, a folder nor a link")


def _shortened(name: str) -> str:
    return name[2:] if name.startswith("./") else name


class _Headers:
    """What a tar has spent on describing its entries: they are many times smaller packed, and tarfile keeps some."""

    def __init__(self, limits: Limits) -> None:
        self._left = _most_described(limits)
        self._of_one = 0

    def take(self, header: tarfile.TarInfo) -> None:
        """Count a header, and what it is the header of if that describes an entry."""
        is_describing = header.type in _DESCRIBING
        size = tarfile.BLOCKSIZE + header.size * is_describing
        self._left -= size
        self._of_one = self._of_one + size if is_describing else 0
        if header.size < 0 or self._of_one > LONGEST_HEADER:
            raise BadArchive(f"it cannot be read as tar: a header speaks of {header.size} bytes, as no honest one does")
        if self._left < 0:
            raise BadArchive("it cannot be read as tar: its headers are more than its entries need")


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

    def _proc_member(self, archive: Any) -> Any:
        """Every header comes by here, before anything it speaks of is read."""
        archive.headers.take(self)
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        if self.type == tarfile.XGLTYPE:
            return self._pass_over(archive)
        return super()._proc_member(archive)  # type: ignore[misc]

    def _pass_over(self, archive: Any) -> Any:
        """What is said of all entries, such as a comment: tarfile would keep it, and copy it for each."""
        said = archive.fileobj.read(self._block(self.size))  # type: ignore[attr-defined]
        if _OF_ONE.search(said):
            raise BadArchive("it cannot be read as tar: a global header gives all entries a name or size")
        return self.fromtarfile(archive)

    def _refuse_sparse(self, *_: Any) -> None:
        """Their maps have any length, too."""
        raise BadArchive("it has sparse files, which are not supported; repack it without them")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class _Tar(tarfile.TarFile):
    """A tar whose headers have limits."""

    tarinfo = _Header

    def __init__(self, *words: Any, limits: Limits, **more: Any) -> None:
        self.headers = _Headers(limits)
        super().__init__(*words, **more)


def _check_end(rest: Any) -> None:
    """Read on to the very end, where a compressed stream has its checksum. After a tar's own end there are zeros."""
    padding = rest.read(LONGEST_PADDING + 1)
    if len(padding) > LONGEST_PADDING or padding.strip(b"\0"):
        raise BadArchive("it cannot be read as tar: something follows its end")


# --- What a tar is compressed with ------------------------------------------------------------------------------------


def _compression(opened: IO[bytes]) -> str:
    """By the first bytes of what begins where the file stands; the file stands there again afterwards."""
    magic = opened.read(6)
    opened.seek(-len(magic), io.SEEK_CUR)
    return next((name for begin, name in _COMPRESSIONS if magic.startswith(begin)), "")


def _decompressed(opened: IO[bytes], size: int) -> IO[bytes]:
    """Not tarfile's own way: that looks at no checksum of gzip's, and gives xz all the memory it asks for."""
    compression = _compression(opened)
    packed: Any = _Window(opened, size)
    if compression == "":
        return cast("IO[bytes]", packed)
    if compression == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed, mode="rb"))
    if compression == "bzip2":
        return _one_after_the_other(packed, bz2.BZ2Decompressor)
    if compression == "xz":
        return _one_after_the_other(packed, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY))
    if compression == "zstd":
        return zstd.reading(packed)
    raise BadArchive(f"it is compressed with {compression}, which is not supported; repack it with xz")


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


def _one_after_the_other(packed: io.RawIOBase, fresh: Callable[[], Any]) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(_Streams(packed, fresh), PIECE))


class _Streams(io.RawIOBase):
    """What several compressors made, one stream after the other, with zeros between them. Nothing else may follow."""

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
        """False if there is no further stream."""
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


# --- Debian packages ------------------------------------------------------------------------------------------------


def _deb(file: Path, limits: Limits) -> Entries:
    with file.open("rb") as opened:
        yield from _tar(opened, _go_to_data(opened), limits)


def _go_to_data(opened: IO[bytes]) -> int:
    """A Debian package is an ar archive; its files are in the member data.tar.*: go there, and tell its size."""
    if opened.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise BadArchive("it cannot be read as deb: it is no ar archive")
    for member, size in _ar_members(opened):
        if member == "data.tar" or member.startswith("data.tar."):
            return size
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
        self._files: Dict[str, Tuple[int, int]] = {}  # size and mode
        self._links: Set[str] = set()

    def completed(self, entry: Entry) -> Entry:
        """A copy with size and mode of the file it is a copy of: they count as any file's do."""
        if entry.copy_of is None:
            return entry
        if entry.copy_of not in self._files:
            raise BadArchive(f"the hard link {entry.path[:80]!r} is none to a file of the archive that comes before it")
        size, mode = self._files[entry.copy_of]
        return replace(entry, size=size, mode=mode)

    def take(self, entry: Entry) -> None:
        """Put an entry in."""
        self._entries, self._bytes = self._entries + 1, self._bytes + entry.size
        if self._entries > self._limits.entries:
            raise _too_many(self._limits)
        if self._bytes > self._limits.unpacked_bytes:
            raise BadArchive(f"it unpacks to more than {self._limits.unpacked_bytes} bytes")
        self._take_folders(entry)
        if self._is_other(entry.path) or (entry.path in self._folders and not entry.is_folder):
            raise BadArchive(f"{entry.path[:80]!r} is there twice")
        if entry.is_folder:
            self._folders.add(entry.path)
        elif entry.link is not None:
            self._links.add(entry.path)
        else:
            self._files[entry.path] = entry.size, entry.mode

    def _is_other(self, path: str) -> bool:
        return path in self._files or path in self._links

    def _take_folders(self, entry: Entry) -> None:
        for folder in _folders_of(entry.path):
            if self._is_other(folder):
                raise BadArchive(f"{entry.path[:80]!r} lies under something that is not a folder")
            self._folders.add(folder)
        if len(self._folders) > MOST_FOLDERS:
            raise BadArchive(f"there are more than {MOST_FOLDERS} folders")


def _check(entry: Entry, set_uid: Collection[str]) -> None:
    path, parts = entry.path, entry.path.split("/")
    shown = repr(path[:80])
    if not _is_fit(path) or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise BadArchive(f"the path {shown} is not one we unpack")
    if any(part in ("", ".", "..") for part in parts):
        raise BadArchive(f"the path {shown} would leave the tree, or is not written in the shortest way")
    if len(parts) > DEEPEST:
        raise BadArchive(f"the path {shown} is more than {DEEPEST} folders deep")
    if entry.mode & ~(0o6777 if path in set_uid else 0o777):
        raise BadArchive(f"{shown} has set-uid, set-gid or sticky bits that its release does not name")
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
