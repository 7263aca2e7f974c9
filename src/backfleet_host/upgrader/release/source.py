"""What a transaction asks of wherever releases come from: the one thing it needs of the world outside the host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Protocol

from backfleet_host.manifest import Manifest

if TYPE_CHECKING:
    from backfleet_host.contract import Order
    from backfleet_host.upgrader.host.installation import Package, Site


GoOn = Callable[[], None]
"""Asked again and again while something takes long. Raises Refusal once there is no time or no wish for more."""


@dataclass(frozen=True)
class Target:
    """A release as signed metadata describes it: how long, which hash, what to do with it."""

    path: str
    length: int
    sha256: str
    manifest: Manifest


class Source(Protocol):
    """Where releases come from."""

    def find(self, site: Site, order: Order, go_on: GoOn) -> Target:
        """The release an order names. Raises Refusal if nobody vouches for it."""

    def others(self, site: Site, order: Order, go_on: GoOn) -> List[Target]:
        """Every release of the same package and platform: what stepping stones are chosen from."""

    def fetch(self, site: Site, package: Package, target: Target, most_per_second: int, go_on: GoOn) -> Path:
        """The artifact on disk, every byte checked. Raises Refusal, OSError."""
