"""Additions: what somebody put into a version's tree, such as `rclone.conf` beside rclone.

Another version has another tree, and so an addition goes over to it before the switch. Where it cannot, the order is
refused. What an order replaces or removes is copied to a folder of its own first.

A folder in a tree may belong to another user, who may change it at the same time: it is copied by descriptors only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any, Iterable, List, Mapping, Set, Tuple

from backfleet_host.upgrader import descriptors, disk
from backfleet_host.upgrader.descriptors import At
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.failpoints import effect
from backfleet_host.upgrader.host.shim import ANSWERS

MOST_BYTES = 256 << 20  # of all additions together: they are copied while backups wait
MOST_ENTRIES = 5_000
LEFT_OUT = (ANSWERS, "__pycache__")  # ours, and what Python makes again

NOWHERE: Mapping[str, str] = {}

Signature = List[Tuple[str, int, int, int]]


def of(tree: Path, files: Mapping[str, Any]) -> List[str]:
    """Return what is in a tree and not part of its release, by path in the tree; of a folder only itself.

    Args:
        files: what is known of the release's files.
    """
    folders = _folders_of(files)
    found = []
    for folder in sorted(folders):
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(str(tree / folder))):
                path = name if folder == "." else f"{folder}/{name}"
                if path not in files and path not in folders and name not in LEFT_OUT:
                    found.append(path)
    return found


def carry(
    tree: Path,
    files: Mapping[str, Any],
    target: Path,
    target_files: Mapping[str, Any],
    work: Path,
    moved: Mapping[str, str] = NOWHERE,
) -> List[str]:
    """Copy the additions of a tree to another one. Only what differs is copied.

    Args:
        files: what is known of the files of the tree's release.
        target: the other tree.
        target_files: the same for it.
        work: a folder that is made for copies, on the same disk.
        moved: folders that have another name in the other tree, such as one with the version in it.

    Returns:
        All additions that are then in the other tree, by their paths there.

    Raises:
        OrderFailed: ManagedElsewhere, one of them is in the way of a file of the other release, or they are too much.
    """
    found = of(tree, files)
    _check_amount(tree, found)
    target_folders = _folders_of(target_files)
    carried = []
    while found:
        path = found.pop(0)
        goal = _moved(path, moved)
        is_folder = not (tree / path).is_symlink() and (tree / path).is_dir()
        if goal in target_folders and is_folder:
            names = sorted(os.listdir(str(tree / path)))
            found[:0] = [f"{path}/{name}" for name in names if name not in LEFT_OUT]
            continue
        if goal in target_files or goal in target_folders or _is_below_a_file(goal, target_files):
            text = f"{tree / path} is no part of its release, and in the way of {goal} of {target.name}"
            raise OrderFailed("ManagedElsewhere", f"{text}; move it elsewhere; nothing was touched", "InTheWay")
        _copy_if_it_differs(tree / path, target / goal, work)
        carried.append(goal)
    return carried


def _moved(path: str, moved: Mapping[str, str]) -> str:
    """Return where an addition belongs in the other tree: the innermost folder that has another name there counts."""
    for parent in PurePosixPath(path).parents:
        if str(parent) in moved:
            rest = PurePosixPath(path).relative_to(parent)
            return str(PurePosixPath(moved[str(parent)]) / rest)
    return path


def set_aside(tree: Path, paths: Iterable[str], folder: Path, work: Path) -> List[str]:
    """Copy entries of a tree into a folder that only its owner may enter; return where they are then."""
    paths, found = list(paths), []
    _check_amount(tree, paths)
    for path in paths:
        disk.make_folder(folder, 0o700)
        _copy_if_it_differs(tree / path, folder / path, work)
        found.append(str(folder / path))
    return found


def _folders_of(files: Mapping[str, Any]) -> Set[str]:
    """Return the folders that hold a release's files, the tree itself as "."."""
    return {".", *(str(parent) for path in files for parent in PurePosixPath(path).parents)}


def _is_below_a_file(path: str, files: Mapping[str, Any]) -> bool:
    return any(str(parent) in files for parent in PurePosixPath(path).parents)


def _check_amount(tree: Path, paths: List[str]) -> None:
    entries, size = 0, 0
    for path in paths:
        for _, _, length, _ in _signature(tree / path):
            entries, size = entries + 1, size + length
            if entries > MOST_ENTRIES or size > MOST_BYTES:
                text = f"{tree} has more than {MOST_BYTES >> 20} MiB or {MOST_ENTRIES} entries that are no part of its"
                advice = f"release, such as {path}; move them elsewhere; nothing was touched"
                raise OrderFailed("ManagedElsewhere", f"{text} {advice}", "InTheWay")


def _copy_if_it_differs(path: Path, target: Path, work: Path) -> None:
    wanted = _signature(path)
    if not wanted or wanted == _signature(target):
        return  # it is gone meanwhile, or there already
    disk.make_folder(target.parent)
    with effect("carry", target):
        work.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(work, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fresh = At(folder, "fresh")
            descriptors.remove(fresh)
            with descriptors.parent_of(str(path)) as at:
                descriptors.copy(at, fresh)
        finally:
            os.close(folder)
        if target.is_dir() and not target.is_symlink():
            disk.remove_tree(target)
        os.replace(work / "fresh", target)
        disk.sync_folder(target.parent)
        os.rmdir(work)


def _signature(path: Path) -> Signature:
    """Return what tells whether an entry and all below it are the same: kind, mode, target, size, time of the content.

    A folder has no size, and no time: copying what is in it changes that.
    """
    found: Signature = []
    for entry in descriptors.walk(str(path)):
        with contextlib.suppress(FileNotFoundError):
            state = os.stat(entry.name, dir_fd=entry.parent, follow_symlinks=False)
            is_file = stat.S_ISREG(state.st_mode)
            size, at = (state.st_size, state.st_mtime_ns) if is_file else (0, 0)
            where = os.readlink(entry.name, dir_fd=entry.parent) if stat.S_ISLNK(state.st_mode) else ""
            found.append((f"{entry.path[len(str(path)) :]}\0{where}", state.st_mode, size, at))
    return sorted(found)
