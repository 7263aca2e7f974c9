"""Bring a database to this version's schema."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from backfleet.storage._database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6261636B  # PostgreSQL's advisory lock; any number that all replicas share


def migrate(database: Database, revision: str = "head") -> None:
    """Run every migration that this database lacks, up to `revision`. Replicas that start together take turns."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.connect().execution_options(timed=False) as connection, connection.begin():
        if database.engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
