"""Trees of versions: unpack one, check that it is intact."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import IO, Any, Dict, Iterator, Mapping, Optional

from backfleet_host.archives import BadArchive, Entry, walk
from backfleet_host.files import set_mode
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.failpoints import effect

PIECE = 1 << 20  # bytes read at a time


def unpack(artifact: Path, manifest: Manifest, partial: Path, form: str = "") -> Dict[str, Any]:
    """Unpack an artifact into a new folder and sync it.

    Args:
        artifact: the file.
        manifest: the release.
        partial: the folder.
        form: the format of the file, if it is another one than the release's.

    Returns:
        For each file its size, SHA-256 and mode, for each link its target, by path in the tree.

    Raises:
        OrderFailed: UntrustedRelease, the archive is broken, hostile or not what its description says.
        OSError: the disk is full, or cannot be written.
    """
    files: Dict[str, Any] = {}
    with effect("mkdir", partial):
        partial.mkdir(mode=0o700)  # nobody else may read a file before it has its mode
        set_mode(partial, 0o700)  # and what is made below inherits no access control list
    try:
        for entry, stream in walk(
            artifact, form or manifest.format, manifest.limits, manifest.package, manifest.set_uid
        ):
            path = partial / entry.path
            disk.make_folder(path if entry.is_folder else path.parent)
            if entry.link is not None:
                with effect("link", path):
                    path.symlink_to(entry.link)
                files[entry.path] = {"link": entry.link}
            elif not entry.is_folder:
                files[entry.path] = {**_write_entry(partial, entry, stream), "size": entry.size}
    except BadArchive as problem:
        raise OrderFailed("UntrustedRelease", f"the artifact is refused: {problem}", "BadArchive") from None
    _make_read_only(partial)
    return files


def copy_program(program: Path, name: str, partial: Path) -> Dict[str, Any]:
    """Make a new tree with a copy of one program, as `bin/<name>`, and sync it; return its files as `unpack` does."""
    with effect("mkdir", partial):
        partial.mkdir(mode=0o700)
        set_mode(partial, 0o700)
    disk.make_folder(partial / "bin")
    with open(program, "rb", buffering=0) as source:
        found = os.fstat(source.fileno())
        written = _write(partial / "bin" / name, source, stat.S_IMODE(found.st_mode))
    _make_read_only(partial)
    return {f"bin/{name}": {**written, "size": found.st_size}}


def first_difference(tree: Path, files: Dict[str, Any]) -> str:
    """Return the first file that is not as it was unpacked; "" if the tree is intact.

    Args:
        files: what `unpack` returned.
    """
    return next(differences(tree, files), "")


def differences(tree: Path, files: Mapping[str, Any]) -> Iterator[str]:
    """Yield every file that is not as it was unpacked. As `first_difference`."""
    for name, known in files.items():
        path = tree / name
        if "link" in known:
            if not path.is_symlink() or os.readlink(str(path)) != known["link"]:
                yield name
        elif not _is_file_of(path, known["size"]) or _sha256(path) != known["sha256"]:
            yield name


def _is_file_of(path: Path, size: int) -> bool:
    return not path.is_symlink() and path.is_file() and path.stat().st_size == size


def mode_in_tree(packed: int, owner: int, group: int) -> int:
    """Return the mode of a file in a tree: as it was packed, but nobody may write it, and its owner may read it.

    Set-uid and set-gid are meant to lend root's rights. On a file that is owned by another user, because another user
    unpacked it, they would lend that user's rights, and are dropped.

    Args:
        packed: the mode in the archive, with set-uid and set-gid only where the release names the file.
        owner: the user id that the unpacked file has.
        group: the group id that the unpacked file has.
    """
    lent = (0 if owner else stat.S_ISUID) | (0 if group else stat.S_ISGID)
    return packed & (0o555 | lent) | 0o400


def _write_entry(tree: Path, entry: Entry, stream: Optional[IO[bytes]]) -> Dict[str, Any]:
    """Write the file of an entry; return its SHA-256 and mode. The original of a copy is in the tree already."""
    if entry.copy_of is None:
        return _write(tree / entry.path, stream, entry.mode)
    with open(tree / entry.copy_of, "rb", buffering=0) as source:
        return _write(tree / entry.path, source, entry.mode)


def _write(path: Path, stream: Any, mode: int) -> Dict[str, Any]:
    digest = hashlib.sha256()
    with disk.open_for_writing(path, "xb") as file:
        while True:
            piece = stream.read(PIECE)
            if not piece:
                break
            digest.update(piece)
            disk.write_all(file, piece)
        found = os.fstat(file.fileno())
        mode = mode_in_tree(mode, found.st_uid, found.st_gid)
        os.fchmod(file.fileno(), mode)
        disk.sync_file(file)
    return {"sha256": digest.hexdigest(), "mode": mode}


def _make_read_only(tree: Path) -> None:
    for folder, _, _ in os.walk(str(tree), topdown=False):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with effect("finish", folder):
                os.fchmod(descriptor, 0o755)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sha256(path: Path) -> Optional[str]:
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while True:
                piece = file.read(PIECE)
                if not piece:
                    return digest.hexdigest()
                digest.update(piece)
    except OSError:
        return None
