"""Every change the upgrade makes to the disk: each is one effect, whole or not at all where it can be."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any, Dict, Iterator, Optional

from backfleet_host.upgrader.failpoints import deed

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of fcntl.h and stdio.h


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """A file that is there whole or not at all, and after a power cut too."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with deed("write", partial), open(partial, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            sync_file(file)
        replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):  # shims stand among other people's files: nobody tidies up there
            unlink(partial)
        raise
    sync(path.parent)


def write_json(path: Path, value: Dict[str, Any]) -> None:
    """As `write_whole`."""
    write_whole(path, json.dumps(value, sort_keys=True).encode())


def read_json(path: Path) -> Optional[Dict[str, Any]]:
    """What was written, or None if nothing was, or nothing whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def append(path: Path, line: bytes) -> None:
    """One more line, on disk when this returns. One that could not be written whole is taken away again.

    So is one that a power cut tore before: what follows a tear would be torn with it.
    """
    with deed("append", path), open(path, "ab+", buffering=0) as file:
        before = _end_of_whole_lines(file)
        file.truncate(before)
        try:
            write_all(file, line)
            sync_file(file)
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


def _end_of_whole_lines(file: Any) -> int:
    file.seek(0)
    return int(file.read().rfind(b"\n")) + 1


def write_all(file: Any, piece: bytes) -> None:
    """An unbuffered write may take a part only."""
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


@contextlib.contextmanager
def writing(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """A file that is written piece by piece."""
    with deed("write", path), open(path, mode, buffering=0) as file:
        yield file


def replace(path: Path, by: Path) -> None:
    """Give a file or folder its name, over whatever had it."""
    with deed("rename", by):
        os.replace(path, by)


def exchange(one: Path, other: Path) -> None:
    """Let two folders take each other's name in one step: neither is ever missing. Source: renameat2(2).

    Raises:
        OSError: this machine or its file system cannot.
    """
    import ctypes

    with deed("exchange", other):
        system = ctypes.CDLL(None, use_errno=True)
        if not hasattr(system, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
        names = [os.fsencode(str(path)) for path in (one, other)]
        if system.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def mark(path: Path) -> None:
    """An empty file. It is on disk for good with the next `sync` of its folder."""
    with deed("mark", path):
        path.touch()


def unlink(path: Path) -> None:
    """Remove a file or link, if it is there."""
    if path.is_symlink() or path.exists():
        with deed("unlink", path), contextlib.suppress(FileNotFoundError):
            path.unlink()


def make_folder(path: Path, mode: int = 0o755) -> None:
    """A folder and its parents, if they are not there. Whose umask it is does not matter: others run what is in it."""
    if not path.is_dir():
        with deed("mkdir", path):
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(mode=mode, parents=True, exist_ok=True)
            for folder in made:
                folder.chmod(mode if folder == path else 0o755)


def remove_tree(tree: Path) -> None:
    """Remove a tree, read-only or half-made. What stands there instead of one goes too; a link is not followed."""
    if tree.is_symlink() or not tree.is_dir():
        return unlink(tree)
    with deed("remove", tree):
        for folder, _, _ in os.walk(str(tree)):
            os.chmod(folder, 0o700)
        shutil.rmtree(str(tree))
    return None


def point(link: Path, version: str, *, durable: bool = True) -> None:
    """Make a link to a version's tree, or none for "", in one step: it points here or there, never nowhere."""
    if not version:
        unlink(link)
    elif target_of(link) != version:
        fresh = link.with_name(f".{link.name}.new")
        unlink(fresh)
        with deed("link", fresh):
            fresh.symlink_to(Path("versions") / version)
        replace(fresh, link)
    if durable:
        sync(link.parent)


def target_of(link: Path) -> str:
    """The version a link points to; "" if there is none."""
    return os.path.basename(words_of(link))


def words_of(link: Path) -> str:
    """What a link says, "" if it is none."""
    try:
        return os.readlink(str(link))
    except OSError:
        return ""


def sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with deed("sync", folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: IO[bytes]) -> None:
    """Make what is in a file survive a power cut. That a full disk has no room for it may only be said now."""
    file.flush()
    with deed("sync", file.name):
        os.fsync(file.fileno())
