"""Locks: one transaction per package, and the gate between "is the client idle?" and the switch.

The shim takes `gate` shared for a moment, then `running` shared for as long as the client runs. Whoever holds `gate`
exclusively keeps new runs waiting; who then could take `running` exclusively knows that no run is left. Locks vanish
with their process: none is ever stale.

These two are record locks of the open file (fcntl(2), F_OFD_SETLK): an exclusive one needs the right to write the file,
so that nobody but the owner can close the gate. Shims of the `sh` form use flock(2), which anybody can take who may
read the file, and neither kind sees the other. So both are taken here; docs/decisions/0026-native-shim.md has the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Callable, Iterator

from backfleet_host import files
from backfleet_host.upgrader.failpoints import effect

POLL_SECONDS = 0.02
FLOCK_SECONDS = 1.0  # for an flock on the gate that no installed shim can have taken, then it is ignored
SET_RECORD_LOCK = 37  # F_OFD_SETLK of fcntl.h
RECORD = "hhqqi4x"  # struct flock of fcntl(2), with a 64-bit off_t as Python has it: type, whence, start, length, pid


class NotInTime(Exception):
    """Another process kept the lock for longer than there was time."""


@contextlib.contextmanager
def held(
    path: Path, *, seconds: float, mode: int = 0o600, wait: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold a lock file that only upgraders use, exclusively, for as long as the block lasts.

    Args:
        seconds: how long to wait for the lock.
        wait: sleeps between two tries; what it raises ends the waiting.

    Raises:
        NotInTime: another process kept it for all of that time.
    """
    file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        until = time.monotonic() + seconds
        while not _try_flock(file):
            if time.monotonic() >= until:
                raise NotInTime(path.name)
            wait(POLL_SECONDS)
        yield
    finally:
        os.close(file)


class Gate:
    """The gate of a package, kept closed until `open`."""

    def __init__(self, path: Path, file: int, *, was_replaced: bool = False) -> None:
        self._path, self._file, self.was_replaced = path, file, was_replaced

    def renew(self) -> None:
        """Tell the runs that wait that it is kept closed on purpose: their time at the gate begins anew."""
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def open(self) -> None:
        """Let runs begin."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def close(path: Path, *, seconds: float, some_take_flock: bool) -> Gate:
    """Close the gate, so that no run begins until it is opened.

    If another process keeps a record lock on it for longer than there is time, that must be a neighbour's: a shim keeps
    it for an instant. Then another file takes its place, which every shim looks for, and the order goes on.

    Args:
        seconds: how long to wait for shims that are just passing.
        some_take_flock: a shim of this package takes flock(2). Such a shim does not look for another file.

    Raises:
        NotInTime: another process kept it for all of that time.
    """
    file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        began = time.monotonic()
        while True:
            has_record, has_flock = _try_record_lock(file), _try_flock(file)
            waited = time.monotonic() - began
            if has_record and (has_flock or (not some_take_flock and waited >= FLOCK_SECONDS)):
                return Gate(path, file)
            if waited >= seconds:
                break
            _release(file)  # or those would wait who have one of the two, and want the other
            time.sleep(POLL_SECONDS)
        if some_take_flock:
            raise NotInTime(path.name)
        replacing = _replacement(path)
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return Gate(path, replacing, was_replaced=True)


def is_anything_running(path: Path) -> bool:
    """Return whether somebody has a lock on `running`, of either kind."""
    file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        return not (_try_record_lock(file) and _try_flock(file))
    finally:
        os.close(file)


def has_record_locks(folder: Path) -> bool:
    """Return whether this kernel and the file system of this folder have record locks of the open file."""
    file = -1
    try:
        file = os.open(str(folder / "gate"), os.O_RDONLY | os.O_CLOEXEC)
        fcntl.fcntl(file, SET_RECORD_LOCK, struct.pack(RECORD, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    finally:
        if file >= 0:
            os.close(file)
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


def _replacement(path: Path) -> int:
    """Put a new, closed gate in the place of the one that somebody keeps locked; return its descriptor."""
    fresh = path.with_name(f".{path.name}.new")
    with effect("replace", path):
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        file = os.open(str(fresh), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            files.set_mode(file, 0o644)
            _try_record_lock(file)
            os.replace(fresh, path)
        except BaseException:
            os.close(file)
            raise
    return file


def _try_record_lock(file: int) -> bool:
    """Take the record lock, without waiting. Where there are none, no shim takes any, and it counts as taken."""
    try:
        fcntl.fcntl(file, SET_RECORD_LOCK, struct.pack(RECORD, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as problem:
        return problem.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _try_flock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(file: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.fcntl(file, SET_RECORD_LOCK, struct.pack(RECORD, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
    fcntl.flock(file, fcntl.LOCK_UN)
