"""State that must survive an upgrade: remembered before the switch, compared after it, put back on going back.

What is remembered of each entry: kind, mode, owner, extended attributes, content. A snapshot is complete once its index
is there: one that a crash cut off is made anew, and never put back.
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

from backfleet_host.upgrader.failpoints import deed
from backfleet_host.upgrader.host import disk
from backfleet_host.upgrader.refusal import Refusal

MOST_BYTES = 256 << 20  # of all files together: it is copied while the gate is closed
MOST_ENTRIES = 20_000
INDEX = "index.json"
PIECE = 1 << 20  # bytes copied at a time
COPY_TRIES = 3  # of a file that somebody writes into
LONGEST_NAME = 255  # bytes: what Linux takes
LEAST_PARTS = 3  # of a path that may be removed, the root counted: /etc/client
SHARED = ("/usr", "/var", "/home", "/run", "/proc", "/sys", "/dev", "/boot", "/snap")
"""Below these a folder of the second level, such as /var/lib or somebody's home, is still everybody's."""


def snapshot(paths: Iterable[str], folder: Path) -> None:
    """Copy all this state into `folder`.

    Raises:
        Refusal: DiskFull, it is larger than what can be copied while backups wait.
        OSError: it cannot be read, or the copy not be written.
    """
    disk.remove_tree(folder)
    disk.make_folder(folder, 0o700)
    entries: Dict[str, Any] = {}
    room = MOST_BYTES
    for path in _walk(paths):
        known = _copied(path, folder)
        if not known:
            continue  # it went meanwhile
        room -= known.get("size", 0)
        if room < 0 or len(entries) >= MOST_ENTRIES:
            text = f"the state to keep is more than {MOST_BYTES >> 20} MiB or {MOST_ENTRIES} entries; name less of it"
            raise Refusal("DiskFull", text)
        entries[str(path)] = known
    disk.write_json(folder / INDEX, {"paths": list(paths), "entries": entries})


def _copied(path: Path, folder: Path) -> Dict[str, Any]:
    """What an entry is, its content in `folder`. Raises Refusal, HostBusy: somebody keeps writing into it."""
    for _ in range(COPY_TRIES):
        known = describe(path)
        if known.get("size", 0) > MOST_BYTES or _copy(path, folder, known):
            return known
    raise Refusal("HostBusy", f"{path}, state to be kept, changes all the time; stop what writes into it")


def changed(folder: Path) -> str:
    """The first entry that is gone or not as it was remembered, and how; "" if all is as it was. New ones may come."""
    for name, known in _index(folder)[1].items():
        now = describe(Path(name))
        for what, value in known.items():
            if now.get(what) != value:
                return f"{name}: " + (f"its {what} changed" if now else "it is gone")
    return ""


def remove(paths: Iterable[str]) -> str:
    """Remove this state from the host for good; what could not be removed and why, "" if all is gone.

    A path that is a whole part of the system, `/etc` for example, is nobody's state, whoever signed that it is.
    """
    for name in paths:
        path = Path(name)
        if not path.is_absolute() or ".." in path.parts or len(path.parts) < LEAST_PARTS + name.startswith(SHARED):
            return f"{name} is no client's own"
        try:
            with deed("state removed", path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(str(path))
                elif path.is_symlink() or path.exists():
                    path.unlink()
        except OSError as problem:
            return f"{problem.filename or name}: {problem.strerror}"
    return ""


def restore(folder: Path, evidence: Path) -> None:
    """Make all remembered state what it was. What came since is moved to `evidence`, not deleted.

    Raises:
        OSError: it cannot be written.
    """
    paths, entries = _index(folder)
    evidence = _unused(evidence)
    for number, path in enumerate(path for path in list(_walk(paths)) if str(path) not in entries):
        if path.is_symlink() or path.exists():
            _put_aside(path, evidence, number)
    for name, known in entries.items():
        if describe(Path(name)) != known:
            _put_back(Path(name), known, folder)
    for name, known in reversed(
        list(entries.items())
    ):  # a folder's own looks last: writing into it changed nothing else
        if known["kind"] == "folder" and describe(Path(name)) != known:
            _dress(Path(name), known)


def describe(path: Path) -> Dict[str, Any]:
    """What an entry is; empty if it is not there."""
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
        known.update(kind="other")  # a socket, a pipe: there is nothing in it to keep
    return known


def _walk(paths: Iterable[str]) -> Iterable[Path]:
    """Each path and all below it, parents first. Of links only those that are named themselves are followed."""
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
    """Evidence of an earlier time is not mixed with this one's."""
    number, unused = 1, folder
    while unused.exists():
        number += 1
        unused = folder.with_name(f"{folder.name}-{number}")
    return unused


def _index(folder: Path) -> Tuple[List[str], Dict[str, Any]]:
    said = disk.read_json(folder / INDEX)
    if said is None and (folder / INDEX).exists():
        raise OSError(errno.EIO, "the copy of the state cannot be read", str(folder / INDEX))
    said = said or {}
    return said.get("paths", []), said.get("entries", {})


def _copy(path: Path, folder: Path, known: Dict[str, Any]) -> bool:
    """Keep the content of a file; whether it is still what is known of it."""
    if "sha256" not in known or (folder / known["sha256"]).exists():
        return True
    to, partial = folder / known["sha256"], folder / ".copy.partial"
    with deed("copy", to):
        with _opened(path) as source, open(partial, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            shutil.copyfileobj(source, file, PIECE)
            disk.sync_file(file)
        if _sha256(partial) != known["sha256"]:
            return False
        os.replace(partial, to)
    return True


def _put_aside(path: Path, evidence: Path, number: int) -> None:
    """Out of the way, and kept. Where somebody stands in the way of that it stays: going back matters more."""
    with contextlib.suppress(FileExistsError, NotADirectoryError, shutil.Error):
        disk.make_folder(evidence, 0o700)
        with deed("put aside", path):
            shutil.move(str(path), str(evidence / f"{number}-{path.name}"[:LONGEST_NAME]))


def _put_back(path: Path, known: Dict[str, Any], folder: Path) -> None:
    """Make an entry what it was, in one step. No link is followed that another user put there meanwhile."""
    if known["kind"] == "other":
        return
    if known["kind"] == "folder" and path.is_dir() and not path.is_symlink():
        _dress(path, known)
        return
    fresh = path.with_name(f".backfleet-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}")
    with deed("put back", path):
        _clear(fresh)
        path.parent.mkdir(parents=True, exist_ok=True)
        if known["kind"] == "link":
            fresh.symlink_to(known["target"])
            _own(fresh, known)
            _set_attributes(fresh, known)
        elif known["kind"] == "folder":
            fresh.mkdir(0o700)
            _dress(fresh, known)
        else:
            _make_file(fresh, known, folder)
        if known["kind"] == "folder" or (path.is_dir() and not path.is_symlink()):
            _clear(path)  # a folder and a file cannot take each other's place in one step
        os.replace(fresh, path)
        disk.sync(path.parent)


def _make_file(path: Path, known: Dict[str, Any], folder: Path) -> None:
    descriptor = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(folder / known["sha256"], "rb") as source, open(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, PIECE)
        _dress_opened(descriptor, known)
        disk.sync_file(file)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    else:
        path.unlink(missing_ok=True)


def _dress(path: Path, known: Dict[str, Any]) -> None:
    """As `_dress_opened`, a folder."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with deed("dress", path):
            _dress_opened(descriptor, known)
    finally:
        os.close(descriptor)


def _dress_opened(descriptor: int, known: Dict[str, Any]) -> None:
    """Owner, mode, extended attributes: owner first, for changing it may take mode bits away."""
    _own(descriptor, known)
    os.fchmod(descriptor, known["mode"])
    _set_attributes(descriptor, known)


def _own(what: Union[Path, int], known: Dict[str, Any]) -> None:
    with contextlib.suppress(PermissionError):  # a host that does not run as root cannot have changed it either
        if isinstance(what, int):
            os.fchown(what, known["uid"], known["gid"])
        else:
            os.lchown(str(what), known["uid"], known["gid"])


def _set_attributes(what: Union[Path, int], known: Dict[str, Any]) -> None:
    follow = isinstance(what, int)  # the system call on a descriptor knows no links
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
    except OSError:  # a file system that has none
        return {}


def _opened(path: Path) -> IO[bytes]:
    """A plain file, to be read. Whatever somebody puts in its place meanwhile is neither followed nor waited for."""
    return open(os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _sha256(path: Path) -> Optional[str]:
    digest = hashlib.sha256()
    try:
        with _opened(path) as file:
            for piece in iter(lambda: file.read(PIECE), b""):
                digest.update(piece)
    except OSError:  # gone, or no plain file any more
        return None
    return digest.hexdigest()
