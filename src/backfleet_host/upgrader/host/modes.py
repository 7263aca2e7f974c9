"""The modes that other users rely on: they run the client, and must not be able to replace it.

What is ours has its mode set when it is made, whatever the umask, an access control list or the folder around it says.
Here is checked whether it still has it, and the same of what is not ours. The next order mends what is ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from backfleet_host import files
from backfleet_host.layout import Places
from backfleet_host.upgrader.failpoints import effect
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.shim import ANSWERS


def sentences_about(installation: Installation, package: PackageFolder) -> List[str]:
    """Return one sentence for each mode that is wrong, ours or that of a folder around ours. Changes nothing."""
    found = []
    for path, mode, now in _wrong(installation, package):
        found.append(f"{path} has the mode {now:04o}, not {mode:04o}: {_consequence(now, mode)}")
    for path in _ours(installation, package):
        with contextlib.suppress(OSError):
            owner = path.lstat().st_uid
            if owner not in (0, os.geteuid()):
                found.append(f"{path} belongs to user {owner}, who can replace what is in it")
    for folder in folders_around(installation):
        state = folder.stat()
        if state.st_uid not in (0, os.geteuid()):
            found.append(f"{folder} belongs to user {state.st_uid}, who can replace what is below it")
        elif state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
            found.append(f"{folder} can be written by everybody, who can replace what is below it: chmod o-w {folder}")
        elif installation.host == Path("/") and not state.st_mode & stat.S_IXOTH:
            found.append(f"{folder} cannot be entered by other users, whose backups fail: chmod o+x {folder}")
    return found


def mend(installation: Installation, package: PackageFolder) -> None:
    """Give what is ours its modes again. What belongs to another user stays: status reports it."""
    for path, mode, _ in _wrong(installation, package):
        with contextlib.suppress(OSError), effect("mode", path):
            files.set_mode(path, mode)


def _wrong(installation: Installation, package: PackageFolder) -> Iterator[Tuple[Path, int, int]]:
    """Yield the path of everything of ours whose mode is wrong, the right mode, and the one it has."""
    for path, mode in _ours(installation, package).items():
        with contextlib.suppress(OSError):
            state = path.lstat()
            is_ours = not stat.S_ISLNK(state.st_mode) and state.st_uid == os.geteuid()
            if is_ours and (stat.S_IMODE(state.st_mode) != mode or _has_acl(path)):
                yield path, mode, stat.S_IMODE(state.st_mode)


def _ours(installation: Installation, package: PackageFolder) -> Dict[Path, int]:
    """Return what we make and others rely on, and its modes; the folders around first."""
    places = Places(installation.root)
    modes = {installation.root: 0o755, places.agent: 0o700, places.trust: 0o755}
    if installation.root in installation.bin.parents:
        modes[installation.bin] = 0o755
    modes.update(dict.fromkeys((package.folder, package.versions), 493))
    modes.update({package.folder / name: 0o644 for name in ("gate", "running")})
    for version in filter(None, (package.version(), package.version_before())):
        tree = package.tree(version)
        modes.update({tree: 0o755, tree / ANSWERS: 0o755})
    return modes


def folders_around(installation: Installation) -> List[Path]:
    """Return the folders around the root and the shims, which are not ours."""
    around = [*installation.root.absolute().parents]
    if installation.root not in installation.bin.parents:
        around += [installation.bin, *installation.bin.parents]
    return [folder for folder in dict.fromkeys(around) if folder.is_dir()]


def _has_acl(path: Path) -> bool:
    try:
        return not set(files.ACLS).isdisjoint(os.listxattr(path))
    except OSError:
        return False


def _consequence(now: int, mode: int) -> str:
    if now & ~mode & 0o022:
        return "other users can replace what is in it; the next order mends it"
    if mode & ~now & 0o055:
        return "other users cannot run the client; the next order mends it"
    return "the next order mends it"
