"""The shim: what people, cron and services run. It waits for the gate, then becomes the client.

It becomes the client by `exec`: same process, descriptors, signals and exit code. It looks up which program to run only
after it has passed the gate, in the tree of the version that is then current, however long it has waited. It runs the
program by the path in that version's tree, not through the link: so a program that finds its parts beside itself finds
those of its own version until it ends, and the tree is seen to be in use.

The client inherits the lock on `running` and holds it exactly as long as it lives. An open gate with the marker
`unproven` beside it means that an upgrade was cut off. The shim then waits a while for its recovery, so that no backup
runs on a version that was not verified.

There are two forms: a compiled program (`native_shim`), which changes nothing else of what the client gets, and a text
for sh, for platforms and file systems on which that one does not work. The text uses flock(1), find(1) and sleep(1) by
their absolute paths, those of util-linux and coreutils or of busybox, and so its locks are of another kind.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from pathlib import Path
from typing import Dict, Iterable, List, Optional

from backfleet_host import files
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.failpoints import effect
from backfleet_host.upgrader.gate import has_record_locks
from backfleet_host.upgrader.host import native_shim
from backfleet_host.upgrader.host.rights import has_capability

TOOLS = "/usr/bin:/bin:/usr/local/bin"  # where the programs are that the text for sh uses, by their absolute paths
MODE = 0o755  # of a shim: everybody may run it
MARK = "# backfleet shim for"
WAIT_SECONDS = 300  # at the gate, unless the host policy says otherwise

UNVERIFIED = "unproven"  # marker file beside the gate, from the switch until it is verified or rolled back
WAITS = 60  # of a second each, for the recovery of an upgrade that was cut off
MINUTES = 10  # the age of the marker after which nothing is waited for
ANSWERS = ".backfleet"  # folder in a tree: for each command a file with the absolute path of its program

_TEXT = """#!/bin/sh
{mark} {package}: written by backfleet-host, do not edit
exec 8<{gate} 9<{running} || exit 69
verifies() {{
  case "${{BACKFLEET_GATE_DESCRIPTOR-}}" in ''|*[!0-9]*) return 1 ;; esac
  [ "/proc/$$/fd/$BACKFLEET_GATE_DESCRIPTOR" -ef {unproven} ] ||
    [ "/proc/$$/fd/$BACKFLEET_GATE_DESCRIPTOR" -ef {gate} ] || return 1
  while read -r key value; do
    case "$key $value" in "flags: "*[12]) return 0 ;; esac
  done <"/proc/$$/fdinfo/$BACKFLEET_GATE_DESCRIPTOR"
  return 1
}}
is_old() {{ [ -x {find} ] && [ -z "$({find} {unproven} -mmin -{minutes} || echo young)" ]; }}
if verifies; then
  IFS= read -r program <{answer} || exit 69
else
  {flock} -s 8 || exit 69
  tries=0
  while [ -e {unproven} ] && [ "$tries" -lt {tries} ] && ! is_old; do
    {flock} -u 8; {sleep} 1; {flock} -s 8 || exit 69
    tries=$((tries + 1))
  done
  {flock} -s 9 || exit 69
  if [ -e {unproven} ] && [ -e {verified} ]; then
    IFS= read -r program <{verified} || exit 69
  else
    IFS= read -r program <{answer} || exit 69
  fi
fi
exec 8<&-
exec "$program" "$@"
"""

# The text that hosts got before there was a compiled form. The next order replaces it.
_FORMER_TEXT = """#!/bin/sh
{mark} {package}: written by backfleet-host, do not edit
exec 8<{gate} 9<{running} || exit 69
if [ -z "${{BACKFLEET_ON_TRIAL-}}" ]; then
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
    return shutil.which("flock", path=TOOLS)


def can_be_run_here(package: Path, name: str) -> bool:
    """Return whether this host has what its shims need."""
    return flock_program() is not None or is_native(shim_for(package, name, "any"))


def shim_for(package: Path, name: str, command: str, wait_seconds: int = WAIT_SECONDS) -> bytes:
    """Return the shim for one command. It is the same for every version.

    Args:
        package: the folder of the package.
        name: the name of the package.
        wait_seconds: how long a run waits at the gate, with a compiled shim.
    """
    native = None
    if has_record_locks(package):
        native = native_shim.native_shim(package, name, command, UNVERIFIED, wait_seconds)
    return native or _text(_TEXT, package, name, command)


def former_shim(package: Path, name: str, command: str) -> bytes:
    """Return what `shim_for` returned before there was a compiled form."""
    return _text(_FORMER_TEXT, package, name, command)


def _text(text: str, package: Path, name: str, command: str) -> bytes:
    quoted = {
        "gate": package / "gate",
        "running": package / "running",
        **{tool: shutil.which(tool, path=TOOLS) or f"/usr/bin/{tool}" for tool in ("flock", "find", "sleep")},
        "unproven": package / UNVERIFIED,
        "answer": package / "current" / ANSWERS / command,
        "verified": package / "verified" / ANSWERS / command,
    }
    filled = text.format(
        mark=MARK,
        package=name,
        tries=WAITS,
        minutes=MINUTES,
        **{key: shlex.quote(str(value)) for key, value in quoted.items()},
    )
    return os.fsencode(filled)  # the very bytes of the paths, whatever the locale


def is_native(content: bytes) -> bool:
    """Return whether a shim has the compiled form."""
    return content.startswith(b"\x7fELF")


def is_as_written(path: Path, package: Path, name: str, command: str) -> bool:
    """Return whether a shim is as an order left it, in whichever form. How long it waits may have been another time."""
    content = native_shim.read(path)
    return _timeless(content) == _timeless(shim_for(package, name, command)) or content == former_shim(
        package, name, command
    )


def _timeless(content: bytes) -> object:
    """Return what a shim says but how long it waits."""
    found = native_shim.split(content)
    return content if found is None else (found[0], found[1]._replace(limit_ms=b""))


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
        disk.write_file(folder / command, os.fsencode(f"{tree / program}\n"), 0o444)


def is_ours(path: Path, name: str) -> bool:
    """Return whether the file at `path` is a shim of this package, in either form."""
    content = native_shim.read(path)
    found = native_shim.split(content)
    return f"\n{MARK} {name}:".encode() in content[:512] if found is None else found[1].package == name.encode()


def shims_of(folder: Path, name: str) -> List[Path]:
    """Return every shim of this package."""
    return [path for path in folder.iterdir() if is_ours(path, name)] if folder.is_dir() else []


def first_unmanaged(folder: Path, name: str, commands: Iterable[str]) -> Optional[Path]:
    """Return a file that is not ours where one of our shims belongs; None if there is none."""
    for command in commands:
        path = folder / command
        if os.path.lexists(path) and not is_ours(path, name):
            return path
    return None


def _is_exactly(path: Path, content: bytes) -> bool:
    """Return whether a file has this content, the mode of a shim, and no capabilities, which are the client's."""
    is_same = native_shim.read(path) == content and not has_capability(path)
    return is_same and stat.S_IMODE(path.lstat().st_mode) == MODE


def first_to_write(
    folder: Path, package: Path, name: str, programs: Dict[str, str], wait_seconds: int = WAIT_SECONDS
) -> Optional[Path]:
    """Return the first shim that `write_shims` would write or remove; None if all are as they should be."""
    for command in programs:
        path = folder / command
        if not _is_exactly(path, shim_for(package, name, command, wait_seconds)):
            return path
    return next((path for path in shims_of(folder, name) if path.name not in programs), None)


def write_shims(
    folder: Path, package: Path, name: str, programs: Dict[str, str], wait_seconds: int = WAIT_SECONDS
) -> None:
    """Write the shims of a package, each atomically; remove those of commands that it no longer has."""
    disk.make_folder(folder)
    for command in programs:
        path, content = folder / command, shim_for(package, name, command, wait_seconds)
        if not _is_exactly(path, content):
            disk.write_file(path, content, MODE)
    for path in shims_of(folder, name):
        if path.name not in programs:
            disk.remove_file(path)


def any_takes_flock(folder: Path, name: str) -> bool:
    """Return whether a shim of this package has the `sh` form, whose locks are of flock(2)."""
    return any(not is_native(native_shim.read(path)) for path in shims_of(folder, name))
