"""Bring a database to this version's schema."""

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from backfleet.storage._database import Database
from backfleet.storage._schema import FIRST, WrongSchema, check_revision, check_schema, complete_first_schema
from backfleet.storage._ways import UNTIMED, begun

MIGRATIONS = Path(__file__).parent / "migrations"
REVISIONS = "alembic_version"  # the table with the revision, which is nobody's data
_MIGRATION_LOCK = 0x6261636B  # PostgreSQL's advisory lock; any number that all replicas share

log = logging.getLogger(__name__)


def migrate(database: Database, revision: str = "head") -> None:
    """Run every migration that this database lacks, up to `revision`. Replicas that start together take turns.

    Raises:
        WrongSchema: a newer version made the database, or its schema is not one that migrations make.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    with begun(database.engine, UNTIMED) as connection:
        if database.engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        found = revision_of(connection)
        check_revision(found, script)
        if revision != "head":
            check_revision(revision, script)
        if found == FIRST and (added := complete_first_schema(connection, script)):
            log.warning("the database of an early version was completed: %s", ", ".join(added))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError) as problem:
            raise WrongSchema(
                f"the database, at revision {found}, cannot be migrated to this version's schema: {problem.orig}. It "
                "was changed by hand, or made by a version between two releases. Restore a backup, or move the "
                "database and the data folder away to begin anew"
            ) from problem
        if revision == "head":
            check_schema(connection)


def is_new(database: Database) -> bool:
    """Return whether nothing was ever made in a database. An SQLite file that is not there stays so."""
    file = database.file
    if file is not None and not file.is_open and not file.has_content:
        return True
    with database.engine.connect() as connection:
        return revision_of(connection) is None


def revision_of(connection: sa.Connection) -> str | None:
    """Return which migration a database has come to; None if none ever ran."""
    return MigrationContext.configure(connection).get_current_revision()
