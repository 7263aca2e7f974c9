"""Where things are on this host. The directory is the state: whatever is not here does not exist.

<root>/<package>/
  versions/1.74.4/       one complete tree per version, read-only once unpacked
  versions/.1.75.2.partial/   being unpacked; never run, removed at the next start
  facts/1.74.4.json      its manifest and the hash of every file in it
  current  -> versions/1.75.2    switched by renaming a new link over it
  previous -> versions/1.74.4    kept, verified, for going back
  downloads/<sha256>     verified artifacts, until the attempt is over
  journal                this attempt, one fsync'd line per step done
  outcomes/<order>.json  the last attempts and their reports
  outcome.json           the last finished one
  failed/1.76.0/         why a version was taken back, and what it said
  lock, gate, running    lock files
<root>/trust/            the root the host was enrolled with, and cached metadata
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

DEFAULT_ROOT = Path("/opt/backfleet")
DEFAULT_BIN = Path("/usr/local/bin")
NO_PACKAGES = frozenset({"agent", "trust", "bin"})
"""Folders under the root that are not packages. No package may be called so."""


@dataclass(frozen=True)
class Site:
    """One root on one host, and the server it belongs to."""

    root: Path
    bin: Path  # where shims stand
    downloads: str  # address under which releases are found, without a last slash
    ca_file: Optional[Path]
    trust_root: bytes = field(repr=False)
    clock: Callable[[], float] = time.time

    def package(self, name: str) -> Package:
        """Everything about one package."""
        return Package(self.root / name, name)

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
    def failed(self) -> Path:
        """Versions that were taken back."""
        return self.folder / "failed"

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
        """What `current` points to; "" if nothing is installed."""
        return _target(self.current)

    def version_before(self) -> str:
        """What `previous` points to; "" if nothing."""
        return _target(self.previous)

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.versions, self.downloads, self.folder / "facts", self.folder / "outcomes"):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def site_of(root: Path, downloads: str = "") -> Site:
    """The site of an enrolled root; `downloads` overrides where releases are found.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    from backfleet_host.agent.identity import read_identity
    from backfleet_host.agent.places import Places

    places = Places(root)
    identity = read_identity(places)
    address = downloads or f"https://{identity.server}/downloads"
    bin_folder = DEFAULT_BIN if root == DEFAULT_ROOT else root / "bin"
    trust_root = places.trusted_root.read_bytes()
    return Site(root, bin_folder, address.rstrip("/"), places.authority, trust_root)


def write_json(path: Path, value: Dict[str, Any]) -> None:
    """Whole or not at all, and there after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def read_json(path: Path) -> Optional[Dict[str, Any]]:
    """What was written, or None if nothing was, or nothing whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def point(link: Path, version: str) -> None:
    """Make a link to a version's tree, or none for "", in one step: it points here or there, never nowhere."""
    if not version:
        link.unlink(missing_ok=True)
    elif _target(link) != version:
        fresh = link.with_name(f".{link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("versions") / version)
        os.replace(fresh, link)
    sync(link.parent)


def sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(link: Path) -> str:
    try:
        return os.path.basename(os.readlink(str(link)))
    except OSError:
        return ""
