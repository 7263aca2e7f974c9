"""Every change that an upgrade makes to the disk. Each is one effect, atomic where the system allows it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import IO, Any, Dict, Iterator, Optional, Sequence

from backfleet_host import files
from backfleet_host.layout import version_folder, version_in_folder
from backfleet_host.upgrader import descriptors
from backfleet_host.upgrader.failpoints import effect

NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT)
"""How a file system says that it makes no files without a name. Source: open(2), O_TMPFILE."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of fcntl.h and stdio.h


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file, as `files.write_file`. The caller holds the lock of the package: nobody else writes it."""
    files.write_file(path, content, mode, is_only_writer=True, effect=effect)


def write_json(path: Path, value: Dict[str, Any]) -> None:
    """Replace a file with this object as JSON."""
    write_file(path, json.dumps(value, sort_keys=True).encode())


def read_json(path: Path) -> Optional[Dict[str, Any]]:
    """Return the JSON object in a file; None if there is no file, or no complete object in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def append_line(path: Path, line: bytes) -> None:
    """Append a line and sync it. A line that could not be written completely is removed again.

    So is a line that a power cut tore before: otherwise what follows would be torn with it.
    """
    with effect("append", path), open(path, "ab+", buffering=0, opener=_for_others_to_read) as file:
        before = _end_of_complete_lines(file)
        file.truncate(before)
        try:
            write_all(file, line)
            sync_file(file)
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


def _for_others_to_read(path: str, flags: int) -> int:
    """Open a file that only we may write, whatever the umask."""
    return os.open(path, flags, 0o644)


def _end_of_complete_lines(file: Any) -> int:
    file.seek(0)
    return int(file.read().rfind(b"\n")) + 1


def write_all(file: Any, piece: bytes) -> None:
    """Write all of a piece to an unbuffered file, which may take only a part at a time."""
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


@contextlib.contextmanager
def open_for_writing(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """Open an unbuffered file that is written piece by piece: one effect from open to close."""
    with effect("write", path), open(path, mode, buffering=0, opener=_for_others_to_read) as file:
        yield file


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder, over whatever had the new name. Durable with the next sync of the folder."""
    with effect("rename", target):
        os.replace(source, target)


def exchange(one: Path, other: Path) -> None:
    """Let two folders take each other's name in one step: neither is ever missing. Source: renameat2(2).

    Raises:
        OSError: this machine or its file system cannot do that.
    """
    import ctypes

    with effect("exchange", other):
        system = ctypes.CDLL(None, use_errno=True)
        if not hasattr(system, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
        names = [os.fsencode(str(path)) for path in (one, other)]
        if system.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def replace_content(source: Path, tree: Path) -> None:
    """Move what is in one folder into another, entry by entry, each in one step; remove what only the other one has.

    The second way where `exchange` is impossible: on an overlay with the folder in a lower layer, on network file
    systems, on old kernels. Source: renameat2(2), EXDEV, EINVAL and ENOSYS.
    """
    for name in set(os.listdir(str(tree))) - set(os.listdir(str(source))):
        remove_tree(tree / name)
    for path in sorted(source.iterdir()):
        target = tree / path.name
        is_folder, was_folder = (found.is_dir() and not found.is_symlink() for found in (path, target))
        if is_folder and was_folder:
            replace_content(path, target)
            continue
        if is_folder or was_folder:
            remove_tree(target)
        rename(path, target)
    sync_folder(tree)


def check_writable(folder: Path, size: int) -> None:
    """Check that a file of so many bytes can be made in a folder, which may have to be made itself. Leaves nothing.

    Raises:
        OSError: it cannot; the folder is its file name.
    """
    while not folder.is_dir():
        folder = folder.parent
    with effect("try", folder):
        try:
            file = os.open(str(folder), os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            if problem.errno not in NO_UNNAMED_FILES or not os.access(str(folder), os.W_OK | os.X_OK):
                raise
            return
        try:
            os.write(file, b"\0" * size)
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, str(folder)) from None
        finally:
            os.close(file)


def make_marker(path: Path) -> None:
    """Make an empty file. Durable with the next sync of its folder."""
    with effect("mark", path):
        path.touch(0o644)


def make_empty_files(paths: Sequence[Path]) -> None:
    """Make empty files in one folder: one effect. Durable with the next sync of the folder."""
    with effect("reserve", paths[0]):
        for path in paths:
            path.touch(0o644)


def remove_files(paths: Sequence[Path]) -> None:
    """Remove those of these files that are there: one effect."""
    found = [path for path in paths if os.path.lexists(str(path))]
    if found:
        with effect("remove", found[0]):
            for path in found:
                path.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a file or link, if it is there."""
    if path.is_symlink() or path.exists():
        with effect("unlink", path), contextlib.suppress(FileNotFoundError):
            path.unlink()


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and its missing parents with these modes, whatever the umask: other users run what is in them."""
    if not path.is_dir():
        with effect("mkdir", path):
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
            for folder in reversed(made):
                folder.mkdir(mode=0o700, exist_ok=True)  # another order may be making it, too; it has no mode yet
                files.set_mode(folder, mode if folder == path else 0o755)


def remove_tree(tree: Path) -> None:
    """Remove a tree, read-only or half-made. A file or link that has its name is removed too, and not followed."""
    if tree.is_symlink() or not tree.is_dir():
        return remove_file(tree)
    parent = os.open(tree.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with effect("remove", tree):
            descriptors.remove(descriptors.At(parent, tree.name), unlock=True)
    finally:
        os.close(parent)
    return None


def point_link(link: Path, version: str, *, durable: bool = True) -> None:
    """Point a link to the tree of a version in one step: it has the old target or the new one, never none.

    Args:
        version: "" removes the link.
        durable: sync the folder too. Without it the next sync of the folder does.
    """
    if not version:
        remove_file(link)
    elif version_of_link(link) != version:
        fresh = link.with_name(f".{link.name}.new")
        remove_file(fresh)
        with effect("link", fresh):
            fresh.symlink_to(Path("versions") / version_folder(version))
        rename(fresh, link)
    if durable:
        sync_folder(link.parent)


def version_of_link(link: Path) -> str:
    """Return the version whose folder a link points to; "" if there is no link, or it leads elsewhere."""
    return version_in_folder(os.path.basename(target_of_link(link)))


def target_of_link(link: Path) -> str:
    """Return the target of a link as it is written; "" if there is no link."""
    try:
        return os.readlink(str(link))
    except OSError:
        return ""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    files.sync_folder(folder, effect=effect)


def sync_file(file: IO[bytes]) -> None:
    """Make the content of a file survive a power cut. A full disk may only be reported here."""
    file.flush()
    with effect("sync", file.name):
        os.fsync(file.fileno())
