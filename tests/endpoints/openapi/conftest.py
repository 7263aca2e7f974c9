"""A server for each test that asks for one."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet import identity
from backfleet.ids import draw as really_draw
from backfleet.operations import catalogue
from backfleet.operations.catalogue import Services
from backfleet.releases import Repository
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server, SettableClock, enter_operations, listen


@pytest.fixture
def start_server(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server with these settings and TLS context. It is stopped after the test."""
    monkeypatch.setattr(catalogue, "_OPERATIONS", dict(catalogue._OPERATIONS))
    stops: list[Callable[[], None]] = []

    def start(tls: ssl.SSLContext | None = None, **settings: Any) -> Server:
        clock, seen = SettableClock(), []
        services = Services(
            database=sqlite_database,
            settings=Settings(data=tmp_path, **settings),
            vault=identity.Vault.open(tmp_path),
            repository=Repository.open(tmp_path),
            draw=really_draw,
        )
        with sqlite_database.transaction() as tx:
            key = identity.first_account(tx, services.vault, now=clock(), draw=services.draw)
        assert key is not None
        enter_operations(seen, tmp_path / "kept")
        host, stop = listen(services, clock, tls)
        stops.append(stop)
        return Server(services, clock, host, Credentials(key.access_key_id, key.access_key_secret), seen)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A server with the default settings."""
    return start_server()
