"""Where things are on this host. The directory is the state: whatever is not here does not exist.

<root>/<package>/
  versions/1.74.4/       one complete tree per version, read-only once unpacked
  versions/.1.75.2.partial/   being unpacked; never run, removed at the next start
  facts/1.74.4.json      its manifest and the hash of every file in it
  current  -> versions/1.75.2    switched by renaming a new link over it
  previous -> versions/1.74.4    kept, verified, for going back
  downloads/<sha256>     verified artifacts and parts of them, until they are installed or a day old
  journal                this attempt, one fsync'd line per step done
  outcomes/<order>.json  the last attempts and their reports
  outcome.json           the last finished one
  settings.json          what operators set for the client, for whatever runs it here
  kept/                  the snapshot of state that must survive, while an attempt is open
  failed/1.76.0/         why a version was taken back, and what it said
  lock, gate, running    lock files
  unproven               there from the switch to its end: shims that find the gate open all the same wait a while
<root>/trust/            the root the host was enrolled with, and cached metadata
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, FrozenSet, List, Optional

from backfleet_host.contract import is_version
from backfleet_host.upgrader.host import disk
from backfleet_host.upgrader.host.processes import end, end_orphans, from_tree, holders_of, is_program_of
from backfleet_host.upgrader.host.services import SYSTEMD
from backfleet_host.upgrader.host.shim import UNPROVEN
from backfleet_host.upgrader.host.subprocesses import Runner, run
from backfleet_host.upgrader.release.source import Source

DEFAULT_ROOT = Path("/opt/backfleet")
DEFAULT_BIN = Path("/usr/local/bin")
NO_PACKAGES = frozenset({"agent", "trust", "bin", "etc", "runtime", "host"})
"""Folders under the root that are not packages, and the host's own words. No package may be called so."""


@dataclass(frozen=True)
class Site:
    """One root on one host, and the server it belongs to."""

    root: Path
    bin: Path  # where shims stand
    downloads: str  # address under which releases are found, without a last slash
    ca_file: Optional[Path]
    trust_root: bytes = field(repr=False)
    clock: Callable[[], float] = time.time
    load: Callable[[], float] = lambda: os.getloadavg()[0]  # of the last minute
    runner: Runner = run
    running: Callable[[Path], List[int]] = from_tree  # which processes run from a tree
    holders: Callable[[Path], FrozenSet[int]] = holders_of  # which processes have a file open
    is_program: Callable[[int, Path], bool] = is_program_of  # whether a process is a program of a tree
    end: Callable[[int], None] = end  # a process, whatever it does
    end_orphans: Callable[[str], None] = end_orphans  # commands that an upgrade which died left behind
    source: Optional[Source] = None  # where releases come from; None = signed metadata from `downloads`
    system: Optional[Path] = None  # where other managers' files are looked for; None = this root is a host of its own
    systemd: Path = SYSTEMD

    def package(self, name: str) -> Package:
        """Everything about one package."""
        return Package(self.root / name, name)

    @property
    def etc(self) -> Path:
        """Where this host's own words about upgrades are: /etc/backfleet, or the root's own."""
        return self.host / "etc" / "backfleet"

    @property
    def host(self) -> Path:
        """The root of the host's own file system, as far as this site goes."""
        return self.system or self.root

    def packages(self) -> List[Package]:
        """Every package with anything here."""
        found = []
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            if folder.name not in NO_PACKAGES and (folder / "versions").is_dir():
                found.append(Package(folder, folder.name))
        return found


@dataclass(frozen=True)
class Package:
    """The folder of one package."""

    folder: Path
    name: str

    @property
    def versions(self) -> Path:
        """One tree per version."""
        return self.folder / "versions"

    @property
    def current(self) -> Path:
        """The link that decides what runs."""
        return self.folder / "current"

    @property
    def previous(self) -> Path:
        """The link to what ran before."""
        return self.folder / "previous"

    @property
    def journal(self) -> Path:
        """This attempt."""
        return self.folder / "journal"

    @property
    def downloads(self) -> Path:
        """Verified artifacts by hash."""
        return self.folder / "downloads"

    @property
    def kept(self) -> Path:
        """The snapshot of state that must survive, while an attempt is open."""
        return self.folder / "kept"

    @property
    def failed(self) -> Path:
        """Versions that were taken back."""
        return self.folder / "failed"

    @property
    def unproven(self) -> Path:
        """The mark that tells shims, should the gate be open, that an upgrade was cut off."""
        return self.folder / UNPROVEN

    @property
    def settings(self) -> Path:
        """What operators set for the client, for whatever runs it."""
        return self.folder / "settings.json"

    def tree(self, version: str) -> Path:
        """The tree of a version, there or not."""
        return self.versions / version

    def partial(self, version: str) -> Path:
        """Where a version is unpacked."""
        return self.versions / f".{version}.partial"

    def facts(self, version: str) -> Path:
        """What is known of a version's tree."""
        return self.folder / "facts" / f"{version}.json"

    def outcome(self, order_id: str) -> Path:
        """How an order ended."""
        return self.folder / "outcomes" / f"{order_id}.json"

    def version(self) -> str:
        """What `current` points to; "" if nothing is installed, or nothing of ours."""
        return self._pointed_to(self.current)

    def version_before(self) -> str:
        """What `previous` points to; "" if nothing of ours."""
        return self._pointed_to(self.previous)

    def strangers(self) -> List[str]:
        """Links that somebody pointed elsewhere, or put something else in the place of; a sentence each."""
        found = []
        for link in (self.current, self.previous):
            if link.is_symlink() and not self._pointed_to(link):
                found.append(f"{link} points to {os.readlink(str(link))}, which is none of ours")
            elif link.exists() and not link.is_symlink():
                found.append(f"{link} is not our link")
        return found

    def _pointed_to(self, link: Path) -> str:
        """The version a link of ours points to. What leads elsewhere is not ours, whatever it is called."""
        folder, name = os.path.split(os.path.normpath(disk.words_of(link)))
        return name if folder in ("versions", str(self.versions)) and is_version(name) else ""

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.versions, self.downloads, self.folder / "facts", self.folder / "outcomes"):
            disk.make_folder(folder)


def site_of(root: Path, downloads: str = "") -> Site:
    """The site of an enrolled root; `downloads` overrides where releases are found.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    from backfleet_host.identity import read_identity  # not needed for a site that is already known
    from backfleet_host.layout import Places

    places = Places(root)
    identity = read_identity(places)
    address = downloads or f"https://{identity.server}/downloads"
    bin_folder = DEFAULT_BIN if root == DEFAULT_ROOT else root / "bin"
    trust_root = places.trusted_root.read_bytes()
    system = Path("/") if root == DEFAULT_ROOT else None
    return Site(root, bin_folder, address.rstrip("/"), places.authority, trust_root, system=system)
