"""A world with clients to move."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.world import World, make_world


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def world(database: Database, data: Path, now: datetime, draw: Draw) -> World:
    """On each engine in turn."""
    return make_world(database, data, now, draw)
