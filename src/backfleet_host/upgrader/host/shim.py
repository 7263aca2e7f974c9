"""The shim: what people, cron and services run. It waits for the gate, then becomes the client.

It becomes the client by `exec`: same process, descriptors, signals and exit code. It looks up which program to run only
after it has passed the gate, in the tree of the version that is then current, however long it has waited. It runs the
program by the path in that version's tree, not through the link: so a program that finds its parts beside itself finds
those of its own version until it ends, and the tree is seen to be in use.

The client inherits the lock on `running` and holds it exactly as long as it lives. An open gate with the marker
`unproven` beside it means that an upgrade was cut off. The shim then waits a while for its recovery, so that no backup
runs on a version that was not verified. It uses flock(1) of util-linux by its absolute path.
"""

from __future__ import annotations

import shlex
import shutil
import stat
from pathlib import Path
from typing import Dict, Iterable, List, Optional

from backfleet_host import files
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.failpoints import effect

MODE = 0o755  # of a shim: everybody may run it
MARK = "# backfleet shim for"
ON_TRIAL = "BACKFLEET_ON_TRIAL"
"""In the environment of a host's probes: the gate is closed for the sake of the verification that they are part of."""

UNVERIFIED = "unproven"  # marker file beside the gate, from the switch until it is verified or rolled back
WAITS = 60  # of a second each, for the recovery of an upgrade that was cut off
MINUTES = 10  # the age of the marker after which nothing is waited for
ANSWERS = ".backfleet"  # folder in a tree: for each command a file with the absolute path of its program

_TEXT = """#!/bin/sh
{mark} {package}: written by backfleet-host, do not edit
exec 8<{gate} 9<{running} || exit 69
if [ -z "${{{trial}-}}" ]; then
  {flock} -s 8 || exit 69
  tries=0
  while [ -e {unproven} ] && [ "$tries" -lt {tries} ] && [ -n "$(find {unproven} -mmin -{minutes})" ]; do
    {flock} -u 8; sleep 1; {flock} -s 8 || exit 69
    tries=$((tries + 1))
  done
  {flock} -s 9 || exit 69
fi
IFS= read -r program <{answer} || exit 69
exec 8<&-
exec "$program" "$@"
"""


def flock_program() -> Optional[str]:
    """Return the path of flock(1); None if this host has none."""
    return shutil.which("flock", path="/usr/bin:/bin:/usr/local/bin")


def shim_text(package: Path, name: str, command: str, flock: str) -> str:
    """Return the shim for one command. It is the same for every version.

    Args:
        package: the folder of the package.
        name: the name of the package.
        flock: the path of flock(1).
    """
    quoted = {
        "gate": package / "gate",
        "running": package / "running",
        "flock": flock,
        "unproven": package / UNVERIFIED,
        "answer": package / "current" / ANSWERS / command,
    }
    return _TEXT.format(
        mark=MARK,
        package=name,
        trial=ON_TRIAL,
        tries=WAITS,
        minutes=MINUTES,
        **{key: shlex.quote(str(value)) for key, value in quoted.items()},
    )


def write_answers(partial: Path, tree: Path, programs: Dict[str, str]) -> None:
    """Write the paths of the programs into a tree that is being made at `partial` and will be at `tree`.

    Raises:
        FileExistsError: the archive has such a folder itself.
    """
    folder = partial / ANSWERS
    with effect("mkdir", folder):
        folder.mkdir()
        files.set_mode(folder, 0o755)
    for command, program in programs.items():
        disk.write_file(folder / command, f"{tree / program}\n".encode(), 0o444)


def is_ours(path: Path, name: str) -> bool:
    """Return whether the file at `path` is a shim of this package."""
    try:
        with open(path, "rb") as file:
            return f"\n{MARK} {name}:".encode() in file.read(512)
    except OSError:
        return False


def shims_of(folder: Path, name: str) -> List[Path]:
    """Return every shim of this package."""
    return [path for path in folder.iterdir() if path.is_file() and is_ours(path, name)] if folder.is_dir() else []


def first_unmanaged(folder: Path, name: str, commands: Iterable[str]) -> Optional[Path]:
    """Return a file that is not ours where one of our shims belongs; None if there is none."""
    for command in commands:
        path = folder / command
        if (path.exists() or path.is_symlink()) and not is_ours(path, name):
            return path
    return None


def write_shims(folder: Path, package: Path, name: str, programs: Dict[str, str]) -> None:
    """Write the shims of a package, each atomically; remove those of commands that it no longer has."""
    disk.make_folder(folder)
    flock = flock_program() or "flock"
    for command in programs:
        path, text = folder / command, shim_text(package, name, command, flock)
        is_same = path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text
        if not is_same or stat.S_IMODE(path.stat().st_mode) != MODE:
            disk.write_file(path, text.encode(), MODE)
    for path in shims_of(folder, name):
        if path.name not in programs:
            disk.remove_file(path)
