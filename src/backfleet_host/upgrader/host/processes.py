"""Which processes live on this host, whose they are, and which run from a tree. Source: proc(5)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List

OWNER = "BACKFLEET_PACKAGE"  # in the environment of all commands but those that leave a service: whose upgrade it is
SCRIPT_WORDS = 3  # an interpreter, perhaps one word of its own, and the script: execve(2)
LONGEST_COMM = 15  # bytes of a program's name that the kernel keeps
TICK_SECONDS = 0.02  # the kernel tells when a process began in hundredths of a second


def from_tree(tree: Path) -> List[int]:
    """Live processes that run from this tree: by program, library, open file, folder, or a path among their words.

    A script that was started through the link `current` has only the link among its words. It counts as of the version
    that is linked if it came after the link, else as of every other one: it is not known of which.
    """
    own, link = os.getpid(), tree.parent.parent / "current"
    names = _names_of(tree)
    return sorted(
        int(path.name)
        for path in _processes()
        if int(path.name) != own and (any(_uses(path, name) for name in names) or _came_through(path, link, tree))
    )


def is_program_of(pid: int, tree: Path) -> bool:
    """Whether a process is a program of this tree, and not merely somebody who looks into it.

    A script is among its interpreter's first words, and the kernel calls the process after it: an editor that has the
    same file among its words is called otherwise. Source: proc(5), comm.
    """
    process, link = Path("/proc") / str(pid), tree.parent.parent / "current"
    names = (*_names_of(tree), os.fsencode(str(link)) + b"/")
    called = _read(process, "comm").rstrip(b"\n")
    words = _read(process, "cmdline").split(b"\0")[:SCRIPT_WORDS]
    scripts = [word for word in words if os.path.basename(word)[:LONGEST_COMM] == called]
    return any(name in program for name in names for program in (_link(process / "exe"), *scripts))


def _names_of(tree: Path) -> FrozenSet[bytes]:
    """As it was called, and as it is called without links."""
    return frozenset(os.fsencode(str(name)) + b"/" for name in (tree, tree.resolve()))


def _uses(process: Path, wanted: bytes) -> bool:
    links = [process / "exe", process / "cwd", *_entries(process / "fd")]
    return any(wanted in _link(link) + b"/" for link in links) or any(
        wanted in _read(process, name) for name in ("cmdline", "maps")
    )


def _came_through(process: Path, link: Path, tree: Path) -> bool:
    if os.fsencode(str(link)) + b"/" not in _read(process, "cmdline"):
        return False
    try:
        linked_before = time.time() - link.lstat().st_mtime
        is_of_current = time.clock_gettime(time.CLOCK_BOOTTIME) - _began(process) <= linked_before + TICK_SECONDS
        return is_of_current == (os.path.basename(os.readlink(str(link))) == tree.name)
    except OSError:
        return True


def _began(process: Path) -> float:
    """When a process began, in seconds since the machine booted; for ever ago if it is gone. Source: proc(5), stat."""
    try:
        ticks = int((process / "stat").read_text().rsplit(")", 1)[1].split()[19])  # field 22
    except (OSError, ValueError, IndexError):
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


def holders_of(file: Path) -> FrozenSet[int]:
    """Live processes that have this file open."""
    wanted = os.fsencode(str(file.resolve()))
    return frozenset(
        int(path.name) for path in _processes() if any(_link(link) == wanted for link in _entries(path / "fd"))
    )


def end(pid: int) -> None:
    """End a process, whatever it does."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def end_orphans(owner: str) -> None:
    """End the commands that an upgrade of this package left when it died: one that still stops a service, say."""
    for pid in marked(OWNER, owner):
        end(pid)


def marked(name: str, value: str) -> FrozenSet[int]:
    """Those that carry this in their environment."""
    wanted = os.fsencode(f"{name}={value}")
    found = (path for path in _processes() if wanted in _read(path, "environ").split(b"\0"))
    return frozenset(int(path.name) for path in found) - {os.getpid()}


def descendants(since: float) -> FrozenSet[int]:
    """Every process that we, or one of them, started or adopted, and that began since then."""
    children: Dict[int, List[int]] = {}
    for path in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(path.name))
    found: List[int] = []
    open_ends = [os.getpid()]
    while open_ends:
        fresh = children.get(open_ends.pop(), [])
        found += fresh
        open_ends += fresh
    return frozenset(pid for pid in found if _began(Path("/proc") / str(pid)) + TICK_SECONDS >= since)


def session_of(pid: int) -> int:
    """Its session; 0 if it is gone."""
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
