"""A fleet whose rollouts are asked for by the API, and whose hosts answer their orders."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import make_environment
from rollouts.fleet import Fleet
from upgrades.helpers import Helpers


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def hosts(database: Database, data: Path, now: datetime, draw: Draw) -> Fleet:
    """On each engine in turn, with releases 1.0 and 2.0 of one package."""
    return make_fleet(database, data, now, draw)


@pytest.fixture
def sqlite_hosts(sqlite_database: Database, data: Path, now: datetime, draw: Draw) -> Fleet:
    """On SQLite alone: for tests of what no database decides."""
    return make_fleet(sqlite_database, data, now, draw)


def make_fleet(database: Database, data: Path, now: datetime, draw: Draw) -> Fleet:
    published: list[str] = []
    made = Fleet(Helpers(make_environment(database.publishing(published.append), data, now, draw), published))
    made.env.release("1.0")
    made.env.release("2.0")
    return made
