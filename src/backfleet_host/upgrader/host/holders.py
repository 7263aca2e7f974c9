"""Who holds a lock file, and whether that is a run of the client or only something that a run left behind.

A lock ends with the last descriptor of its open file, so the children of a run keep it too: also `ssh-agent`, which a
password command may have started, and which stays for good. Source: proc(5), fdinfo.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List

from backfleet_host.upgrader.host.processes import has_lock

LONGEST_COMMAND = 200  # characters of a command line that are shown
MOST_ANCESTORS = 64
_SECRET = re.compile(r"(?i)(pass|secret|token|key|credential)[^=\s]*[= ]\S+")
_USER_INFO = re.compile(r"(\w+://)[^/@\s]+@")


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock. Number 0 is one that cannot be seen from here."""

    process: int
    user: str = ""
    seconds: float = 0.0  # since its start
    command: str = ""
    is_run: bool = True  # of the client: it runs from a tree, uses one, or is a child of a process that does

    def __str__(self) -> str:
        """Return how messages name it."""
        if not self.process:
            return "a process that cannot be seen from here"
        return f"process {self.process} of {self.user}, which runs for {_age(self.seconds)}: {self.command}"


def holders_of_lock(file: Path, package: Path) -> List[Holder]:
    """Return the processes that hold a lock on this file, runs of the client first, the oldest of them first.

    Args:
        file: the lock file.
        package: the folder of the package, whose trees tell runs of the client from others.
    """
    try:
        wanted = file.stat()
    except OSError:
        return []
    own = os.getpid()
    pids = [pid for pid in _pids() if pid != own and _holds(Path("/proc") / str(pid), wanted)]
    found = [_describe(pid, package) for pid in pids]
    if _count_of_locks(wanted) > len(found):
        found.append(Holder(0))
    return sorted(found, key=lambda holder: (not holder.is_run, -holder.seconds))


def _holds(process: Path, wanted: os.stat_result) -> bool:
    """Return whether a process has the file open with a lock on it."""
    return any(has_lock(process, descriptor, wanted) for descriptor in _entries(process / "fd"))


def _count_of_locks(wanted: os.stat_result) -> int:
    """Return how many locks the kernel lists for a file: each is that of one process, or of one and its children."""
    name = f"{os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x}:{wanted.st_ino} ".encode()
    lines = _read(Path("/proc/locks")).splitlines()
    return sum(1 for line in lines if name in line and b"->" not in line)


def describe_process(pid: int) -> str:
    """Return how messages name a process."""
    process = Path("/proc") / str(pid)
    return str(Holder(pid, _user_of(process), _age_of(process), _command_of(process)))


def _describe(pid: int, package: Path) -> Holder:
    process = Path("/proc") / str(pid)
    return Holder(pid, _user_of(process), _age_of(process), _command_of(process), _is_run(pid, package))


def _is_run(pid: int, package: Path) -> bool:
    """Return whether a process uses a tree or is a shim of this package, or is a child of one that is."""
    for _ in range(MOST_ANCESTORS):
        if pid <= 1 or pid == os.getpid():
            return False
        if _uses(Path("/proc") / str(pid), package):
            return True
        pid = _parent_of(pid)
    return False


def _uses(process: Path, package: Path) -> bool:
    folders = {os.fsencode(str(path)) for path in (package, package.resolve())}
    prefixes = [folder + part for folder in folders for part in (b"/versions/", b"/current/")]
    links = [process / "exe", process / "cwd", *(process / "fd" / name for name in _entries(process / "fd"))]
    texts = [*map(_link, links), _read(process / "cmdline"), _read(process / "maps")]
    if any(prefix in text for prefix in prefixes for text in texts):
        return True
    # A shim that is about to become the client: it has the gate open, or has its path in it as a file of ours.
    gates = {folder + b"/gate" for folder in folders}
    return any(_link(link) in gates for link in links)


def _parent_of(pid: int) -> int:
    try:
        return int(_read(Path("/proc") / str(pid) / "stat").rsplit(b")", 1)[1].split()[1])
    except (IndexError, ValueError):
        return 0


def _user_of(process: Path) -> str:
    try:
        uid = process.stat().st_uid
    except OSError:
        return "an unknown user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _age_of(process: Path) -> float:
    try:
        ticks = int(_read(process / "stat").rsplit(b")", 1)[1].split()[19])  # field 22: since boot
    except (IndexError, ValueError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _command_of(process: Path) -> str:
    """Return a command line as messages show it: in one line, short, without what looks like a secret."""
    words = _read(process / "cmdline").rstrip(b"\0").split(b"\0")
    text = " ".join(word.decode("utf-8", "replace") for word in words) or _read(process / "comm").decode().strip()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    text = _USER_INFO.sub(r"\1...@", _SECRET.sub(r"\1...", text))
    return text if len(text) <= LONGEST_COMMAND else f"{text[:LONGEST_COMMAND]}..."


def _age(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"


def _pids() -> Iterator[int]:
    return (int(name) for name in _entries(Path("/proc")) if name.isdigit())


def _entries(folder: Path) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _link(link: Path) -> bytes:
    try:
        return os.fsencode(os.readlink(link))
    except OSError:
        return b""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
