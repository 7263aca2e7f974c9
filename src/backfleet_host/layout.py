"""Every path the agent writes under its root, and how: whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

DEFAULT_ROOT = Path("/opt/backfleet")


@dataclass(frozen=True)
class Places:
    """Where things are under one root. Two agents never share a root."""

    root: Path

    @property
    def agent(self) -> Path:
        """The agent's own folder, readable by its user only."""
        return self.root / "agent"

    @property
    def identity(self) -> Path:
        """Who this host is to the server; its presence means: enrolled."""
        return self.agent / "identity.json"

    @property
    def key(self) -> Path:
        """The private key, made before the first registration is tried and kept for every retry."""
        return self.agent / "key.pem"

    @property
    def authority(self) -> Path:
        """A copy of the certificate authority that the server must be signed by."""
        return self.agent / "ca.pem"

    @property
    def lock(self) -> Path:
        """Held by the one agent of this root."""
        return self.agent / "lock"

    @property
    def boot(self) -> Path:
        """The boot during which an agent of this root last started."""
        return self.agent / "boot"

    @property
    def tasks(self) -> Path:
        """The journal: a folder for each task."""
        return self.agent / "tasks"

    @property
    def program(self) -> Path:
        """Unpacked copies of the host program, by content."""
        return self.agent / "program"

    @property
    def trusted_root(self) -> Path:
        """The release-signing root that this host was enrolled with."""
        return self.root / "trust" / "root.json"


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder and its parents; the last one gets this mode."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is there whole or not at all, and survives a power cut once this has returned."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in this folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def hold(path: Path, *, seconds: float = 0.0) -> Optional[int]:
    """Take the lock file at `path`: a descriptor that holds it until closed, or None if another process has it.

    `seconds` is how long it is waited for. An advisory lock vanishes with its process: none is ever stale.
    """
    until = time.monotonic() + seconds
    held = _try_to_hold(path)
    while held is None and time.monotonic() < until:
        time.sleep(0.05)
        held = _try_to_hold(path)
    return held


def _try_to_hold(path: Path) -> Optional[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    return file
