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
from endpoints.openapi.serving import Hands, Served, enter_operations, listen


@pytest.fixture
def serve(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Served]]:
    """Starts a server; settings, and a context for TLS, may be given. Stopped after the test."""
    monkeypatch.setattr(catalogue, "_OPERATIONS", dict(catalogue._OPERATIONS))
    stops: list[Callable[[], None]] = []

    def start(tls: ssl.SSLContext | None = None, **settings: Any) -> Served:
        clock, seen = Hands(), []
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
        return Served(services, clock, host, Credentials(key.access_key_id, key.access_key_secret), seen)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """A server with the settings it has when nobody says anything."""
    return serve()
