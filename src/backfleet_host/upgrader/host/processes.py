"""Which processes live on this host, who started them, and which run from a tree. Source: proc(5)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, Set

OWNER = "BACKFLEET_PACKAGE"  # in the environment of all commands but those that start a service: whose upgrade it is
SCRIPT_ARGUMENTS = 3  # an interpreter, perhaps one argument of its own, and the script: execve(2)
LONGEST_COMM = 15  # bytes of a program's name that the kernel keeps
FIRST_PROCESS_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of proc_ns.h: the one that has every process
CAP_SYS_PTRACE = 19  # capability.h: whoever has it may inspect all processes
TICK_SECONDS = 0.02  # the kernel gives the start of a process in hundredths of a second


def from_tree(tree: Path) -> List[int]:
    """Return the processes that use this tree: as program, library, open file or folder, or in their arguments.

    A script that was started through the link `current` has only the link in its arguments. It counts for the version
    that the link points to if it started after the link was made, and for every other version otherwise: which of
    them it runs from is not known.
    """
    own, link = os.getpid(), tree.parent.parent / "current"
    prefixes = _prefixes_of(tree)
    return sorted(
        int(path.name)
        for path in _processes()
        if int(path.name) != own
        and (any(_uses(path, prefix) for prefix in prefixes) or _came_through(path, link, tree))
    )


def is_program_of(pid: int, tree: Path) -> bool:
    """Return whether a process runs a program of this tree, and does not only have a file open in it.

    A script is among the first arguments of its interpreter, and the kernel names the process after it. An editor with
    the same file in its arguments has another name. Source: proc(5), comm.
    """
    process, link = Path("/proc") / str(pid), tree.parent.parent / "current"
    prefixes = (*_prefixes_of(tree), os.fsencode(str(link)) + b"/")
    comm = _read(process, "comm").rstrip(b"\n")
    arguments = _read(process, "cmdline").split(b"\0")[:SCRIPT_ARGUMENTS]
    scripts = [argument for argument in arguments if os.path.basename(argument)[:LONGEST_COMM] == comm]
    return any(prefix in program for prefix in prefixes for program in (_link(process / "exe"), *scripts))


def of_moved_program(path: Path, aside: Path) -> List[int]:
    """Return the processes that run a program which was at `path`, and has the name `aside` since something took that.

    They have its inode. If its package was upgraded since, the old file has no name any more: then they have the one
    that it had, on the same disk. A script is among the first arguments of a process that is older than what took its
    path.
    """
    try:
        program, taken = aside.stat(), time.time() - path.lstat().st_ctime
    except OSError:
        return []
    own, since = os.getpid(), time.clock_gettime(time.CLOCK_BOOTTIME) - taken
    return sorted(
        int(process.name)
        for process in _processes()
        if int(process.name) != own
        and (_runs_file(process, program, path) or _is_older_script(process, {path, aside}, since))
    )


def _runs_file(process: Path, program: os.stat_result, path: Path) -> bool:
    try:
        found = os.stat(str(process / "exe"))
    except OSError:
        return False
    if found.st_dev != program.st_dev:
        return False
    return found.st_ino == program.st_ino or _link(process / "exe") == os.fsencode(f"{path} (deleted)")


def _is_older_script(process: Path, names: Set[Path], since: float) -> bool:
    arguments = _read(process, "cmdline").split(b"\0")[:SCRIPT_ARGUMENTS]
    named = any(os.fsencode(str(name)) in arguments[1:] for name in names)
    return named and 0.0 < _started_at(process) < since - TICK_SECONDS


def _prefixes_of(tree: Path) -> FrozenSet[bytes]:
    """Return the path of a tree as it was given, and without links."""
    return frozenset(os.fsencode(str(path)) + b"/" for path in (tree, tree.resolve()))


def _uses(process: Path, prefix: bytes) -> bool:
    links = [process / "exe", process / "cwd", *_entries(process / "fd")]
    return any(prefix in _link(link) + b"/" for link in links) or any(
        prefix in _read(process, name) for name in ("cmdline", "maps")
    )


def _came_through(process: Path, link: Path, tree: Path) -> bool:
    if os.fsencode(str(link)) + b"/" not in _read(process, "cmdline"):
        return False
    try:
        seconds_since_link = time.time() - link.lstat().st_mtime
        is_of_current = time.clock_gettime(time.CLOCK_BOOTTIME) - _started_at(process) <= (
            seconds_since_link + TICK_SECONDS
        )
        return is_of_current == (os.path.basename(os.readlink(str(link))) == tree.name)
    except OSError:
        return True


def _started_at(process: Path) -> float:
    """Return when a process started, in seconds since boot; 0 if it is gone. Source: proc(5), stat."""
    try:
        ticks = int((process / "stat").read_text().rsplit(")", 1)[1].split()[19])  # field 22
    except (OSError, ValueError, IndexError):
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


def holders_of(file: Path) -> FrozenSet[int]:
    """Return the processes that have this file open."""
    wanted = os.fsencode(str(file.resolve()))
    return frozenset(
        int(path.name) for path in _processes() if any(_link(link) == wanted for link in _entries(path / "fd"))
    )


def sees_all_holders(file: Path) -> bool:
    """Return whether nothing can have this file open and use a tree without being found by `from_tree`.

    So it is where /proc shows every process of the machine, with all that it has open, and those that have the file
    open see the same file systems as we do: the paths of others are paths in their containers.
    """
    try:
        ours, wanted = os.readlink("/proc/self/ns/mnt"), file.stat()
        is_first = os.readlink("/proc/self/ns/pid") == FIRST_PROCESS_NAMESPACE
        may_inspect = int(_status_field("CapEff"), 16) >> CAP_SYS_PTRACE & 1
    except (OSError, ValueError):
        return False
    others = (path for path in _processes() if _link(path / "ns" / "mnt") != os.fsencode(ours))
    return bool(is_first and may_inspect) and not any(_has_open(path, wanted) for path in others)


def _status_field(name: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((line.split()[1] for line in lines if line.startswith(f"{name}:")), "")


def _has_open(process: Path, wanted: os.stat_result) -> bool:
    return any(has_lock(process, link.name, wanted) for link in _entries(process / "fd"))


def has_lock(process: Path, descriptor: str, wanted: os.stat_result) -> bool:
    """Return whether a process holds a lock on this file by this descriptor.

    Only a file with the right number is looked at: the others may be on file systems that do not answer.
    """
    locks = [line.split() for line in _read(process / "fdinfo", descriptor).splitlines() if line.startswith(b"lock:")]
    if not any(word.endswith(b":%d" % wanted.st_ino) for line in locks for word in line):
        return False
    try:
        found = os.stat(str(process / "fd" / descriptor))
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def end(pid: int) -> None:
    """Kill a process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def end_orphans(owner: str) -> None:
    """Kill the commands that an upgrade of this package left behind when it died, such as one that stops a service."""
    for pid in with_variable(OWNER, owner):
        end(pid)


def with_variable(name: str, value: str) -> FrozenSet[int]:
    """Return the processes with this variable in their environment, without our own."""
    wanted = os.fsencode(f"{name}={value}")
    found = (path for path in _processes() if wanted in _read(path, "environ").split(b"\0"))
    return frozenset(int(path.name) for path in found) - {os.getpid()}


def descendants(since: float) -> FrozenSet[int]:
    """Return every process below ours, started or adopted, that started at `since` or later.

    Args:
        since: seconds since boot.
    """
    children: Dict[int, List[int]] = {}
    for path in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(path.name))
    found: List[int] = []
    parents = [os.getpid()]
    while parents:
        fresh = children.get(parents.pop(), [])
        found += fresh
        parents += fresh
    return frozenset(pid for pid in found if _started_at(Path("/proc") / str(pid)) + TICK_SECONDS >= since)


def session_of(pid: int) -> int:
    """Return the session of a process; 0 if it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _processes() -> Iterator[Path]:
    proc = Path("/proc")
    return (path for path in proc.iterdir() if path.name.isdigit()) if proc.is_dir() else iter(())


def _entries(folder: Path) -> List[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _link(link: Path) -> bytes:
    try:
        return os.fsencode(os.readlink(str(link)))
    except OSError:
        return b""


def _read(process: Path, name: str) -> bytes:
    try:
        return (process / name).read_bytes()
    except OSError:
        return b""
