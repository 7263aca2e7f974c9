"""A relay between hosts and a server of releases that can misbehave. Documents, bytes and signatures are real."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from backfleet.certificates import Certificates, prepare_certificates
from backfleet.relay import Cache, Relay, Upstream, add_to
from backfleet_host.contract import Order, Report
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import Installation, carry_out_on
from backfleet_host.upgrader.release import repository
from host.upgrader.fake_repository import PACKAGE, FakeRepository, Server, served
from listening import end_of

SIZE = 400_000  # bytes that an artifact has at least


@dataclass
class Site:
    """Hosts behind one line, their relay, and the server at its other end."""

    folder: Path
    offering: FakeRepository
    server: Server
    authority: Path
    relays: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def host(self, name: str, *, server: str = "", relays: list[str] | None = None) -> Installation:
        """Return a host that names the relays, and else goes to the server, or to another address."""
        root = self.folder / name
        (root / "etc" / "backfleet").mkdir(parents=True)
        made = Installation(
            root, root / "bin", f"{server or self.server.address}/downloads", self.authority, self.offering.trust_root
        )
        made.etc.mkdir(parents=True, exist_ok=True)
        (made.etc / "host.toml").write_text(f"relays = {json.dumps(self.relays if relays is None else relays)}\n")
        return made

    def artifacts_sent(self) -> list[str]:
        """Return the ranges of the downloads of artifacts that the server was asked for."""
        return [asked for path, asked in self.server.asked if path.startswith("targets/")]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return prepare_certificates(tmp_path_factory.mktemp("relay"), ["127.0.0.1"], now=datetime.now(UTC))


@pytest.fixture
def site(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with the release 1.0; no relay yet."""
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.005)
    offering = FakeRepository()
    offering.add("1.0", padding=SIZE)
    with served(offering.files, certificates.context()) as server:
        yield Site(tmp_path, offering, server, certificates.authority)


def order(kind: str, version: str, seconds: int = 60) -> Order:
    return Order(f"u-{time.monotonic_ns()}", kind, PACKAGE, version, platform_here(), seconds)


def carry(host: Installation, kind: str = "install", version: str = "1.0", seconds: int = 60) -> Report:
    """Carry an order out on a host."""
    return carry_out_on(host, order(kind, version, seconds), lambda line: None)


@contextmanager
def relaying(site: Site, *, most_bytes: int = 1 << 30, folder: str = "cache") -> Iterator[str]:
    """Run a relay of the site in a thread; yield its address, which new hosts then name."""
    loop, cache = asyncio.new_event_loop(), Cache(site.folder / folder, most_bytes)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Relay, web.AppRunner, str]:
        trusted = ssl.create_default_context(cafile=str(site.authority))
        relay = Relay(Upstream(site.server.address, trusted), cache, clock=lambda: site.clock())  # noqa: PLW0108 - a test changes it
        app = web.Application()
        add_to(app, relay)
        runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return relay, runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(relay: Relay, runner: web.AppRunner) -> None:
        await relay.close()
        await end_of(runner)

    relay, runner, address = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    site.relays.append(address)
    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(stop(relay, runner), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        site.relays.remove(address)
