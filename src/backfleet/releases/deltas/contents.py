"""What a delta begins from and what it makes: the contents of an artifact, in the forms that hosts know."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from backfleet_host.archives import Entry, walk
from backfleet_host.deltas import in_base_order
from backfleet_host.manifest import Manifest

PIECE = 1 << 20  # bytes read at a time


def base_of(artifact: Path, manifest: Manifest) -> bytes:
    """Return the contents of all files, one after the other by their paths: a host has them on disk.

    Raises:
        BadArchive, OSError: as `archives.walk`.
    """
    found: dict[str, bytes] = {}
    for entry, stream in _walk(artifact, manifest.format, manifest):
        if entry.copy_of is not None:
            found[entry.path] = found[entry.copy_of]
        elif stream is not None:
            found[entry.path] = b"".join(_pieces(stream))
    return b"".join(found[path] for path in in_base_order(found))


def result_of(artifact: Path, manifest: Manifest) -> bytes:
    """Return an uncompressed tar of what an artifact holds: a host unpacks both to the same tree.

    Raises:
        BadArchive, OSError: as `archives.walk`.
    """
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry, stream in _walk(artifact, manifest.format, manifest):
            info = _header(entry)
            archive.addfile(info, None if stream is None else _Whole(stream))  # type: ignore[arg-type]
    return held.getvalue()


def unpack_to_the_same(artifact: Path, result: Path, manifest: Manifest) -> bool:
    """Return whether the tar holds exactly what the artifact does, in the same order, as a host reads both."""
    return list(_known(artifact, manifest.format, manifest)) == list(_known(result, "tar", manifest))


def _known(file: Path, form: str, manifest: Manifest) -> Iterator[tuple[Entry, str]]:
    for entry, stream in _walk(file, form, manifest):
        digest = hashlib.sha256()
        for piece in _pieces(stream) if stream is not None else ():
            digest.update(piece)
        yield replace(entry, mode=0 if entry.link is not None else entry.mode), digest.hexdigest()


def _walk(file: Path, form: str, manifest: Manifest) -> Any:
    return walk(file, form, manifest.limits, manifest.package, manifest.set_uid)


def _header(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.mode = entry.mode
    if entry.is_folder:
        info.type = tarfile.DIRTYPE
    elif entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    elif entry.copy_of is not None:
        info.type, info.linkname = tarfile.LNKTYPE, entry.copy_of
    else:
        info.size = entry.size
    return info


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


class _Whole:
    """A stream whose `read` returns all that is asked for, as tarfile expects of a file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or up to the end."""
        found: list[bytes] = []
        while size and (piece := self._stream.read(size)):
            found.append(piece)
            size -= len(piece)
        return b"".join(found)
