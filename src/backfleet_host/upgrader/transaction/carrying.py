"""Carry over what somebody put into the installed version's tree; keep a copy of what an order replaces or removes."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterable, Mapping, Optional

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.host import additions, shim, trees
from backfleet_host.upgrader.transaction.attempt import Attempt, known_files, known_manifest


def carry_additions(attempt: Attempt, version: str) -> None:
    """Copy the additions of the installed version into the tree of another one, as far as they differ.

    Raises:
        OrderFailed: ManagedElsewhere, they cannot be.
    """
    package, old = attempt.package, attempt.from_version
    files = known_files(package, old)
    if not files or version == old:
        return
    others = known_files(package, version)
    moved = _moved_folders(attempt.old_manifest(), known_manifest(package, version))
    carried = additions.carry(package.tree(old), files, package.tree(version), others, _work(attempt), moved)
    if carried:
        attempt.state.details["carried"] = carried


def _moved_folders(old: Optional[Manifest], new: Optional[Manifest]) -> Dict[str, str]:
    """Return the folders of commands that have another name in the new tree: what stands beside a command stays there.

    A wheel has the version in the name of its folder.
    """
    if old is None or new is None:
        return {}
    folders = {
        str(PurePosixPath(path).parent): str(PurePosixPath(new.programs[command]).parent)
        for command, path in old.programs.items()
        if command in new.programs
    }
    return {before: after for before, after in folders.items() if before != after}


def keep_over_repair(attempt: Attempt, version: str, repaired: Path, files: Mapping[str, Any]) -> None:
    """Keep what a repair would lose: additions go into the repaired tree, and changed files are copied.

    Args:
        version: whose tree is repaired.
        repaired: the intact tree that will take the place of the damaged one.
        files: what is known of its files.
    """
    package = attempt.package
    tree, known = package.tree(version), known_files(package, version) or files
    carried = additions.carry(tree, known, repaired, files, _work(attempt))
    if carried:
        attempt.state.details["carried"] = carried
    changed = [name for name in trees.differences(tree, dict(known)) if os.path.lexists(str(tree / name))]
    _set_aside(attempt, tree, changed, package.aside / version)


def keep_additions(attempt: Attempt) -> None:
    """Copy the additions of the installed version, which is about to be removed."""
    package, version = attempt.package, attempt.from_version
    files = known_files(package, version)
    if files:
        _set_aside(attempt, package.tree(version), additions.of(package.tree(version), files), package.aside / version)


def keep_edited_shims(attempt: Attempt, old: Manifest) -> None:
    """Copy shims of the text form that somebody edited: they are about to be written anew."""
    package, folder = attempt.package, attempt.installation.bin
    edited = [command for command in old.programs if _is_edited(folder / command, package.folder, package.name)]
    _set_aside(attempt, folder, edited, package.aside / "shims")


def _is_edited(path: Path, package: Path, name: str) -> bool:
    if not shim.is_ours(path, name):
        return False
    return not shim.is_native(path.read_bytes()) and not shim.is_as_written(path, package, name, path.name)


def _set_aside(attempt: Attempt, tree: Path, paths: Iterable[str], folder: Path) -> None:
    kept = additions.set_aside(tree, paths, folder, _work(attempt))
    if kept:
        attempt.state.details.setdefault("set_aside", []).extend(kept)


def _work(attempt: Attempt) -> Path:
    """Return a folder for copies that are being made. What a crash leaves of it is removed as a half-made tree."""
    return attempt.package.partial("additions")
