"""Preserved state: files that must survive an upgrade. Copied before the switch, compared after it, restored by a
rollback.

Of each entry the kind, mode, owner, extended attributes and content are preserved. A snapshot is complete once its
index is there. One that a crash cut off has none: it is made anew, and never restored.

The state may be in folders of other users, who may change them at the same time to lead root elsewhere. So it is
reached by descriptors only (descriptors.py), and what belongs together is read from one open file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from backfleet_host.files import PARTIAL
from backfleet_host.release_rules import is_system_path
from backfleet_host.upgrader import attributes, descriptors, disk, progress
from backfleet_host.upgrader.descriptors import At, Entry
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.failpoints import effect

MOST_BYTES = 256 << 20  # of all files together: they are copied while the gate is closed
MOST_ENTRIES = 20_000
INDEX = "index.json"
PIECE = 1 << 20  # bytes copied at a time
COPY_TRIES = 3  # of a file that changes while it is copied
LONGEST_NAME = 255  # bytes: what Linux allows
LEAST_PARTS = 3  # of a path that may be removed, the root counted: /etc/client
SHARED = ("/usr", "/var", "/home", "/run", "/proc", "/sys", "/dev", "/boot", "/snap")
"""Below these a folder of the second level, such as /var/lib or a home folder, does not belong to one client either."""


def reach(paths: Iterable[str]) -> None:
    """Reach everything under these paths. Raises as `snapshot`, where it cannot."""
    for _ in _walk(paths, must_reach=True):
        pass


def snapshot(paths: Iterable[str], folder: Path) -> None:
    """Copy all state under these paths into `folder`.

    Raises:
        OrderFailed: DiskFull, it is larger than what can be copied while backups wait; InternalError, it is behind
            a link of another user; HostBusy, it changes all the time.
        OSError: it cannot be read, or the copy cannot be written.
    """
    disk.remove_tree(folder)
    disk.make_folder(folder, 0o700)
    entries: Dict[str, Any] = {}
    found: Dict[str, Any] = {}
    bytes_left = MOST_BYTES
    paths = list(paths)
    for entry in _walk(paths, must_reach=True):
        known, more = _copied(entry, folder)
        if not known:
            continue  # it was removed meanwhile
        bytes_left -= known.get("size", 0)
        if bytes_left < 0 or len(entries) >= MOST_ENTRIES:
            text = f"the state to preserve is more than {MOST_BYTES >> 20} MiB or {MOST_ENTRIES} entries"
            raise OrderFailed("DiskFull", f"{text}; list less of it under `keeps`")
        entries[entry.path], found[entry.path] = known, more
    disk.write_json(folder / INDEX, {"paths": paths, "entries": entries, "found": found})


def _copied(entry: Entry, folder: Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Copy the content of an entry into `folder`.

    Returns:
        Its description, and what a restored entry is not compared by: the number and the time of what was found.

    Raises:
        OrderFailed: HostBusy, it changed during every try.
    """
    at = At(entry.parent, entry.name)
    for _ in range(COPY_TRIES):
        with _opened(at, entry.folder) as (what, file):
            if what is None:
                return {}, {}
            known, found = _described(what, file), os.stat(what)
            more = {"inode": found.st_ino, "mtime": found.st_mtime_ns}
            if file is None or known["size"] > MOST_BYTES or _copy(file, folder, known):
                return known, more
    raise OrderFailed("HostBusy", f"{entry.path}, state to preserve, changes all the time; stop what writes into it")


def first_change(folder: Path, check_time: Callable[[], None] = lambda: None) -> str:
    """Return how the first entry of a snapshot differs now; "" if none does. New entries are allowed.

    Args:
        check_time: called before each entry is read; what it raises ends the comparison.
    """
    for name, known in _index(folder)[1].items():
        check_time()
        now = describe(Path(name))
        for what, value in known.items():
            if now.get(what) != value:
                return f"{name}: " + (f"its {what} changed" if now else "it is gone")
    return ""


def remove(paths: Iterable[str]) -> str:
    """Remove the state under these paths for good.

    A path that is a part of the system, such as `/etc`, is refused, even if it is signed.

    Returns:
        What could not be removed and why; "" if all is gone.
    """
    for name in paths:
        path = Path(name)
        is_shared = len(path.parts) < LEAST_PARTS + name.startswith(SHARED)
        if not path.is_absolute() or ".." in path.parts or is_shared or is_system_path(name):
            return f"{name} does not belong to one client alone"
        try:
            with effect("state removed", path), descriptors.parent_of(name) as at:
                descriptors.remove(at)
        except FileNotFoundError:
            continue
        except OSError as problem:
            return f"{problem.filename or name}: {problem.strerror}"
    return ""


def restore(folder: Path, evidence: Path) -> None:
    """Make all entries of a snapshot what they were. What was added since is moved to `evidence`, not deleted.

    Where somebody changes the folders at the same time, all the rest is restored first.

    Raises:
        OSError: it cannot be written, or somebody changes it all the time.
    """
    paths, entries, found = _index(folder)
    aside = _Aside(_unused(evidence))
    for path in [entry.path for entry in _walk(paths) if entry.path not in entries]:
        aside.move(path)
    meddled: List[OSError] = []
    for name, known in entries.items():
        with _tolerating_meddling(meddled):
            if describe(Path(name)) != known:
                _restore_entry(name, known, found.get(name, {}), folder, aside)
    # Folders last: restoring what is in them may have changed their own attributes.
    for name, known in reversed(list(entries.items())):
        if known["kind"] == "folder":
            with _tolerating_meddling(meddled):
                _dress_folder(name, known, found.get(name, {}))
    if meddled:
        raise meddled[0]


@contextlib.contextmanager
def _tolerating_meddling(noted: List[OSError]) -> Iterator[None]:
    """Note an error that comes of somebody who changes the folders at the same time, instead of raising it."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in descriptors.MEDDLING:
            raise
        noted.append(problem)


def describe(path: Path) -> Dict[str, Any]:
    """Return kind, mode, owner, extended attributes and hash or target of an entry; {} if it does not exist.

    An entry that can only be reached through another user's link does not exist.
    """
    try:
        with descriptors.parent_of(str(path)) as at, _opened(at) as (what, file):
            return {} if what is None else _described(what, file)
    except OSError:
        return {}


@contextlib.contextmanager
def _opened(at: At, folder: Optional[int] = None) -> Iterator[Tuple[Any, Optional[IO[bytes]]]]:
    """Open an entry, so that everything that is learnt of it is of the same one.

    Yields:
        What stands for it (a descriptor, or the path of one), None if there is none; and the file, if it is one.
    """
    with contextlib.ExitStack() as opened:
        file = descriptors.open_file(at) if folder is None else None
        if file is not None:
            opened.enter_context(file)
            yield file.fileno(), file
            return
        if folder is None:
            folder = descriptors.open_folder(at)
            if folder is not None:
                opened.callback(os.close, folder)
        yield opened.enter_context(descriptors.opened_itself(at)) if folder is None else folder, None


def _described(what: Any, file: Optional[IO[bytes]]) -> Dict[str, Any]:
    found = os.stat(what)
    known: Dict[str, Any] = {"kind": "folder", **attributes.attributes_of(what)}
    if file is not None:
        known.update(kind="file", size=found.st_size, sha256=_sha256(file, found.st_size))
    elif stat.S_ISLNK(found.st_mode):
        known.update(kind="link", target=descriptors.target_of_opened(what))
    elif not stat.S_ISDIR(found.st_mode):
        known.update(kind="other")  # a socket or a pipe: it has no content to preserve
    return known


def _walk(paths: Iterable[str], *, must_reach: bool = False) -> Iterator[Entry]:
    """Yield each path and everything below it, parents first. Of links only those given themselves are followed.

    Args:
        must_reach: raise OrderFailed where a link may not be followed, instead of leaving out what is behind it.
    """
    for path in paths:
        try:
            target = descriptors.target_of(path)
        except OSError as problem:
            if must_reach and problem.errno == errno.ELOOP:
                text = f"{path}, state to preserve: {problem.filename} is {problem.strerror}"
                raise OrderFailed("InternalError", f"{text}; name the real path under `keeps`") from None
            target = ""
        yield from descriptors.walk(path)
        if target:
            yield from descriptors.walk(target)


def _unused(folder: Path) -> Path:
    """Return the folder, with a number if it exists: evidence of an earlier rollback is not mixed with this one's."""
    number, unused = 1, folder
    while unused.exists():
        number += 1
        unused = folder.with_name(f"{folder.name}-{number}")
    return unused


def _index(folder: Path) -> Tuple[List[str], Dict[str, Any], Dict[str, Any]]:
    """Return what was to be preserved, each entry's description, and what else was found (older programs: nothing)."""
    raw = disk.read_json(folder / INDEX)
    if raw is None and (folder / INDEX).exists():
        raise OSError(errno.EIO, "the copy of the state cannot be read", str(folder / INDEX))
    raw = raw or {}
    return raw.get("paths", []), raw.get("entries", {}), raw.get("found", {})


def _copy(source: IO[bytes], folder: Path, known: Dict[str, Any]) -> bool:
    """Copy the content of an open file; return whether it still has the hash that is known of it."""
    target, partial = folder / known["sha256"], folder / f".copy{PARTIAL}"
    if target.exists():
        return True
    with effect("copy", target):
        digest = hashlib.sha256()
        with open(partial, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            for piece in _pieces(source, known["size"]):
                digest.update(piece)
                file.write(piece)
            disk.sync_file(file)
        if digest.hexdigest() != known["sha256"]:
            return False
        os.replace(partial, target)
    return True


def _sha256(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(file, size):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file: somebody may write into it for as long as we read."""
    file.seek(0)
    while size > 0 and (piece := file.read(min(size, PIECE))):
        size -= len(piece)
        progress.reached()
        yield piece


class _Aside:
    """Where what a version has added is moved to: a folder that is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0

    def move(self, path: str) -> None:
        """Move the entry at this path there. If something is in the way it stays: the rollback matters more."""
        name = os.fsencode(f"{self._number}-{os.path.basename(path)}")[:LONGEST_NAME]
        in_the_way = contextlib.suppress(FileExistsError, NotADirectoryError, FileNotFoundError)
        with in_the_way, descriptors.parent_of(path) as at:
            if not descriptors.exists(at):
                return  # it went with its folder
            self._number += 1
            disk.make_folder(self._folder, 0o700)
            folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with effect("put aside", path):
                    descriptors.move(at, At(folder, os.fsdecode(name)))
            finally:
                os.close(folder)


def _restore_entry(name: str, known: Dict[str, Any], found: Dict[str, Any], folder: Path, aside: _Aside) -> None:
    """Make an entry what it was, in one step. A link that another user put there meanwhile is not followed."""
    if known["kind"] == "other":
        return
    if known["kind"] == "folder":
        if _dress_folder(name, known, found):
            return
        aside.move(name)
    with effect("put back", name), descriptors.parent_of(name, make=True) as at:
        fresh = At(at.folder, f".backfleet-{hashlib.sha256(os.fsencode(at.name)).hexdigest()[:16]}")
        descriptors.remove(fresh)
        if known["kind"] == "link":
            _make_link(fresh, known)
        elif known["kind"] == "folder":
            _make_new_folder(fresh, known)
        else:
            _make_file(fresh, known, found, folder)
        if known["kind"] == "folder" or _is_folder(at):
            descriptors.remove(at)  # rename(2) replaces neither a folder by a file nor a file by a folder
        os.replace(fresh.name, at.name, src_dir_fd=at.folder, dst_dir_fd=at.folder)
        descriptors.sync(at.folder)


def _dress_folder(name: str, known: Dict[str, Any], found: Dict[str, Any]) -> bool:
    """Set owner, mode and extended attributes of a folder; return False if it is not there.

    Nor is it if its owner is another and it is not the very folder that was found: whoever owns the folder around it
    may have given its name to one of root's, which would be handed over to him.
    """
    with contextlib.suppress(FileNotFoundError), descriptors.parent_of(name) as at:
        descriptor = descriptors.open_folder(at)
        if descriptor is None:
            return False
        try:
            now = os.fstat(descriptor)
            has_owner = (now.st_uid, now.st_gid) == (known["uid"], known["gid"])
            if not has_owner and found.get("inode", now.st_ino) != now.st_ino:
                return False
            if {"kind": "folder", **attributes.attributes_of(descriptor)} != known:
                with effect("dress", name):
                    attributes.set_attributes(descriptor, known)
            return True
        finally:
            os.close(descriptor)
    return False


def _is_folder(at: At) -> bool:
    descriptor = descriptors.open_folder(at)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def _make_file(at: At, known: Dict[str, Any], found: Dict[str, Any], folder: Path) -> None:
    with open(folder / known["sha256"], "rb") as source, descriptors.open_new_file(at) as file:
        for piece in _pieces(source, known["size"]):
            file.write(piece)
        file.flush()
        attributes.set_attributes(file.fileno(), known)
        if "mtime" in found:
            os.utime(file.fileno(), ns=(found["mtime"], found["mtime"]))
        disk.sync_file(file)


def _make_link(at: At, known: Dict[str, Any]) -> None:
    os.symlink(known["target"], at.name, dir_fd=at.folder)
    with descriptors.opened_itself(at) as link:
        if isinstance(link, str) and stat.S_ISLNK(os.stat(link).st_mode):
            attributes.set_attributes(link, known)


def _make_new_folder(at: At, known: Dict[str, Any]) -> None:
    os.mkdir(at.name, 0o700, dir_fd=at.folder)
    descriptor = descriptors.open_folder(at)
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), at.name)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid() and not descriptors.names_in(descriptor):
            attributes.set_attributes(descriptor, known)  # else somebody has put another in its place
    finally:
        os.close(descriptor)
