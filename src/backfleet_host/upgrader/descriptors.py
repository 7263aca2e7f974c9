"""Reach files that belong to other users by the descriptors of their folders, so that nobody can lead us elsewhere.

Between the check of a path and its use, whoever owns a folder in it may rename a sub-folder and put a link to /etc in
its place. So every step here opens one name in a folder that is open already, and no step follows a link, except for
one that only root or we ourselves can have put there, and one of a user to what is his own.

- `parent_of` and `folder_at` open a folder by its path, `walk` yields what is below a path, parents first.
- `remove` and `move` work on one entry of an open folder, whose attributes attributes.py reads and sets.

Source: openat(2), "Rationale for openat()".
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import IO, Iterator, List, NamedTuple, Optional, Tuple, Union

from backfleet_host.upgrader import attributes, progress

PIECE = 1 << 20  # bytes copied at a time
MOST_LINKS = 40  # of one path, as the kernel allows
DEEPEST = 200  # folders below each other: each costs a descriptor
REMOVAL_TRIES = 5  # of a folder that somebody fills while it is emptied

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IS_LINK = (errno.ELOOP, errno.ENOTDIR)

MEDDLING = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY)
"""What a step fails with if somebody changes the folder at the same time."""


class Entry(NamedTuple):
    """One entry below a path that is walked: valid until the next one is asked for."""

    path: str
    parent: int  # descriptor of the folder that holds it
    name: str
    folder: Optional[int]  # its own descriptor, if it is a folder


class At(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: str


# --- Reaching a path ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def folder_at(path: str, *, make: bool = False) -> Iterator[int]:
    """Open the folder with this absolute path, to pass its descriptor on; it cannot be listed.

    Args:
        make: make the folders that are missing.

    Raises:
        OSError: ELOOP or ENOTDIR, a step is no folder, or a link of somebody who is neither root nor us; ENOENT.
    """
    progress.reached(path)
    descriptor = _open_steps(path, make, MOST_LINKS)[0]
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def parent_of(path: str, *, make: bool = False) -> Iterator[At]:
    """Open the folder that holds the entry with this absolute path. As `folder_at`."""
    parent, _, name = path.rpartition("/")
    with folder_at(parent or "/", make=make) as descriptor:
        progress.reached(path)
        yield At(descriptor, name)


def target_of(path: str) -> str:
    """Return the real path of what a link at this path leads to; "" if it is no link, or leads nowhere.

    Raises:
        OSError: ELOOP, the link may not be followed.
    """
    try:
        with parent_of(path) as at:
            link = _stat(at)
            if not stat.S_ISLNK(link.st_mode):
                return ""
            target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(at.name, dir_fd=at.folder)))
            parent, _, name = target.rpartition("/")
            descriptor, real = _open_steps(parent or "/", False, MOST_LINKS)
            try:
                found = _stat(At(descriptor, name))
                _check_may_follow(at, link, found, path)
            finally:
                os.close(descriptor)
            return os.path.join(real, name)
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _open_steps(path: str, make: bool, links: int) -> Tuple[int, str]:
    """Open a folder step by step from the root; return its descriptor and its path without links."""
    here, done = os.open("/", _STEP), "/"
    for step in filter(None, path.split("/")):
        try:
            following = _open_step(At(here, step), done, make, links)
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, os.path.join(done, step)) from None
        finally:
            os.close(here)
        here, done = following
    return here, done


def _open_step(at: At, done: str, make: bool, links: int) -> Tuple[int, str]:
    """Open one folder in an open one, whose path without links is `done`."""
    for is_last in (not make, True):
        try:
            return os.open(at.name, _STEP, dir_fd=at.folder), os.path.join(done, at.name)
        except FileNotFoundError:
            if is_last:
                raise
            os.mkdir(at.name, 0o755, dir_fd=at.folder)
        except NotADirectoryError:
            return _follow(at, done, links)
    raise AssertionError  # the second try returns or raises


def _follow(at: At, done: str, links: int) -> Tuple[int, str]:
    link = _stat(at)
    if not stat.S_ISLNK(link.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not links:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    target = os.path.normpath(os.path.join(done, os.readlink(at.name, dir_fd=at.folder)))
    descriptor, real = _open_steps(target, False, links - 1)
    try:
        _check_may_follow(at, link, os.fstat(descriptor), os.path.join(done, at.name))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, real


def _check_may_follow(at: At, link: os.stat_result, target: os.stat_result, path: str) -> None:
    """Check that nobody gains by a link.

    Either only root or we can have put it there; or its owner, in a folder of his own, leads to what is his, too.

    Raises:
        OSError: ELOOP, anything else.
    """
    folder, ours = os.fstat(at.folder), (0, os.geteuid())
    others_may_write = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    is_ours = link.st_uid in ours and folder.st_uid in ours and not others_may_write
    if not is_ours and (link.st_uid in ours or not link.st_uid == folder.st_uid == target.st_uid):
        raise OSError(errno.ELOOP, "a link of another user, which is not followed", path)


# --- What is below a path -------------------------------------------------------------------------------------------


def walk(path: str) -> Iterator[Entry]:
    """Yield the entry at a path and everything below it, parents first. No link is followed.

    Raises:
        OSError: a folder cannot be read, or the folders are too deep.
    """
    with contextlib.ExitStack() as opened:
        try:
            at = opened.enter_context(parent_of(path))
        except OSError as problem:
            if problem.errno in MEDDLING:
                return
            raise
        yield from _walk(at, path, 0)


def _walk(at: At, path: str, depth: int) -> Iterator[Entry]:
    if depth > DEEPEST:
        raise OSError(errno.ENAMETOOLONG, f"more than {DEEPEST} folders below each other", path)
    progress.reached(path)
    folder = open_folder(at)
    if folder is None:
        if exists(at):
            yield Entry(path, at.folder, at.name, None)
        return
    try:
        yield Entry(path, at.folder, at.name, folder)
        for name in names_in(folder):
            yield from _walk(At(folder, name), f"{path}/{name}", depth + 1)
    finally:
        os.close(folder)


def names_in(folder: int) -> List[str]:
    """Return the sorted names in an open folder; none if we may not read it."""
    try:
        return sorted(os.listdir(folder))
    except OSError as problem:
        if problem.errno in (errno.EACCES, errno.EBADF):  # EBADF: it was opened for its attributes only
            return []
        raise


def exists(at: At) -> bool:
    """Return whether there is an entry with this name, whatever it is."""
    try:
        _stat(at)
    except FileNotFoundError:
        return False
    return True


def open_folder(at: At) -> Optional[int]:
    """Open a folder; return None if there is none, or something else has its name."""
    try:
        return os.open(at.name, _FOLDER, dir_fd=at.folder)
    except PermissionError:
        return os.open(at.name, _STEP, dir_fd=at.folder)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, *_IS_LINK):
            return None
        raise


def open_file(at: At) -> Optional[IO[bytes]]:
    """Open a plain file to read it; return None if there is none, or something else has its name."""
    if not _is_plain(at):
        return None  # not opened at all: opening some devices has effects
    try:
        descriptor = os.open(at.name, _FILE, dir_fd=at.folder)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENXIO, *_IS_LINK):
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb", buffering=0)
    os.close(descriptor)
    return None


def open_new_file(at: At) -> IO[bytes]:
    """Make a file that only we can read yet, and open it. Raises FileExistsError if anything has its name."""
    return open(os.open(at.name, _NEW_FILE, 0o600, dir_fd=at.folder), "wb")


@contextlib.contextmanager
def opened_itself(at: At) -> Iterator[Union[int, str, None]]:
    """Yield what stands for this very entry, whatever gets its name meanwhile; None if there is none.

    It may be a link or a socket: nothing is opened but its attributes. Where there is no /proc, these can be read only.
    """
    try:
        descriptor = os.open(at.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.folder)
    except FileNotFoundError:
        yield None
        return
    try:
        path = f"/proc/self/fd/{descriptor}"
        yield path if os.path.lexists(path) else descriptor
    finally:
        os.close(descriptor)


def target_of_opened(link: Union[int, str]) -> str:
    """Return the target of a link that `opened_itself` has opened."""
    descriptor = link if isinstance(link, int) else int(os.path.basename(link))
    return os.readlink("", dir_fd=descriptor)


def sync(folder: int) -> None:
    """Make the names in an open folder survive a power cut, where its file system can."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno != errno.EINVAL:  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


def _stat(at: At) -> os.stat_result:
    return os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)


def _is_plain(at: At) -> bool:
    try:
        return stat.S_ISREG(_stat(at).st_mode)
    except FileNotFoundError:
        return False


# --- Changing it ----------------------------------------------------------------------------------------------------


def remove(at: At, *, unlock: bool = False, depth: int = 0) -> None:
    """Remove an entry and everything below it, if it is there. A link is removed itself.

    Args:
        unlock: make folders writable first, which are ours and read-only.
        depth: how many folders are open above it.

    Raises:
        OSError: it cannot be removed, or somebody fills it again and again.
    """
    for _ in range(REMOVAL_TRIES):
        try:
            return _remove_once(at, unlock, depth)
        except OSError as problem:
            if problem.errno not in MEDDLING:
                raise
            failure = problem
    raise failure


def _remove_once(at: At, unlock: bool, depth: int) -> None:
    folder = open_folder(at)
    if folder is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(at.name, dir_fd=at.folder)
        return
    try:
        if depth > DEEPEST:
            raise OSError(errno.ENAMETOOLONG, f"more than {DEEPEST} folders below each other", at.name)
        if unlock and os.fstat(folder).st_mode & 0o700 != 0o700:
            os.fchmod(folder, 0o700)
        for name in os.listdir(folder):
            progress.reached()
            remove(At(folder, name), unlock=unlock, depth=depth + 1)
    finally:
        os.close(folder)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(at.name, dir_fd=at.folder)


def move(at: At, target: At) -> None:
    """Move an entry to a folder that only we can write, on whatever file system that is.

    Raises:
        OSError: it cannot be moved; a part of it may be at the target too.
    """
    try:
        os.rename(at.name, target.name, src_dir_fd=at.folder, dst_dir_fd=target.folder)
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
        copy(at, target)
        remove(at)


def copy(at: At, target: At, depth: int = 0) -> None:
    """Copy an entry with everything below it. Sockets, pipes and devices have no content to copy."""
    folder = open_folder(at) if depth <= DEEPEST else None
    if folder is not None:
        try:
            os.mkdir(target.name, 0o700, dir_fd=target.folder)
            copied = os.open(target.name, _FOLDER, dir_fd=target.folder)
            try:
                for name in names_in(folder):
                    copy(At(folder, name), At(copied, name), depth + 1)
                attributes.set_attributes(copied, attributes.attributes_of(folder))
            finally:
                os.close(copied)
        finally:
            os.close(folder)
        return
    file = open_file(at)
    if file is not None:
        with file, open_new_file(target) as copied_file:
            for piece in iter(lambda: file.read(PIECE), b""):
                progress.reached()
                copied_file.write(piece)
            copied_file.flush()
            attributes.set_attributes(copied_file.fileno(), attributes.attributes_of(file.fileno()))
            state = os.fstat(file.fileno())
            os.utime(copied_file.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))
            os.fsync(copied_file.fileno())
        return
    with contextlib.suppress(OSError):  # it is no link
        os.symlink(os.readlink(at.name, dir_fd=at.folder), target.name, dir_fd=target.folder)
