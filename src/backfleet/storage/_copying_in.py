"""Many rows at once into a table of PostgreSQL, by COPY: a statement for each would be sent and answered alone."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from backfleet.library_internals import raise_as_sqlalchemy_does
from backfleet.storage._columns import Moment, each_to_milliseconds
from backfleet.storage._prepared import as_driver_takes, own_convert

LEAST_ROWS: Final = 10  # fewer are inserted as ever


def copy_rows(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Add rows whose values are in the order of these columns. Raises what inserting them would.

    Columns that are left out get their defaults, as ever.
    """
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(table.c[name].name) for name in columns)
    statement = f"COPY {quote(table.name)} ({names}) FROM STDIN"
    kinds = [table.c[name].type for name in columns]
    values = [
        _as_stored(kind, connection.dialect, column)
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
    ]
    cursor: Any = None
    try:
        cursor = connection.connection.cursor()
        with cursor.copy(statement) as copy:
            for row in zip(*values, strict=True):
                copy.write_row(row)
        cursor.close()
    except connection.dialect.loaded_dbapi.Error as problem:
        raise_as_sqlalchemy_does(connection, problem, statement, cursor)


def _as_stored(kind: Any, dialect: sa.Dialect, values: Sequence[Any]) -> Sequence[Any]:
    if isinstance(kind, Moment):
        return list(each_to_milliseconds(values))
    convert = own_convert(kind, dialect)
    return as_driver_takes(values) if convert is None else list(map(convert, values))
