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
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire.credentials import Credentials
from databases import sqlite_with_tables
from endpoints.openapi.server import Server, SettableClock, enter_operations, listen
from made_keys import open_keys


def begin(
    database: Database, folder: Path, seen: list[Any], tls: ssl.SSLContext | None = None, **settings: Any
) -> tuple[Server, Callable[[], None]]:
    """Start a server on an empty database. Return it, and the function that stops it."""
    clock = SettableClock()
    vault, repository = open_keys(folder)
    services = Services(
        database=database,
        settings=Settings(data=folder, **{"ssh_allowed": "127.0.0.1/32", **settings}),
        vault=vault,
        repository=repository,
        draw=really_draw,
    )
    with database.transaction() as tx:
        key = identity.first_account(tx, services.vault, now=clock(), draw=services.draw)
    assert key is not None
    host, stop = listen(services, clock, tls)
    return Server(services, clock, host, Credentials(key.access_key_id, key.access_key_secret), seen), stop


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that many tests share: for tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("shared")
    database = sqlite_with_tables(folder / "backfleet.db")
    server, stop = begin(database, folder, [])
    yield server
    stop()
    database.close()


@pytest.fixture
def start_server(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server with these settings and TLS context. It is stopped after the test."""
    monkeypatch.setattr(catalogue, "_OPERATIONS", dict(catalogue._OPERATIONS))
    stops: list[Callable[[], None]] = []

    def start(tls: ssl.SSLContext | None = None, **settings: Any) -> Server:
        seen: list[Any] = []
        enter_operations(seen, tmp_path / "kept")
        server, stop = begin(sqlite_database, tmp_path, seen, tls, **settings)
        stops.append(stop)
        return server

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A server with the default settings."""
    return start_server()
