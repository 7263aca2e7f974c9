"""Walk through an artifact of any format."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Collection, Tuple, cast

from backfleet_host import zstd
from backfleet_host.archives.compression import compression_at, decompressed
from backfleet_host.archives.deb import go_to_data, read_control, read_deb
from backfleet_host.archives.model import FORMATS, BadArchive, Entries, Entry, Limits
from backfleet_host.archives.reading import ExactStream, as_bad_archive
from backfleet_host.archives.tar import begins_with_tar, read_tar_file
from backfleet_host.archives.tree import Tree, check_entry
from backfleet_host.archives.zip import read_zip

__all__ = ["begins_with_tar", "can_read_zstd", "compression_of", "control_of", "head_of", "walk"]

LONGEST_CONTROL = 64 << 10  # bytes


def can_read_zstd() -> bool:
    """Return whether this machine reads zstd. Every machine reads everything else."""
    return zstd.can_read()


def walk(file: Path, form: str, limits: Limits, name: str = "", set_uid: Collection[str] = ()) -> Entries:
    """Give every entry in order, with a stream for each file that is no copy of another.

    Args:
        form: one of FORMATS.
        name: the name of a plain binary in the tree.
        set_uid: the paths of files that may have the set-uid and set-gid bits.

    Raises:
        BadArchive: it is broken, hostile, or larger than the limits; also from a stream that is read.
        OSError: the file itself cannot be read.
    """
    if form not in FORMATS:
        raise BadArchive(f"{form!r} is not one of {', '.join(FORMATS)}")
    tree = Tree(limits)
    with as_bad_archive(form):
        for announced, stream in _entries(file, form, limits, name):
            entry = tree.completed(announced)
            check_entry(entry, set_uid)
            tree.take(entry)
            yield entry, None if stream is None else cast("IO[bytes]", ExactStream(stream, entry, form))


def compression_of(file: Path, form: str) -> str:
    """Return what the tar in an artifact is compressed with, as `zstd`; "" if it is not, or if there is no tar.

    Raises:
        BadArchive, OSError: as `walk`.
    """
    if form not in ("tar", "deb"):
        return ""
    with as_bad_archive(form), file.open("rb") as opened:
        if form == "deb":
            go_to_data(opened)
        return compression_at(opened)


def head_of(file: Path, size: int) -> Tuple[str, bytes]:
    """Return what a file is compressed with, "" for nothing, and the first bytes of what is in it.

    Raises:
        BadArchive, OSError: as `walk`.
    """
    with as_bad_archive("tar"), file.open("rb") as opened:
        compression, head = compression_at(opened), b""
        with decompressed(opened, file.stat().st_size) as plain:
            while len(head) < size and (piece := plain.read(size - len(head))):
                head += piece
    return compression, head


def control_of(file: Path) -> bytes:
    """Return what a Debian package declares about itself: the beginning of its file `control`.

    Raises:
        BadArchive, OSError: as `walk`.
    """
    with as_bad_archive("deb"):
        return read_control(file, Limits(), LONGEST_CONTROL)


def _entries(file: Path, form: str, limits: Limits, name: str) -> Entries:
    if form in ("wheel", "zip"):
        return read_zip(file, limits, is_wheel=form == "wheel")
    if form == "tar":
        return read_tar_file(file, limits)
    if form == "deb":
        return read_deb(file, limits)
    return _binary(file, name)


def _binary(file: Path, name: str) -> Entries:
    with file.open("rb") as opened:
        yield Entry(name, file.stat().st_size, 0o755), opened
