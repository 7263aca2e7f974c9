"""The shim: what people, cron and services run. It waits for the gate, then becomes the client.

Same process, same descriptors, signals and exit code: `exec` in place. Only behind the gate does it ask which program
to run: the answer stands in the current version's own tree, so that it belongs to the version that won, however long
the shim has waited. It is the version's own path, not the link: a program that finds its parts beside itself finds
those of its own version to the end, and the tree is seen to be in use.

The lock on `running` is inherited by the client and lives exactly as long as it. An open gate with the mark `unproven`
beside it tells of an upgrade that was cut off: the shim waits a while for whoever makes that good, so that no backup
runs on a version that nobody has tried. Uses flock(1) of util-linux, named by its whole path when the shim is written.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Dict, Iterable, List, Optional

from backfleet_host.upgrader.failpoints import deed
from backfleet_host.upgrader.host import disk

MARK = "# backfleet shim for"
ON_TRIAL = "BACKFLEET_ON_TRIAL"
"""In the environment of a host's probes: their own proof is what the gate is closed for."""

UNPROVEN = "unproven"  # beside the gate, from the switch to its end
WAITS = 60  # of a second, for whoever makes an upgrade good that was cut off
MINUTES = 10  # after which nobody is waited for
ANSWERS = ".backfleet"  # folder in a tree: for each command a file with the whole path of its program

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
    """Where flock(1) is; None if this host has none."""
    return shutil.which("flock", path="/usr/bin:/bin:/usr/local/bin")


def shim_text(package: Path, name: str, command: str, flock: str) -> str:
    """The shim for one command: the same for every version."""
    quoted = {
        "gate": package / "gate",
        "running": package / "running",
        "flock": flock,
        "unproven": package / UNPROVEN,
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
    """Into a tree that is being made, for the place where it will stand.

    Raises:
        FileExistsError: the archive has such a folder itself.
    """
    folder = partial / ANSWERS
    with deed("mkdir", folder):
        folder.mkdir()
        folder.chmod(0o755)
    for command, program in programs.items():
        disk.write_whole(folder / command, f"{tree / program}\n".encode(), 0o444)


def is_ours(path: Path, name: str) -> bool:
    """Whether the file at `path` is a shim of this package."""
    try:
        with open(path, "rb") as file:
            return f"\n{MARK} {name}:".encode() in file.read(512)
    except OSError:
        return False


def ours(folder: Path, name: str) -> List[Path]:
    """Every shim of this package."""
    return [path for path in folder.iterdir() if path.is_file() and is_ours(path, name)] if folder.is_dir() else []


def foreign(folder: Path, name: str, commands: Iterable[str]) -> Optional[Path]:
    """A file that stands where one of our shims belongs and is not ours; None if there is none."""
    for command in commands:
        path = folder / command
        if (path.exists() or path.is_symlink()) and not is_ours(path, name):
            return path
    return None


def write_shims(folder: Path, package: Path, name: str, programs: Dict[str, str]) -> None:
    """Make the shims of a package these, each whole or not at all; remove those of commands it no longer has."""
    disk.make_folder(folder)
    flock = flock_program() or "flock"
    for command in programs:
        path, text = folder / command, shim_text(package, name, command, flock)
        if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
            disk.write_whole(path, text.encode(), 0o755)
    for path in ours(folder, name):
        if path.name not in programs:
            disk.unlink(path)
