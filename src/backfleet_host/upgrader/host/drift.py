"""Drift: what differs from what the last order left, because somebody changed it or another package manager did."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import NotAnswering, OrderFailed, Unhealthy
from backfleet_host.upgrader.host import adopted, modes, shim, trees
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.owners import owner_of
from backfleet_host.upgrader.host.policy import read_policy
from backfleet_host.upgrader.host.rights import has_capability, was_given_a_mode
from backfleet_host.upgrader.host.subprocesses import Subprocess, run

FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "snap/bin", "opt/bin")
MOST_FILES = 20_000  # of a tree that are looked at
ANSWER_SECONDS = 5.0  # for all folders of programs
_LIST = 'for path; do echo "?$path"; if [ -L "$path" ] || [ -e "$path" ]; then echo "+$path"; fi; done'


def of(installation: Installation, package: PackageFolder, manifest: Optional[Manifest]) -> List[str]:
    """Return one sentence for everything that is not as the last order left it. Changes nothing.

    Args:
        manifest: of the current version; None if there is none, or its description is lost.
    """
    current = package.version()
    if not current:
        return package.unmanaged_links() + _others_than_ours(installation, package, [package.name])
    if manifest is None:
        return [*package.unmanaged_links(), f"the description of {current} is missing or unreadable"]
    found = _of_links(package) + of_shims(installation, package, manifest) + _of_tree(package, manifest)
    found += adopted.sentences_about(installation, package) + modes.sentences_about(installation, package)
    return found + _others_than_ours(installation, package, manifest.programs)


def _of_links(package: PackageFolder) -> List[str]:
    gone = [link for link in (package.current, package.previous) if link.is_symlink() and not link.resolve().is_dir()]
    found = [f"{link.name} points to {os.readlink(str(link))}, which does not exist" for link in gone]
    return found + package.unmanaged_links()


def of_shims(installation: Installation, package: PackageFolder, manifest: Manifest) -> List[str]:
    """Return one sentence for every shim that is missing, changed or not ours."""
    found = []
    for command in manifest.programs:
        path = installation.bin / command
        if path.is_symlink():
            found.append(f"{path} is a link to {os.readlink(str(path))}, not our shim")
        elif not path.exists():
            found.append(f"{path}, our shim, is gone")
        elif not shim.is_ours(path, package.name):
            found.append(f"{path} is not our shim")
        elif not shim.is_as_written(path, package.folder, package.name, command):
            found.append(f"{path}, our shim, was changed")
        elif has_capability(path):
            text = f"{path}, our shim, has file capabilities, which have no effect there"
            found.append(f"{text}; the next order for {package.name} gives them to the program")
        elif stat.S_IMODE(path.stat().st_mode) != shim.MODE:
            found.append(f"{path}, our shim, has the mode {stat.S_IMODE(path.stat().st_mode):04o}, not {shim.MODE:04o}")
    return found


def _of_tree(package: PackageFolder, manifest: Manifest) -> List[str]:
    """Return a sentence for the first file that is not as it was unpacked, or is not part of the release.

    What rights its commands have is their administrator's affair, as long as nobody but their owner may write them.
    """
    known: Dict[str, Any] = (disk.read_json(package.facts(manifest.version)) or {}).get("files", {})
    folder = package.tree(manifest.version)
    changed = trees.first_difference(folder, known)
    if changed:
        return [f"{folder / changed} " + ("was changed" if os.path.lexists(str(folder / changed)) else "is gone")]
    for name, found in _files_in(folder):
        if name not in known and not name.startswith(f"{shim.ANSWERS}/"):
            return [f"{folder / name} is not part of the release"]
        may_write = 0o022 if name in manifest.bin and was_given_a_mode(folder, known, name) else 0o222
        if stat.S_ISREG(found.st_mode) and found.st_mode & may_write:
            return [f"{folder / name} was made writable"]
    return []


def _files_in(tree: Path) -> Iterator[Tuple[str, os.stat_result]]:
    """Yield what is in a tree but folders, by path in it. No link is followed, wherever it leads (`os.walk` does)."""
    folders, number = [str(tree)], 0
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                number += 1
                if number > MOST_FILES:
                    return
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield os.path.relpath(entry.path, tree), entry.stat(follow_symlinks=False)


def _others_than_ours(installation: Installation, package: PackageFolder, commands: Iterable[str]) -> List[str]:
    with contextlib.suppress(OrderFailed):  # a policy that cannot be read, the doctor reports
        if read_policy(installation.etc, package.name).adopt == "shadow":
            return []
    try:
        found = unmanaged_programs(installation, package.name, commands)
    except NotAnswering as problem:
        return [f"{problem.filename} does not answer: whether others have the same commands is not known"]
    return [f"{path} exists too: {owner}" for path, owner in found.items()]


def unmanaged_programs(installation: Installation, name: str, commands: Iterable[str]) -> Dict[Path, str]:
    """Return programs with the names of these commands that we did not install, and what did.

    Raises:
        NotAnswering: one of the folders of programs is on a file system that does not answer.
    """
    if installation.system is None:
        return {}
    found: Dict[Path, str] = {}
    seen: Set[Path] = set()
    there = _existing([installation.system / folder / command for command in commands for folder in FOLDERS])
    for path in there:
        real = path.parent.resolve() / path.name  # /bin is /usr/bin on most systems
        target = Path(os.path.normpath(real.parent / os.readlink(str(path)))) if path.is_symlink() else real
        is_new = target not in seen and real not in seen
        seen.update((real, target))
        own = installation.bin / path.name
        is_led = disk.target_of_link(path) == str(own) and shim.is_ours(own, name)
        if is_new and not is_led and real.parent != installation.bin.resolve() and not shim.is_ours(path, name):
            found[path] = owner_of(installation.system, path)
    return found


def _existing(paths: List[Path]) -> List[Path]:
    """Return those of the paths at which there is something.

    /opt and its like may be mounts. So a process looks that can be left behind.

    Raises:
        NotAnswering: it took too long.
    """
    if not paths:
        return []
    program = ("/bin/sh", "-c", _LIST, "sh", *map(str, paths))
    try:
        lines = run(Subprocess(program, ANSWER_SECONDS))[1].splitlines()
    except Unhealthy as problem:
        asked = [line[1:] for line in problem.output.splitlines() if line.startswith("?")]
        raise NotAnswering(asked[-1] if asked else str(paths[0]), ANSWER_SECONDS) from None
    return [path for path in paths if f"+{path}" in lines]
