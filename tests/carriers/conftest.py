"""Helpers for tests of carriers, in an environment of hosts."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import Environment, make_environment


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn."""
    return make_environment(database, tmp_path, now, draw)
