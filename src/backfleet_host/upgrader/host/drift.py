"""Drift: what differs from what the last order left, because somebody changed it or another package manager did."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.host import modes, shim, trees
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.rights import has_capability, was_given_a_mode

FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "snap/bin", "opt/bin")
MOST_FILES = 20_000  # of a tree that are looked at


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
    found += modes.sentences_about(installation, package)
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
    for number, path in enumerate(folder.rglob("*")):
        if number >= MOST_FILES:
            break
        name = str(path.relative_to(folder))
        if not path.is_dir() and name not in known and not name.startswith(f"{shim.ANSWERS}/"):
            return [f"{path} is not part of the release"]
        may_write = 0o022 if name in manifest.bin and was_given_a_mode(folder, known, name) else 0o222
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & may_write:
            return [f"{path} was made writable"]
    return []


def _others_than_ours(installation: Installation, package: PackageFolder, commands: Iterable[str]) -> List[str]:
    found = unmanaged_programs(installation, package.name, commands)
    return [f"{path} exists too: {owner}" for path, owner in found.items()]


def unmanaged_programs(installation: Installation, name: str, commands: Iterable[str]) -> Dict[Path, str]:
    """Return programs with the names of these commands that we did not install, and what did."""
    if installation.system is None:
        return {}
    found: Dict[Path, str] = {}
    seen = {installation.bin.resolve()}
    for command in commands:
        for folder in (installation.system / name for name in FOLDERS):
            path = folder / command
            if folder.resolve() in seen or not (path.is_symlink() or path.exists()) or shim.is_ours(path, name):
                continue
            if path.resolve() not in {known.resolve() for known in found}:  # /bin is /usr/bin on most systems
                found[path] = _owner(installation.system, path)
    return found


def _owner(system: Path, path: Path) -> str:
    inside = "/" + str(path.relative_to(system))
    for names in (system / "var/lib/dpkg/info").glob("*.list"):
        if _has_line(names, inside):
            return f"dpkg has it in {names.name[: -len('.list')].split(':')[0]}"
    for record in path.parent.parent.glob("lib/python3*/*-packages/*.dist-info/RECORD"):
        if any(line.split(",")[0].endswith(f"/bin/{path.name}") for line in _lines(record)):
            return f"pip has it in {record.parent.name[: -len('.dist-info')]}"
    if path.is_symlink():
        return f"a link to {os.readlink(str(path))}"
    return "its owner is unknown"


def _has_line(file: Path, line: str) -> bool:
    return line in _lines(file)


def _lines(file: Path) -> List[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
