"""Every path the agent writes under its root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backfleet_host.files import hold_lock as hold
from backfleet_host.files import make_folder, sync_folder
from backfleet_host.files import write_file as write_whole

__all__ = ["DEFAULT_ROOT", "PACKAGE", "VERSION", "Places", "hold", "make_folder", "sync_folder", "write_whole"]

DEFAULT_ROOT = Path("/opt/backfleet")

PACKAGE = r"[a-z0-9][a-z0-9._+-]{0,63}"
"""The form of a package's name: it becomes a folder on hosts, and a part of a release's name."""

VERSION = r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}"
"""The form of a version's name: it becomes a folder on hosts, and a part of a release's name."""


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
