"""Write files so that they exist completely or not at all, and survive a power cut: one way, on both sides.

A name in a folder survives a power cut only after the folder itself was synced. Everything here returns after that.

- `write_file` replaces a file, `create_file` makes one that is not there yet, `read_or_create` does that and reads it.
- `move_file` gives a finished upload its final name.
- `make_folder` and `sync_folder` do for folders what the others do for files.
- `set_mode` gives a file or folder exactly this mode, whatever the umask was and its folder hands down.
- `hold_lock` takes a lock file, `is_locked` looks whether somebody has it.

Source: fsync(2), rename(2), and "Files are hard" (LWN 457667): write, sync, rename, sync the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import IO, Callable, ContextManager, Iterator, Optional, Union

PARTIAL = ".partial"
"""How the name of a file ends that is still being written. What has such a name may be removed at any time."""

ACLS = ("system.posix_acl_access", "system.posix_acl_default")
"""The extended attributes in which Linux keeps access control lists. Source: acl(5)."""

LOCK_POLL_SECONDS = 0.05  # between two tries to take a lock

Effect = Callable[[str, Path], ContextManager[None]]
"""Entered around each change to the disk, with its kind (write, sync, rename, link, mkdir, unlink) and its path."""


def no_effect(kind: str, path: Path) -> ContextManager[None]:
    """Observe nothing: the default."""
    return contextlib.nullcontext()


def write_file(
    path: Path, content: bytes, mode: int = 0o600, *, is_only_writer: bool = False, effect: Effect = no_effect
) -> None:
    """Replace the file at `path`, or make it. Readers see the old content or the new, never a part.

    Args:
        mode: permission bits of the file, whatever the umask.
        is_only_writer: nobody else writes this file meanwhile. The partial file then has a fixed name, so that what a
            crash left of it is overwritten by the next write instead of staying for ever.
        effect: observes each change, for tests of crashes.

    Raises:
        OSError: the file is what it was and no partial file is left; or only the sync of the folder failed, and a
            power cut may still bring the old content back.
    """
    with _written(path, content, mode, is_only_writer, effect) as partial, effect("rename", path):
        os.replace(partial, path)
    sync_folder(path.parent, effect=effect)


def create_file(path: Path, content: bytes, mode: int = 0o600, *, effect: Effect = no_effect) -> bool:
    """Make the file at `path` unless there is one: of several writers at once exactly one does.

    Returns:
        Whether this call made it. Either way the file survives a power cut from now on.

    Raises:
        OSError: the file could not be made, or a power cut may still take it away. No partial file is left.
    """
    with _written(path, content, mode, False, effect) as partial:
        try:
            with effect("link", path):
                os.link(partial, path)
            is_made = True
        except FileExistsError:
            is_made = False
        with effect("unlink", partial):
            partial.unlink()
    sync_folder(path.parent, effect=effect)  # also for the file of another, who may not have come that far yet
    return is_made


def read_or_create(path: Path, make: Callable[[], bytes], mode: int = 0o600) -> bytes:
    """Return the content of a file that is made once and never changed: all who call this at once get the same.

    Args:
        make: returns the content for a file that is not there. It may be called in vain.

    Raises:
        OSError: the file can neither be read nor made.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        create_file(path, make(), mode)
        return path.read_bytes()
    sync_folder(path.parent)  # whoever made it may have ended before that
    return content


def move_file(source: Path, target: Path, mode: int = 0o600) -> None:
    """Give a finished file its final name, over whatever had it. Both names are on the same file system.

    Raises:
        OSError: `target` is what it was.
    """
    with source.open("rb") as file:
        set_mode(file.fileno(), mode)
        os.fsync(file.fileno())
    os.replace(source, target)
    sync_folder(target.parent)


def make_folder(
    path: Path, mode: int = 0o700, *, parents_mode: Optional[int] = None, effect: Effect = no_effect
) -> None:
    """Make a folder and the parents it lacks. Folders that exist keep their modes.

    Args:
        mode: permission bits of the folder, whatever the umask.
        parents_mode: the same for parents that are made; None leaves them to the umask.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    if path.is_dir():
        return
    missing = [path, *(folder for folder in path.parents if not folder.exists())]
    with effect("mkdir", path):
        for folder in reversed(missing):
            _make_one_folder(folder, mode if folder == path else parents_mode)
    for folder in reversed(missing):
        sync_folder(folder.parent, effect=effect)


def sync_folder(path: Path, *, effect: Effect = no_effect) -> None:
    """Make the names in a folder survive a power cut.

    File systems that cannot sync a folder (some network ones) say EINVAL. There is nothing to be done about that, so
    it is no error. Source: PostgreSQL, `fsync_fname_ext`, does the same.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with effect("sync", path):
            os.fsync(folder)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
    finally:
        os.close(folder)


def set_mode(file: Union[int, Path], mode: int) -> None:
    """Give a file or folder of ours exactly this mode, where its file system has modes.

    An access control list that the folder around it has handed down is removed: with one, the bits mean less. So a
    folder hands down nothing either.
    """
    with contextlib.suppress(OSError):
        for name in set(os.listxattr(file)).intersection(ACLS):
            os.removexattr(file, name)
    with contextlib.suppress(PermissionError):  # ours as it is, FAT refuses: offline keys live on such sticks
        os.chmod(file, mode)


def hold_lock(path: Path, *, seconds: float = 0.0) -> Optional[int]:
    """Take the lock file at `path`.

    Args:
        seconds: how long to wait for it.

    Returns:
        A descriptor that holds the lock until it is closed, or None if another process has it. The lock vanishes with
        its process: none is ever stale.
    """
    until = time.monotonic() + seconds
    held = _try_to_hold(path)
    while held is None and time.monotonic() < until:
        time.sleep(LOCK_POLL_SECONDS)
        held = _try_to_hold(path)
    return held


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock file at `path`. Writes nothing, so that it works on a read-only disk."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(file)


@contextlib.contextmanager
def _written(path: Path, content: bytes, mode: int, is_only_writer: bool, effect: Effect) -> Iterator[Path]:
    """Give the path of a synced partial file with this content; remove it if the block fails."""
    middle = (
        "" if is_only_writer else f".{os.urandom(4).hex()}"
    )  # not by `secrets`, which costs a task's process milliseconds
    partial = path.with_name(f".{path.name}{middle}{PARTIAL}")
    try:
        with effect("write", partial), _open_fresh(partial, is_only_writer) as file:
            set_mode(file.fileno(), mode)
            file.write(content)
            file.flush()
            with effect("sync", partial):
                os.fsync(file.fileno())
        yield partial
    except OSError:
        with contextlib.suppress(OSError), effect("unlink", partial):
            partial.unlink()
        raise


def _open_fresh(partial: Path, may_exist: bool) -> IO[bytes]:
    """Open a file that only this process can read so far. A link that somebody put there is not followed."""
    if may_exist:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    return os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _make_one_folder(path: Path, mode: Optional[int]) -> None:
    try:
        path.mkdir(0o777 if mode is None else 0o700)
    except FileExistsError:
        if not path.is_dir():  # else another process was quicker
            raise
    else:
        if mode is not None:
            set_mode(path, mode)


def _try_to_hold(path: Path) -> Optional[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    return file
