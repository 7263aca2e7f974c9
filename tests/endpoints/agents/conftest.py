"""A gate for each test that asks for one, and a host that has enrolled there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet.settings import Settings
from backfleet.storage import Database, metadata, open_database
from endpoints.agents.hosts import Gate, Host, open_gate


@pytest.fixture
def open_on(tmp_path: Path, now: datetime) -> Iterator[Callable[..., Gate]]:
    """Opens the door on a database; settings may be given. Shut after the test."""
    with ExitStack() as ends:

        def start(database: Database, **settings: Any) -> Gate:
            gate, shut = open_gate(database, Settings(data=tmp_path, **settings), now)
            ends.callback(shut)
            return gate

        yield start


@pytest.fixture
def gate(open_on: Callable[..., Gate], sqlite_database: Database) -> Gate:
    """A door with the settings it has when nobody says anything."""
    return open_on(sqlite_database)


@pytest.fixture
def host(gate: Gate) -> Iterator[Host]:
    """A host that has enrolled. Its sockets are dropped after the test."""
    found = gate.enrol()
    yield found
    for channel in found.channels:
        channel.drop()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that has enrolled at a door which stands for many tests: for those that leave nothing behind."""
    folder = tmp_path_factory.mktemp("standing")
    database = open_database(f"sqlite:///{folder / 'backfleet.db'}")
    metadata.create_all(database.engine)
    gate, shut = open_gate(database, Settings(data=folder), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    yield gate.enrol()
    shut()
    database.close()
