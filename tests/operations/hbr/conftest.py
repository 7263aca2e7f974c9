"""An environment of hosts and clients."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import Environment, make_environment


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def env(database: Database, data: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn."""
    return make_environment(database, data, now, draw)
