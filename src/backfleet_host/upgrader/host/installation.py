"""Where things are on this host. The directory is the state: what is not here does not exist.

<root>/<package>/
  versions/1.74.4/       one complete tree per version, read-only once it is unpacked (1:2.0 is 1%3a2.0)
  versions/.1.75.2.partial/   being unpacked; never run, removed at the next start
  facts/1.74.4.json      its manifest and the hash of every file in it
  current  -> versions/1.75.2    switched by renaming a new link over it
  previous -> versions/1.74.4    preserved and verified, to roll back to
  verified -> versions/1.75.2    the version that was verified last, for runs that waited too long at the gate
  downloads/<sha256>     verified artifacts and parts of them, until they are installed or a day old
  journal                the open attempt: one synced line per step done
  outcomes/<order>.json  the last attempts and their reports
  outcome.json           the last finished one
  uninstalled.json       the version that was last uninstalled
  staged.json            the versions that are staged for an order to come, and until when they stay
  settings.json          what the server set for the client, for whatever runs it here
  adopted.json           which programs of others the client took the place of, and where these are now
  adoption-refused.json  why a program of others could not be taken over
  kept/                  the snapshot of preserved state, while an attempt is open
  failed/1.76.0/         why a version was rolled back, and what it printed
  aside/                 copies of files that somebody changed or added and an order replaced or removed
  lock, gate, running    lock files
  unproven               exists from the switch until it is verified: shims that pass the gate all the same wait a while
<root>/trust/            the TUF root that the host was enrolled with, and signed metadata that was seen
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Callable, FrozenSet, List, Optional

from backfleet_host.download_paths import DOWNLOADS
from backfleet_host.files import PARTIAL
from backfleet_host.identity import read_identity
from backfleet_host.layout import DEFAULT_ROOT, POLICY, SYSTEMD, Places, version_folder, version_in_folder
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.holders import Holder, holders_of_lock
from backfleet_host.upgrader.host.policy import HostPolicy, read_host_policy
from backfleet_host.upgrader.host.processes import (
    end,
    end_orphans,
    from_tree,
    holders_of,
    is_program_of,
    sees_all_holders,
)
from backfleet_host.upgrader.host.shim import UNVERIFIED
from backfleet_host.upgrader.host.state_process import PreservedState, StateProcess
from backfleet_host.upgrader.host.subprocesses import Runner, run
from backfleet_host.upgrader.release.relays import Relay
from backfleet_host.upgrader.release.source import ReleaseServer, ReleaseSource

DEFAULT_BIN = Path("/usr/local/bin")
RESERVED_NAMES = frozenset({"agent", "trust", "bin", "etc", "runtime", "host"})
"""Folders under the root that are not packages, and `host.toml`. No package may have one of these names."""


@dataclass(frozen=True)
class Installation:
    """One root on one host, the server it belongs to, and how the host is looked at. Tests replace parts of it."""

    root: Path
    bin: Path  # where shims stand
    downloads: str  # address under which releases are found, without a last slash
    ca_file: Optional[Path]
    trust_root: bytes = field(repr=False)  # the TUF root that the host was enrolled with
    clock: Callable[[], float] = time.time
    load: Callable[[], float] = lambda: os.getloadavg()[0]  # of the last minute
    runner: Runner = run
    running: Callable[[Path], List[int]] = from_tree  # the processes that use a tree
    holders: Callable[[Path], FrozenSet[int]] = holders_of  # the processes that have a file open
    lock_holders: Callable[[Path, Path], List[Holder]] = holders_of_lock  # who holds a lock, by file and package
    sees_all_holders: Callable[[Path], bool] = sees_all_holders  # whether `running` finds all who have a file open
    is_program: Callable[[int, Path], bool] = is_program_of  # whether a process runs a program of a tree
    end: Callable[[int], None] = end  # kills a process
    preserved: Callable[[str, float], PreservedState] = StateProcess  # works on preserved state, for a package
    end_orphans: Callable[[str], None] = end_orphans  # kills commands that a dead upgrade left behind
    source: Optional[ReleaseSource] = None  # None = signed metadata from `downloads`
    system: Optional[Path] = None  # root of the file system that other package managers use; None = this root alone
    systemd: Path = SYSTEMD
    mirror: Optional[Relay] = None  # named by the command that the order came with, which is trusted as root

    def package(self, name: str) -> PackageFolder:
        """Return the folder of one package, there or not."""
        return PackageFolder(self.root / name, name)

    @property
    def etc(self) -> Path:
        """Where the host policy is: /etc/backfleet, or the root's own."""
        return self.host / POLICY

    @property
    def host(self) -> Path:
        """The root of the host's own file system, as far as this installation goes."""
        return self.system or self.root

    @property
    def release_server(self) -> ReleaseServer:
        """Where releases are downloaded, and what they are verified with."""
        return ReleaseServer(self.downloads, self.ca_file, self.trust_root, Places(self.root).trust, self.etc)

    def policy_or_default(self) -> HostPolicy:
        """Return the host policy; the default if it cannot be read, where that must stop nothing."""
        try:
            return read_host_policy(self.etc)
        except OrderFailed:
            return HostPolicy()

    def is_in_use(self, package: PackageFolder, tree: Path) -> bool:
        """Return whether a process may run from a tree that is not current: it is seen, or a run is that cannot be.

        Nothing can run from a tree that is half made, but a repair exchanges it for the one beside it.
        """
        lock, name = package.folder / "running", tree.name
        may_have_begun = not name.startswith(".") or (package.versions / name[1 : -len(PARTIAL)]).is_dir()
        is_hidden = may_have_begun and gate.is_anything_running(lock) and not self.sees_all_holders(lock)
        return bool(self.running(tree)) or is_hidden

    def packages(self) -> List[PackageFolder]:
        """Return every package that has anything here."""
        found = []
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            if folder.name not in RESERVED_NAMES and (folder / "versions").is_dir():
                found.append(PackageFolder(folder, folder.name))
        return found


@dataclass(frozen=True)
class PackageFolder:
    """The folder of one package."""

    folder: Path
    name: str

    @cached_property
    def versions(self) -> Path:
        """Folder with one tree per version."""
        return self.folder / "versions"

    @cached_property
    def current(self) -> Path:
        """The link that decides which version runs."""
        return self.folder / "current"

    @cached_property
    def previous(self) -> Path:
        """The link to the version that ran before."""
        return self.folder / "previous"

    @cached_property
    def verified(self) -> Path:
        """The link to the version that was verified last: what runs that waited too long at the gate run."""
        return self.folder / "verified"

    @cached_property
    def journal(self) -> Path:
        """The journal of the open attempt."""
        return self.folder / "journal"

    @cached_property
    def downloads(self) -> Path:
        """Folder of verified artifacts, by hash, and parts of them."""
        return self.folder / "downloads"

    @cached_property
    def snapshot(self) -> Path:
        """Folder of the snapshot of preserved state, while an attempt is open."""
        return self.folder / "kept"

    @cached_property
    def failed(self) -> Path:
        """Folder with evidence about versions that were rolled back."""
        return self.folder / "failed"

    @cached_property
    def aside(self) -> Path:
        """Folder with copies of what somebody changed or added, and an order replaced or removed."""
        return self.folder / "aside"

    @cached_property
    def unverified(self) -> Path:
        """Marker file: it tells shims that find the gate open that an upgrade was cut off."""
        return self.folder / UNVERIFIED

    @cached_property
    def staged(self) -> Path:
        """The versions that are staged for an order to come."""
        return self.folder / "staged.json"

    @cached_property
    def settings(self) -> Path:
        """What the server set for the client, for whatever runs it."""
        return self.folder / "settings.json"

    @cached_property
    def adopted(self) -> Path:
        """Which programs of others the client took the place of."""
        return self.folder / "adopted.json"

    @cached_property
    def refused(self) -> Path:
        """Why a program that is there could not be taken over."""
        return self.folder / "adoption-refused.json"

    def tree(self, version: str) -> Path:
        """Return the tree of a version, there or not."""
        return self.versions / version_folder(version)

    def partial(self, version: str) -> Path:
        """Return the folder in which a version is unpacked."""
        return self.versions / f".{version_folder(version)}{PARTIAL}"

    def facts(self, version: str) -> Path:
        """Return the file with the manifest of a version and the hashes of its tree."""
        return self.folder / "facts" / f"{version_folder(version)}.json"

    def evidence(self, version: str) -> Path:
        """Return the folder with evidence about a version that was rolled back, there or not."""
        return self.failed / version_folder(version)

    def outcome(self, order_id: str) -> Path:
        """Return the file that says how an order ended."""
        return self.folder / "outcomes" / f"{order_id}.json"

    @cached_property
    def uninstalled(self) -> Path:
        """Which version was last uninstalled: an install must not go below it either."""
        return self.folder / "uninstalled.json"

    def uninstalled_version(self) -> str:
        """Return the version that was last uninstalled; "" if none was."""
        version = (disk.read_json(self.uninstalled) or {}).get("version", "")
        return version if isinstance(version, str) else ""

    def version(self) -> str:
        """Return the version that `current` points to; "" if nothing is installed, or nothing of ours."""
        return self._version_of(self.current)

    def version_before(self) -> str:
        """Return the version that `previous` points to; "" if there is none of ours."""
        return self._version_of(self.previous)

    def unmanaged_links(self) -> List[str]:
        """Return one sentence for each of our two links that was pointed elsewhere or replaced by something else."""
        found = []
        for link in (self.current, self.previous):
            if link.is_symlink() and not self._version_of(link):
                found.append(f"{link} points to {os.readlink(str(link))}, which is not one of our versions")
            elif link.exists() and not link.is_symlink():
                found.append(f"{link} is not our link")
        return found

    def _version_of(self, link: Path) -> str:
        """Return the version that a link of ours points to. A link that leads elsewhere is not ours."""
        folder, name = os.path.split(os.path.normpath(disk.target_of_link(link)))
        return version_in_folder(name) if folder in ("versions", str(self.versions)) else ""

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.versions, self.downloads, self.folder / "facts", self.folder / "outcomes"):
            disk.make_folder(folder)


def installation_at(root: Path, downloads: str = "") -> Installation:
    """Return the installation of an enrolled root.

    Args:
        downloads: the address of the releases; "" = `/downloads` on the server of the enrolment.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    places = Places(root)
    identity = read_identity(places)
    address = downloads or f"https://{identity.server}{DOWNLOADS}"
    bin_folder = DEFAULT_BIN if root == DEFAULT_ROOT else root / "bin"
    trust_root = places.trusted_root.read_bytes()
    system = Path("/") if root == DEFAULT_ROOT else None
    return Installation(root, bin_folder, address.rstrip("/"), places.authority, trust_root, system=system)
