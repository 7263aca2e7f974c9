"""Where releases come from: what a transaction asks of a source of releases, and how a source reaches its server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, List, Optional, Protocol, Tuple

from backfleet_host.contract import Order
from backfleet_host.manifest import Manifest

InterruptCheck = Callable[[], None]
"""Called again and again during what takes long. Raises OrderFailed if the order was cancelled or is out of time."""


@dataclass(frozen=True)
class ReleaseServer:
    """Where this host downloads releases, and what it verifies them with."""

    address: str  # without a last slash
    ca_file: Optional[Path]  # the only authority that is trusted for TLS; None = the system's
    trusted_root: bytes = field(repr=False)  # the TUF root that this host was enrolled with
    trust_folder: Path  # for signed metadata that was seen
    policy_folder: Path  # host.toml there may name a proxy
    uses_proxy: bool = True  # False = the proxy is not for this address
    most_tries: int = 0  # of one request; 0 = as many as the order has time for


@dataclass(frozen=True)
class SignedFile:
    """A file as signed metadata describes it."""

    path: str
    length: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Delta(SignedFile):
    """A file that makes the content of a release of that of another version (`backfleet_host.deltas`)."""

    base_version: str
    base_sha256: str  # of the contents of that version's files, one after the other
    base_length: int  # bytes
    result_sha256: str  # of an uncompressed tar of the release
    result_length: int  # bytes


@dataclass(frozen=True)
class ReleaseTarget(SignedFile):
    """A release as signed metadata describes it: its artifact, and what else can be downloaded instead."""

    manifest: Manifest
    deltas: Tuple[Delta, ...] = ()


class ReleaseSource(Protocol):
    """Where releases come from. Every method raises OrderFailed if that fails or `check_interrupted` does."""

    def find(self, server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> ReleaseTarget:
        """Return the release that an order names. Raises OrderFailed if no signed metadata names it."""

    def others(self, server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> List[ReleaseTarget]:
        """Return every release of the same package and platform: intermediate versions are chosen from them."""

    def is_offered(self, server: ReleaseServer, order: Order, version: str, check_interrupted: InterruptCheck) -> bool:
        """Return whether signed metadata names another version of an order's package for its platform."""

    def fetch(
        self,
        server: ReleaseServer,
        target: SignedFile,
        folder: Path,
        bytes_per_second: int,
        check_interrupted: InterruptCheck,
    ) -> Path:
        """Download an artifact or delta into `folder`, verified; 0 bytes per second = no limit. Raises OSError too."""
