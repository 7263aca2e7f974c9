"""Migrations make exactly the schema that the code describes, on both engines."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import backfleet.app  # noqa: F401 - every module registers its tables
from backfleet.storage import Database, metadata, migrate, open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path / 'fresh.db'}")
    else:
        url = sa.make_url(request.getfixturevalue("postgresql_url"))
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS fresh")
            connection.execute("CREATE DATABASE fresh")
        database = open_database(url.set(database="fresh").render_as_string(hide_password=False))
    yield database
    database.close()


def test_migrations_make_the_schema_of_the_code(empty: Database) -> None:
    """No table, column or index is missing, and there is none besides."""
    migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [d for d in compare_metadata(context, metadata) if "alembic_version" not in str(d)]
    assert differences == []


def test_a_second_start_changes_nothing(empty: Database) -> None:
    """A database that has this version's schema is left as it is."""
    migrate(empty)
    migrate(empty)
    assert set(sa.inspect(empty.engine).get_table_names()) == {*metadata.tables, "alembic_version"}
