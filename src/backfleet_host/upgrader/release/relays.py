"""Relays near this host: they are asked before the server, and trusted with nothing.

What a relay sends is verified as what the server sends. One that fails, lies or is slow is not asked again by the same
order, and what it did stands in the report.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Set, TypeVar

from backfleet_host.contract import Order
from backfleet_host.download_paths import DOWNLOADS
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release.source import (
    InterruptCheck,
    ReleaseServer,
    ReleaseSource,
    ReleaseTarget,
    SignedFile,
)

TRIES = 3  # of one request at a relay
_RELAY_FAILED = ("DownloadFailed", "UntrustedRelease")

Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class Relay:
    """An address that is asked before the server."""

    name: str  # as in the report
    address: str  # below it is what is below the server's `/downloads`; without a last slash
    ca_file: Optional[Path] = None  # the only authority that is trusted for TLS; None = the system's
    uses_proxy: bool = False


def named_by_policy(relay: str) -> Relay:
    """Return a relay that the administrator of this host wrote as http://HOST:PORT or https://HOST:PORT."""
    return Relay(relay, f"{relay.rstrip('/')}{DOWNLOADS}")


def mirror_at(address: str, ca_file: str) -> Optional[Relay]:
    """Return the mirror that the command of an order names; None if it names none.

    Args:
        address: below it is what is below the server's downloads.
        ca_file: the authority for it; "" = those of the system.
    """
    return Relay(address, address.rstrip("/"), Path(ca_file) if ca_file else None, uses_proxy=True) if address else None


class Relayed:
    """A source of releases that asks relays first, and then the server.

    Args:
        source: asks one address.
        relays: the first one is asked first.
        seconds: what all of them may take, of the order's time: enough must be left for the server.
        note: called with a relay and what it did wrong.
    """

    def __init__(
        self, source: ReleaseSource, relays: Sequence[Relay], seconds: float, note: Callable[[str, OrderFailed], None]
    ) -> None:
        self._source, self._relays, self._seconds_left, self._note = source, tuple(relays), seconds, note
        self._failed: Set[str] = set()

    def find(self, server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> ReleaseTarget:
        """As `ReleaseSource.find`."""
        return self._ask(server, check_interrupted, lambda one, check: self._source.find(one, order, check))

    def others(self, server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> List[ReleaseTarget]:
        """As `ReleaseSource.others`."""
        return self._ask(server, check_interrupted, lambda one, check: self._source.others(one, order, check))

    def is_offered(self, server: ReleaseServer, order: Order, version: str, check_interrupted: InterruptCheck) -> bool:
        """As `ReleaseSource.is_offered`."""
        return self._ask(
            server, check_interrupted, lambda one, check: self._source.is_offered(one, order, version, check)
        )

    def fetch(
        self,
        server: ReleaseServer,
        target: SignedFile,
        folder: Path,
        bytes_per_second: int,
        check_interrupted: InterruptCheck,
    ) -> Path:
        """As `ReleaseSource.fetch`."""
        return self._ask(
            server,
            check_interrupted,
            lambda one, check: self._source.fetch(one, target, folder, bytes_per_second, check),
        )

    def _ask(
        self,
        server: ReleaseServer,
        check_interrupted: InterruptCheck,
        ask: Callable[[ReleaseServer, InterruptCheck], Found],
    ) -> Found:
        for relay in self._relays:
            if relay.name in self._failed or self._seconds_left <= 0:
                continue
            began = time.monotonic()
            try:
                return ask(_relay_of(server, relay), _limited(check_interrupted, began + self._seconds_left))
            except OrderFailed as problem:
                if problem.code not in _RELAY_FAILED:
                    raise
                if problem.reason != "NotOffered":  # its metadata is of before that release; its bytes are good
                    self._failed.add(relay.name)
                    self._note(relay.name, problem)
            finally:
                self._seconds_left -= time.monotonic() - began
        return ask(server, check_interrupted)


def _relay_of(server: ReleaseServer, relay: Relay) -> ReleaseServer:
    return dataclasses.replace(
        server, address=relay.address, ca_file=relay.ca_file, uses_proxy=relay.uses_proxy, most_tries=TRIES
    )


def _limited(check_interrupted: InterruptCheck, until: float) -> InterruptCheck:
    def check() -> None:
        check_interrupted()
        if time.monotonic() > until:
            raise OrderFailed("DownloadFailed", "the relay was too slow", "TooSlow")

    return check
