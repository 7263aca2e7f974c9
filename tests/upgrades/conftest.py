"""Helpers for tests of upgrades, in an environment of hosts and clients."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import Environment, make_environment
from upgrades.helpers import Helpers


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def env(database: Database, data: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn."""
    return make_environment(database, data, now, draw)


@pytest.fixture
def helpers(database: Database, data: Path, now: datetime, draw: Draw) -> Helpers:
    """On each engine in turn."""
    return helpers_on(database, data, now, draw)


@pytest.fixture
def replicas(postgresql_database: Database, data: Path, now: datetime, draw: Draw) -> Helpers:
    """Where two transactions can be open at once."""
    return helpers_on(postgresql_database, data, now, draw)


def helpers_on(database: Database, data: Path, now: datetime, draw: Draw) -> Helpers:
    published: list[str] = []
    return Helpers(make_environment(database.publishing(published.append), data, now, draw), published)
