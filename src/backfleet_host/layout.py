"""Where things are on a host, and the forms of the names that become folders there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = Path("/opt/backfleet")

HOST_PACKAGE = "backfleet-host"
"""The package that is the host program itself."""

POLICY = Path("etc", "backfleet")
"""Where the host policy is, below the folder that stands for `/`."""

ACTIVATION = "activation"
"""The file in that folder with which a prepared host enrols at its first start."""

SYSTEMD = Path("/run/systemd/system")
"""Exists exactly where systemd is the first process. Source: sd_booted(3)."""

SYSTEMD_UNITS = Path("/etc/systemd/system")
"""Where an administrator's own units are. Source: systemd.unit(5)."""

PACKAGE = r"[a-z0-9][a-z0-9._+-]{0,63}"
"""The form of a package's name: it becomes a folder on hosts, and a part of a release's name."""

VERSION = r"[A-Za-z0-9][A-Za-z0-9._+~:^-]{0,63}"
"""The form of a version's name, in every scheme. `version_folder` makes it a name of a folder and of a download."""

_ESCAPED = re.compile(r"[^A-Za-z0-9._+~-]")
_ESCAPE = re.compile(r"%([0-9a-f]{2})")


def version_folder(version: str) -> str:
    """Return the name of a version's folders and files on hosts, and its part of a release's name.

    Only `:` and `^` differ from the version: a colon ends an entry of PATH and begins a port, and old file systems take
    neither. Two versions never have the same name, and `version_in_folder` gives back the version.
    """
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02x}", version)


def version_in_folder(name: str) -> str:
    """Return the version whose folder has this name; "" if no version's has."""
    version = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
    return version if re.fullmatch(VERSION, version) and version_folder(version) == name else ""


def system_folder(root: Path) -> Path:
    """Return the folder that stands for `/` on a host.

    It is `/` for the default root. Any other root stands for a host of its own, which changes nothing outside of it.
    """
    return Path("/") if root == DEFAULT_ROOT else root


def policy_folder(root: Path) -> Path:
    """Return the folder that holds the host policy: /etc/backfleet, or the same under another root."""
    return system_folder(root) / POLICY


@dataclass(frozen=True)
class Places:
    """Where the agent's files are under one root. Two agents never share a root."""

    root: Path

    @property
    def agent(self) -> Path:
        """The agent's own folder, readable by its user only."""
        return self.root / "agent"

    @property
    def identity(self) -> Path:
        """The identity that the server gave this host. Where it exists, the host is enrolled."""
        return self.agent / "identity.json"

    @property
    def key(self) -> Path:
        """The private key. It is made before the first registration is tried, and kept for every further try."""
        return self.agent / "key.pem"

    @property
    def next_key(self) -> Path:
        """The key of an enrolled host that is getting a new identity; it replaces the other one when it has it."""
        return self.agent / "next_key.pem"

    @property
    def prepared(self) -> Path:
        """What a host that enrols at its first start knows of its server."""
        return self.agent / "prepared.json"

    @property
    def prepared_authority(self) -> Path:
        """The certificate authority of that server."""
        return self.agent / "prepared_ca.pem"

    @property
    def prepared_root(self) -> Path:
        """The release root that such a host is to trust instead of the server's."""
        return self.agent / "prepared_root.json"

    @property
    def activation(self) -> Path:
        """The activation that such a host enrols with; removed once it has."""
        return policy_folder(self.root) / ACTIVATION

    @property
    def authority(self) -> Path:
        """A copy of the certificate authority that must have signed the server's certificate."""
        return self.agent / "ca.pem"

    @property
    def lock(self) -> Path:
        """The lock file of the one agent of this root."""
        return self.agent / "lock"

    @property
    def ready(self) -> Path:
        """Which program the agent runs from; it is there once that agent is connected, until the next one starts."""
        return self.agent / "ready.json"

    @property
    def starts(self) -> Path:
        """What the watchdog of the host program saw of the agent's starts when it looked last."""
        return self.agent / "starts.json"

    @property
    def boot(self) -> Path:
        """The boot during which an agent of this root last started."""
        return self.agent / "boot"

    @property
    def tasks(self) -> Path:
        """The journal of tasks: a folder for each."""
        return self.agent / "tasks"

    @property
    def runs(self) -> Path:
        """The ledger of runs of clients."""
        return self.agent / "runs.jsonl"

    @property
    def program(self) -> Path:
        """Unpacked copies of the host program, named by their content."""
        return self.agent / "program"

    @property
    def bootstrap(self) -> Path:
        """What orders for a host with another agent need: the program, the authority, answers to repeated orders."""
        return self.agent / "brought"

    @property
    def trust(self) -> Path:
        """What the upgrader verifies releases with."""
        return self.root / "trust"

    @property
    def trusted_root(self) -> Path:
        """The release-signing root that this host was enrolled with."""
        return self.trust / "root.json"
