"""Preserved state: files that must survive an upgrade. Copied before the switch, compared after it, restored by a
rollback.

Of each entry the kind, mode, owner, extended attributes and content are preserved. A snapshot is complete once its
index is there. One that a crash cut off has none: it is made anew, and never restored.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import IO, Any, Dict, Iterable, List, Optional, Tuple, Union

from backfleet_host.upgrader import disk
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


def snapshot(paths: Iterable[str], folder: Path) -> None:
    """Copy all state under these paths into `folder`.

    Raises:
        OrderFailed: DiskFull, it is larger than what can be copied while backups wait.
        OSError: it cannot be read, or the copy cannot be written.
    """
    disk.remove_tree(folder)
    disk.make_folder(folder, 0o700)
    entries: Dict[str, Any] = {}
    bytes_left = MOST_BYTES
    for path in _walk(paths):
        known = _copied(path, folder)
        if not known:
            continue  # it was removed meanwhile
        bytes_left -= known.get("size", 0)
        if bytes_left < 0 or len(entries) >= MOST_ENTRIES:
            text = f"the state to preserve is more than {MOST_BYTES >> 20} MiB or {MOST_ENTRIES} entries"
            raise OrderFailed("DiskFull", f"{text}; list less of it under `keeps`")
        entries[str(path)] = known
    disk.write_json(folder / INDEX, {"paths": list(paths), "entries": entries})


def _copied(path: Path, folder: Path) -> Dict[str, Any]:
    """Copy the content of an entry into `folder`; return its description.

    Raises:
        OrderFailed: HostBusy, it changed during every try.
    """
    for _ in range(COPY_TRIES):
        known = describe(path)
        if known.get("size", 0) > MOST_BYTES or _copy(path, folder, known):
            return known
    raise OrderFailed("HostBusy", f"{path}, state to preserve, changes all the time; stop what writes into it")


def first_change(folder: Path) -> str:
    """Return how the first entry of a snapshot differs now; "" if none does. New entries are allowed."""
    for name, known in _index(folder)[1].items():
        now = describe(Path(name))
        for what, value in known.items():
            if now.get(what) != value:
                return f"{name}: " + (f"its {what} changed" if now else "it is gone")
    return ""


def remove(paths: Iterable[str]) -> str:
    """Remove the state under these paths for good.

    A path that is a part of the system, such as `/etc`, is refused, whoever signed it.

    Returns:
        What could not be removed and why; "" if all is gone.
    """
    for name in paths:
        path = Path(name)
        if not path.is_absolute() or ".." in path.parts or len(path.parts) < LEAST_PARTS + name.startswith(SHARED):
            return f"{name} does not belong to one client alone"
        try:
            with effect("state removed", path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(str(path))
                elif path.is_symlink() or path.exists():
                    path.unlink()
        except OSError as problem:
            return f"{problem.filename or name}: {problem.strerror}"
    return ""


def restore(folder: Path, evidence: Path) -> None:
    """Make all entries of a snapshot what they were. What was added since is moved to `evidence`, not deleted.

    Raises:
        OSError: it cannot be written.
    """
    paths, entries = _index(folder)
    evidence = _unused(evidence)
    for number, path in enumerate(path for path in list(_walk(paths)) if str(path) not in entries):
        if path.is_symlink() or path.exists():
            _move_aside(path, evidence, number)
    for name, known in entries.items():
        if describe(Path(name)) != known:
            _restore_entry(Path(name), known, folder)
    # Folders last: restoring what is in them may have changed their own attributes.
    for name, known in reversed(list(entries.items())):
        if known["kind"] == "folder" and describe(Path(name)) != known:
            _set_folder_attributes(Path(name), known)


def describe(path: Path) -> Dict[str, Any]:
    """Return kind, mode, owner, extended attributes and hash or target of an entry; {} if it does not exist."""
    try:
        found = path.lstat()
    except OSError:
        return {}
    known: Dict[str, Any] = {"kind": "folder", "mode": stat.S_IMODE(found.st_mode), "uid": found.st_uid}
    known.update(gid=found.st_gid, attributes=_attributes(path))
    if stat.S_ISLNK(found.st_mode):
        known.update(kind="link", target=os.readlink(str(path)))
    elif stat.S_ISREG(found.st_mode):
        known.update(kind="file", size=found.st_size, sha256=_sha256(path))
    elif not stat.S_ISDIR(found.st_mode):
        known.update(kind="other")  # a socket or a pipe: it has no content to preserve
    return known


def _walk(paths: Iterable[str]) -> Iterable[Path]:
    """Yield each path and everything below it, parents first. Of links only those given themselves are followed."""
    for path in _with_targets(paths):
        if path.is_symlink() or path.exists():
            yield path
        if path.is_dir() and not path.is_symlink():
            for folder, folders, files in os.walk(str(path)):
                folders.sort()
                yield from (Path(folder) / name for name in sorted(folders + files))


def _with_targets(paths: Iterable[str]) -> Iterable[Path]:
    for path in map(Path, paths):
        yield path
        if path.is_symlink() and path.exists():
            yield path.resolve()


def _unused(folder: Path) -> Path:
    """Return the folder, with a number if it exists: evidence of an earlier rollback is not mixed with this one's."""
    number, unused = 1, folder
    while unused.exists():
        number += 1
        unused = folder.with_name(f"{folder.name}-{number}")
    return unused


def _index(folder: Path) -> Tuple[List[str], Dict[str, Any]]:
    raw = disk.read_json(folder / INDEX)
    if raw is None and (folder / INDEX).exists():
        raise OSError(errno.EIO, "the copy of the state cannot be read", str(folder / INDEX))
    raw = raw or {}
    return raw.get("paths", []), raw.get("entries", {})


def _copy(path: Path, folder: Path, known: Dict[str, Any]) -> bool:
    """Copy the content of a file; return whether it still has the hash that is known of it."""
    if "sha256" not in known or (folder / known["sha256"]).exists():
        return True
    target, partial = folder / known["sha256"], folder / ".copy.partial"
    with effect("copy", target):
        with _opened(path) as source, open(partial, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            shutil.copyfileobj(source, file, PIECE)
            disk.sync_file(file)
        if _sha256(partial) != known["sha256"]:
            return False
        os.replace(partial, target)
    return True


def _move_aside(path: Path, evidence: Path, number: int) -> None:
    """Move an entry to the evidence. If something is in the way there it stays: the rollback matters more."""
    with contextlib.suppress(FileExistsError, NotADirectoryError, shutil.Error):
        disk.make_folder(evidence, 0o700)
        with effect("put aside", path):
            shutil.move(str(path), str(evidence / f"{number}-{path.name}"[:LONGEST_NAME]))


def _restore_entry(path: Path, known: Dict[str, Any], folder: Path) -> None:
    """Make an entry what it was, in one step. A link that another user put there meanwhile is not followed."""
    if known["kind"] == "other":
        return
    if known["kind"] == "folder" and path.is_dir() and not path.is_symlink():
        _set_folder_attributes(path, known)
        return
    fresh = path.with_name(f".backfleet-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}")
    with effect("put back", path):
        _clear(fresh)
        path.parent.mkdir(parents=True, exist_ok=True)
        if known["kind"] == "link":
            fresh.symlink_to(known["target"])
            _set_owner(fresh, known)
            _set_extended_attributes(fresh, known)
        elif known["kind"] == "folder":
            fresh.mkdir(0o700)
            _set_folder_attributes(fresh, known)
        else:
            _make_file(fresh, known, folder)
        if known["kind"] == "folder" or (path.is_dir() and not path.is_symlink()):
            _clear(path)  # rename(2) replaces neither a folder by a file nor a file by a folder
        os.replace(fresh, path)
        disk.sync_folder(path.parent)


def _make_file(path: Path, known: Dict[str, Any], folder: Path) -> None:
    descriptor = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(folder / known["sha256"], "rb") as source, open(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, PIECE)
        _set_attributes(descriptor, known)
        disk.sync_file(file)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    else:
        path.unlink(missing_ok=True)


def _set_folder_attributes(path: Path, known: Dict[str, Any]) -> None:
    """Set owner, mode and extended attributes of a folder."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with effect("dress", path):
            _set_attributes(descriptor, known)
    finally:
        os.close(descriptor)


def _set_attributes(descriptor: int, known: Dict[str, Any]) -> None:
    """Set owner, mode and extended attributes. The owner first, because changing it may clear mode bits."""
    _set_owner(descriptor, known)
    os.fchmod(descriptor, known["mode"])
    _set_extended_attributes(descriptor, known)


def _set_owner(what: Union[Path, int], known: Dict[str, Any]) -> None:
    with contextlib.suppress(PermissionError):  # an upgrader that does not run as root cannot have changed it either
        if isinstance(what, int):
            os.fchown(what, known["uid"], known["gid"])
        else:
            os.lchown(str(what), known["uid"], known["gid"])


def _set_extended_attributes(what: Union[Path, int], known: Dict[str, Any]) -> None:
    follow = isinstance(what, int)  # a descriptor is never a link, and the call wants it said
    now = _attributes(what)
    for name in set(now) - set(known["attributes"]):
        os.removexattr(what, name, follow_symlinks=follow)
    for name, value in known["attributes"].items():
        if now.get(name) != value:
            os.setxattr(what, name, bytes.fromhex(value), follow_symlinks=follow)


def _attributes(what: Union[Path, int]) -> Dict[str, str]:
    follow = isinstance(what, int)
    try:
        names = os.listxattr(what, follow_symlinks=follow)
        return {name: os.getxattr(what, name, follow_symlinks=follow).hex() for name in names}
    except OSError:  # the file system has none
        return {}


def _opened(path: Path) -> IO[bytes]:
    """Open a plain file to read it. A link or pipe that replaced it meanwhile is neither followed nor waited for."""
    return open(os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _sha256(path: Path) -> Optional[str]:
    digest = hashlib.sha256()
    try:
        with _opened(path) as file:
            for piece in iter(lambda: file.read(PIECE), b""):
                digest.update(piece)
    except OSError:  # it is gone, or no longer a plain file
        return None
    return digest.hexdigest()
