"""State that must survive an upgrade: remembered before the switch, compared after it, put back on going back.

What is remembered of each entry: kind, mode, owner, extended attributes, content. A snapshot is complete once its index
is there: one that a crash cut off is made anew, and never put back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

from backfleet_host.upgrader import disk
from backfleet_host.upgrader.instants import deed
from backfleet_host.upgrader.refusal import Refusal

MOST_BYTES = 256 << 20  # of all files together: it is copied while the gate is closed
MOST_ENTRIES = 20_000
INDEX = "index.json"
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
        known = describe(path)
        if "sha256" in known:
            room -= known["size"]
        if room < 0 or len(entries) >= MOST_ENTRIES:
            text = f"the state to keep is more than {MOST_BYTES >> 20} MiB or {MOST_ENTRIES} entries; name less of it"
            raise Refusal("DiskFull", text)
        if "sha256" in known:
            _copy(path, folder / known["sha256"])
        entries[str(path)] = known
    disk.write_json(folder / INDEX, {"paths": list(paths), "entries": entries})


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
    """Each path and all below it, parents first. Links are not followed."""
    for given in paths:
        path = Path(given)
        if path.is_symlink() or path.exists():
            yield path
        if path.is_dir() and not path.is_symlink():
            for folder, folders, files in os.walk(str(path)):
                folders.sort()
                yield from (Path(folder) / name for name in sorted(folders + files))


def _index(folder: Path) -> Tuple[List[str], Dict[str, Any]]:
    said = disk.read_json(folder / INDEX) or {}
    return said.get("paths", []), said.get("entries", {})


def _copy(path: Path, to: Path) -> None:
    if not to.exists():
        with deed("copy", to):
            shutil.copyfile(str(path), str(to))
            with open(to, "rb+") as file:
                os.fchmod(file.fileno(), 0o600)
                os.fsync(file.fileno())


def _put_aside(path: Path, evidence: Path, number: int) -> None:
    disk.make_folder(evidence)
    with deed("put aside", path):
        shutil.move(str(path), str(evidence / f"{number}-{path.name}"))


def _put_back(path: Path, known: Dict[str, Any], folder: Path) -> None:
    if known["kind"] == "folder" and path.is_dir() and not path.is_symlink():
        return _dress(path, known)
    fresh = path.with_name(f".{path.name}.backfleet")
    _clear(fresh)
    if known["kind"] == "other":
        return None
    with deed("put back", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if known["kind"] == "folder":
            fresh.mkdir(0o700)
        elif known["kind"] == "link":
            fresh.symlink_to(known["target"])
        else:
            shutil.copyfile(str(folder / known["sha256"]), str(fresh))
        _dress(fresh, known)
        if known["kind"] == "file":
            with open(fresh, "rb") as file:
                os.fsync(file.fileno())
        if known["kind"] == "folder" or (path.is_dir() and not path.is_symlink()):
            _clear(path)  # a folder and a file cannot take each other's place in one step
        os.replace(fresh, path)
        disk.sync(path.parent)
    return None


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    else:
        path.unlink(missing_ok=True)


def _dress(path: Path, known: Dict[str, Any]) -> None:
    """Owner, mode, extended attributes: owner first, for changing it may take mode bits away."""
    with contextlib.suppress(PermissionError):  # a host that does not run as root cannot have changed it either
        os.chown(str(path), known["uid"], known["gid"], follow_symlinks=False)
    if known["kind"] != "link":
        os.chmod(str(path), known["mode"])
    now = _attributes(path)
    for name in set(now) - set(known["attributes"]):
        os.removexattr(str(path), name, follow_symlinks=False)
    for name, value in known["attributes"].items():
        if now.get(name) != value:
            os.setxattr(str(path), name, bytes.fromhex(value), follow_symlinks=False)


def _attributes(path: Path) -> Dict[str, str]:
    try:
        names = os.listxattr(str(path), follow_symlinks=False)
        return {name: os.getxattr(str(path), name, follow_symlinks=False).hex() for name in names}
    except OSError:  # a file system that has none
        return {}


def _sha256(path: Path) -> Optional[str]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
