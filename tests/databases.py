"""Databases with every table, made once in a process: making the tables anew takes longer than most tests.

What they store need not outlive the machine, so they do not wait for the disk. Tests of that start real servers.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from backfleet.storage import Database, metadata, open_database

LARGEST_TABLE = 1 << 20  # bytes; rows are deleted from smaller ones, which leaves their dead rows on the disk


def sqlite_with_tables(file: Path, publish: Callable[[str], None] = lambda topic: None) -> Database:
    """Return a new SQLite database with every table of the modules that were imported."""
    file.write_bytes(_template(tuple(metadata.tables)))
    database = open_database(f"sqlite:///{file}", publish)
    sa.event.listen(database.engine, "connect", _do_not_wait)
    with database.engine.connect():  # so that it is in use
        return database


@functools.lru_cache(maxsize=1)
def _template(_tables: tuple[str, ...]) -> bytes:
    """Return the content of a file with these tables and no rows."""
    with tempfile.TemporaryDirectory(prefix="backfleet-tables-") as folder:
        file = Path(folder) / "template.db"
        database = open_database(f"sqlite:///{file}")
        metadata.create_all(database.engine)
        database.close()  # moves the log into the file
        return file.read_bytes()


def _do_not_wait(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def never_wait_for_the_disk(server: sa.Engine) -> None:
    """Let a PostgreSQL server trust that its machine stays on."""
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))


def make_missing_tables(database: Database) -> None:
    """Make the tables of modules that were imported since the last call."""
    names = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    with database.reading() as tx:
        found = {row.tablename for row in tx.rows(names)}
    if not found.issuperset(metadata.tables):
        metadata.create_all(database.engine)


def empty_tables(database: Database) -> None:
    """Remove every row of a PostgreSQL database."""
    with database.engine.begin() as connection:
        found = connection.execute(sa.text(_sizes(tuple(metadata.tables))))
        sizes = {row.name: row.size for row in found}
        if not sizes:
            return
        if max(sizes.values()) > LARGEST_TABLE:
            names = ", ".join(f'"{name}"' for name in metadata.tables)
            connection.execute(sa.text(f"TRUNCATE {names} CASCADE"))
            return
        for table in reversed(metadata.sorted_tables):
            if table.name in sizes:
                connection.execute(table.delete())


@functools.lru_cache(maxsize=1)
def _sizes(tables: tuple[str, ...]) -> str:
    """Return a statement that finds the tables with rows, and the bytes of each."""
    return " UNION ALL ".join(
        f"SELECT '{name}' AS name, pg_table_size('\"{name}\"') AS size WHERE EXISTS (SELECT FROM \"{name}\")"  # noqa: S608
        for name in tables
    )
