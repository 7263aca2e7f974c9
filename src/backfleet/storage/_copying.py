"""All rows of a database, read at one moment, and written into an empty one of either engine.

A copy has rows, not the files of an engine. Its tables are those that are in the database, not those that the code
knows: a database can be copied before a newer version migrates it.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from backfleet.storage._database import Database
from backfleet.storage._migrate import REVISIONS, migrate, revision_of
from backfleet.storage._ways import SNAPSHOT, UNTIMED, begun
from backfleet.values import value_object

ROWS_AT_ONCE: Final = 2000  # of one part: what a process has in memory


class BadRows(ValueError):
    """What is to be written is not what was read from such a database; the text says where."""


@value_object
class Snapshot:
    """A database as it was at one moment."""

    connection: sa.Connection
    revision: str
    engine: str

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield each table in parts of at most ROWS_AT_ONCE rows, as its name and lines of JSON: columns, then rows."""
        for table in _tables(self.connection):
            for rows in _pieces(self.connection, table):
                yield table.name, _to_lines([column.name for column in table.columns], rows)


@contextmanager
def snapshot(database: Database) -> Iterator[Snapshot]:
    """Read everything as it is at this moment, while others write.

    Raises:
        LookupError: nothing was ever made in this database.
    """
    options: dict[str, Any] = {}
    if database.engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with begun(database.engine, SNAPSHOT, **options) as connection:
        revision = revision_of(connection)
        if revision is None:
            raise LookupError("there is nothing in the database yet")
        yield Snapshot(connection, revision, database.engine.dialect.name)


def load(database: Database, revision: str, parts: Iterable[tuple[str, bytes]]) -> int:
    """Fill an empty database with the rows of a snapshot, all or none, and bring it to this version's schema.

    Args:
        database: Nothing may be in it that is needed.
        revision: That of the snapshot.
        parts: As `Snapshot.parts` gave them, in any order; tables that are missing stay empty.

    Returns:
        The number of rows.

    Raises:
        WrongSchema: a newer version made the snapshot.
        BadRows: a part is of no table, or has columns that it does not have.
    """
    migrate(database, revision)
    with begun(database.engine, UNTIMED) as connection:
        tables = {table.name: table for table in _tables(connection)}
        for table in reversed(tables.values()):
            connection.execute(table.delete())  # what migrations have put there
        by_table: dict[str, list[bytes]] = {}
        for name, lines in parts:
            if name not in tables:
                raise BadRows(f"there is no table {name} in a database of revision {revision}")
            by_table.setdefault(name, []).append(lines)
        count = sum(
            _write(connection, table, lines) for name, table in tables.items() for lines in by_table.pop(name, ())
        )
    migrate(database)
    if database.engine.dialect.name == "postgresql":
        _count_values(database)
    return count


def _count_values(database: Database) -> None:
    """Let PostgreSQL know its new rows before it plans a query: by itself it looks at them after a minute or more."""
    with begun(database.engine, UNTIMED) as connection:
        for table in _tables(connection):
            connection.execute(sa.text(f'ANALYZE "{table.name}"'))


def _tables(connection: sa.Connection) -> list[sa.Table]:
    """Return the tables, each after those that it refers to."""
    found = sa.MetaData()
    found.reflect(connection, only=lambda name, _: name != REVISIONS)
    return found.sorted_tables


def _pieces(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[sa.Row[Any]]]:
    query = sa.select(table).execution_options(yield_per=ROWS_AT_ONCE)
    with connection.execute(query) as result:
        yield from result.partitions()


def _write(connection: sa.Connection, table: sa.Table, lines: bytes) -> int:
    columns, rows = _from_lines(lines)
    if not set(columns) <= {column.name for column in table.columns}:
        raise BadRows(f"table {table.name} has other columns")
    if rows:
        connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])
    return len(rows)


def _to_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a line with the names of the columns and of those that hold bytes, and a line for each row."""
    binary = {at for row in rows for at, value in enumerate(row) if isinstance(value, bytes | memoryview)}
    header = json.dumps({"columns": columns, "binary": sorted(binary)})
    lines = [json.dumps([_to_text(value) if at in binary else value for at, value in enumerate(row)]) for row in rows]
    return "".join(f"{line}\n" for line in (header, *lines)).encode()


def _from_lines(content: bytes) -> tuple[list[str], list[list[Any]]]:
    try:
        header, *rows = [json.loads(line) for line in content.splitlines()]
        columns, binary = header["columns"], set(header["binary"])
        return columns, [[_to_bytes(value) if at in binary else value for at, value in enumerate(row)] for row in rows]
    except (ValueError, KeyError, TypeError):
        raise BadRows("a row cannot be read") from None


def _to_text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _to_bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
