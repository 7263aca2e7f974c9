"""Every process that a script has started, also those that left its process group: found by their parents, and killed.

A process whose parent ended is given to the nearest ancestor that adopts orphans. The process that carries the task
adopts them, so that whatever the script starts stays below it. Linux only; elsewhere the process group is all there is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Dict, List

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
KILL_SECONDS = 5.0  # a process that the kernel does not end in this time is left behind
_PAUSE_SECONDS = 0.02


def adopt_orphans() -> bool:
    """Adopt the orphans among this process's descendants. Return whether the system can do that."""
    try:
        import ctypes

        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def kill_descendants() -> None:
    """Kill every descendant of this process, again until there is none: they may go on starting others."""
    until = time.monotonic() + KILL_SECONDS
    while time.monotonic() < until:
        found = descendants(os.getpid())
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def descendants(pid: int) -> List[int]:
    """Return the live descendants of a process."""
    children: Dict[int, List[int]] = {}
    for parent, child in _parents():
        children.setdefault(parent, []).append(child)
    found: List[int] = []
    wanted = [pid]
    while wanted:
        below = children.get(wanted.pop(), [])
        found += below
        wanted += below
    return found


def _parents() -> List[tuple[int, int]]:
    """Return the parent and the id of every process that has not ended."""
    pairs = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
                if fields[0] != b"Z":
                    pairs.append((int(fields[1]), int(name)))
    return pairs
