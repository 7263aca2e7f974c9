"""An environment and the agents of its hosts."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.ecs.agents import Agents
from operations.environment import Environment, make_environment


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder. The keys in it take time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def env(database: Database, data: Path, now: datetime, draw: Draw) -> Environment:
    """An environment on each database engine."""
    return make_environment(database, data, now, draw)


@pytest.fixture
def agents(env: Environment) -> Agents:
    """The agents of its hosts."""
    return Agents(env)
