"""Hands for the room of commands."""

from datetime import datetime

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from commands.hands import Hands


def hands_on(database: Database, now: datetime, draw: Draw) -> Hands:
    published: list[str] = []
    return Hands(Database(database.engine, published.append), now, draw, published)


@pytest.fixture
def hands(database: Database, now: datetime, draw: Draw) -> Hands:
    """On each engine in turn."""
    return hands_on(database, now, draw)


@pytest.fixture
def replicas(postgresql_database: Database, now: datetime, draw: Draw) -> Hands:
    """Where two transactions can be open at once."""
    return hands_on(postgresql_database, now, draw)
