"""The running endpoint of agents, and a host that has enrolled there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet.pubsub import InProcessPubSub
from backfleet.settings import Settings
from backfleet.storage import Database
from databases import sqlite_with_tables
from endpoints.agents.hosts import AgentServer, Host, start_server


@pytest.fixture
def start_on(tmp_path: Path, now: datetime) -> Iterator[Callable[..., AgentServer]]:
    """Return a function that starts the endpoint on a database with these settings. Stopped after the test."""
    with ExitStack() as ends:

        def start(database: Database, pubsub: InProcessPubSub | None = None, **settings: Any) -> AgentServer:
            server, shut = start_server(database, Settings(data=tmp_path, **settings), now, pubsub=pubsub)
            ends.callback(shut)
            return server

        yield start


@pytest.fixture
def server(sqlite_database: Database, start_on: Callable[..., AgentServer]) -> AgentServer:
    """The endpoint with the default settings."""
    return start_on(sqlite_database)


@pytest.fixture
def host(server: AgentServer) -> Iterator[Host]:
    """A host that has enrolled. Its sockets are dropped after the test."""
    found = server.enrol()
    yield found
    for channel in found.channels:
        channel.drop()


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that has enrolled at an endpoint that many tests share: for tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("shared")
    database = sqlite_with_tables(folder / "backfleet.db")
    server, shut = start_server(database, Settings(data=folder), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    yield server.enrol()
    shut()
    database.close()
