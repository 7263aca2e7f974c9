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
    made = Fleet(Helpers(make_environment(database, data, now, draw)))
    made.env.release("1.0")
    made.env.release("2.0")
    return made
