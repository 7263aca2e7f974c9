"""Helpers for tests of commands."""

from datetime import datetime

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from commands.helpers import Helpers


def helpers_on(database: Database, now: datetime, draw: Draw) -> Helpers:
    published: list[str] = []
    return Helpers(database.publishing(published.append), now, draw, published)


@pytest.fixture
def helpers(database: Database, now: datetime, draw: Draw) -> Helpers:
    """On each engine in turn."""
    return helpers_on(database, now, draw)


@pytest.fixture
def replicas(postgresql_database: Database, now: datetime, draw: Draw) -> Helpers:
    """Where two transactions can be open at once."""
    return helpers_on(postgresql_database, now, draw)
