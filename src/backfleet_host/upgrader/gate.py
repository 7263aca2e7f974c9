"""Locks: one transaction per package, and the gate between "is the client idle?" and the switch.

The shim takes `gate` shared for a moment, then `running` shared for as long as the client runs. Whoever holds `gate`
exclusively keeps new runs waiting; whoever then gets `running` exclusively knows that no run is left. Advisory locks
vanish with their process: none is ever stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Callable, Iterator

from backfleet_host import files
from backfleet_host.upgrader.failpoints import effect

POLL_SECONDS = 0.02


class NotInTime(Exception):
    """Another process kept the lock for longer than there was time."""


@contextlib.contextmanager
def held(
    path: Path, *, seconds: float, mode: int = 0o600, wait: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold a lock file exclusively for as long as the block lasts.

    Args:
        seconds: how long to wait for the lock.
        wait: sleeps between two tries; what it raises ends the waiting.

    Raises:
        NotInTime: another process kept it for all of that time.
    """
    file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        until = time.monotonic() + seconds
        while not _try_lock(file):
            if time.monotonic() >= until:
                raise NotInTime(path.name)
            wait(POLL_SECONDS)
        yield
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_lock_files(folder: Path) -> None:
    """Make the two files that the shim opens, readable by every user who may run the client."""
    for name in ("gate", "running"):
        path = folder / name
        if not path.exists():
            with effect("lock file", path):
                _make(path)


def _make(path: Path) -> None:
    os.close(os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    files.set_mode(path, 0o644)
