"""Whether a database has the schema that the code expects, and what the first databases lack.

Until the first migration was frozen, columns were added inside it: a database that an earlier commit made has its
number, 0001, and not all of its columns. They are added before any other migration runs. From then on migrations are
only added, and a schema that differs all the same is refused at the start: it would fail in the middle of a call.
"""

import io
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateIndex, CreateTable

from backfleet.storage._columns import metadata

FIRST: Final = "0001"
MOST_SHOWN: Final = 5  # differences that a message names
INFINITE: Final = 1 << 31  # characters, where a column has no limit
FILLERS: Final = ((sa.Boolean, sa.false()), (sa.Integer | sa.Float, sa.text("0")), (sa.String, sa.text("''")))
"""What rows that are there get in a new column without a default, by its type."""


class WrongSchema(Exception):
    """The database cannot be used by this version; the text says why and what to do."""


def check_revision(found: str | None, script: ScriptDirectory) -> None:
    """Return if this version knows the database's revision.

    Raises:
        WrongSchema: a newer version made the database, or one that was never released.
    """
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise WrongSchema(
            f"the database is at revision {found}, and this version knows {max(known)} at most: a newer version of "
            "Backfleet made it. Start that version, or restore a backup from before the upgrade"
        )


def check_schema(connection: sa.Connection) -> None:
    """Return if the database has every table, column and unique constraint of the code, and takes what it writes.

    Raises:
        WrongSchema: it differs.
    """
    found = _differences(sa.inspect(connection))
    if found:
        more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        raise WrongSchema(
            f"the database's schema is not the one of this version: {', '.join(found[:MOST_SHOWN])}{more}. It was "
            "changed by hand, or made by a version between two releases. Restore a backup, or move the database and "
            "the data folder away to begin anew"
        )


def complete_first_schema(connection: sa.Connection, script: ScriptDirectory) -> list[str]:
    """Add the tables, columns and indexes that a database at revision 0001 lacks. Return what was added."""
    tables, indexes = _first_schema(connection.dialect, script)
    inspector = sa.inspect(connection)
    there = {name: {column["name"] for column in inspector.get_columns(name)} for name in inspector.get_table_names()}
    operations = Operations(MigrationContext.configure(connection))
    added = []
    for table in tables:
        if table.name not in there:
            connection.execute(CreateTable(table))
            added.append(table.name)
            continue
        for column in table.columns:
            if column.name not in there[table.name]:
                operations.add_column(table.name, _addable(column))
                added.append(f"{table.name}.{column.name}")
    names = {str(index["name"]) for table in tables for index in sa.inspect(connection).get_indexes(table.name)}
    for index in indexes:
        if index.name not in names:
            connection.execute(CreateIndex(index))
            added.append(str(index.name))
    return added


def _first_schema(dialect: sa.Dialect, script: ScriptDirectory) -> tuple[list[sa.Table], list[sa.Index]]:
    """Return what the first migration makes, without making it."""
    tables: list[sa.Table] = []
    indexes: list[sa.Index] = []
    context = MigrationContext.configure(
        dialect=dialect, opts={"as_sql": True, "output_buffer": io.StringIO(), "render_as_batch": True}
    )
    recorder: Any = context.impl
    recorder.create_table = lambda table, **_: tables.append(table)
    recorder.create_index = lambda index, **_: indexes.append(index)
    with Operations.context(context):
        script.get_revision(FIRST).module.upgrade()
    return tables, indexes


def _addable(column: sa.Column[Any]) -> sa.Column[Any]:
    """Return a copy that rows that are there can take."""
    default = column.server_default
    if not column.nullable and default is None:
        filler = next((value for kind, value in FILLERS if isinstance(column.type, kind)), sa.text("''"))
        return sa.Column(column.name, column.type, nullable=False, server_default=filler)
    return sa.Column(column.name, column.type, nullable=column.nullable, server_default=getattr(default, "arg", None))


def _differences(inspector: sa.Inspector) -> list[str]:
    """Return what the code needs and the database lacks, and what the database needs and the code does not know."""
    columns = {name: found for (_, name), found in inspector.get_multi_columns().items()}
    unique = _unique_names(inspector)
    found = []
    for table in metadata.sorted_tables:
        if table.name not in columns:
            found.append(f"no table {table.name}")
            continue
        there = {column["name"]: column for column in columns[table.name]}
        known = {column.name for column in table.columns}  # their keys may be other words
        found += [f"no column {table.name}.{name}" for name in known - there.keys()]
        found += [f"a column {table.name}.{name} that nothing fills" for name in _unfilled(known, there)]
        found += [problem for column in table.columns for problem in _unfit(column, there.get(column.name))]
        wanted = {str(index.name) for index in table.indexes if index.unique}
        wanted |= {str(one.name) for one in table.constraints if isinstance(one, sa.UniqueConstraint)}
        found += [f"no constraint {name}" for name in sorted(wanted - unique)]
    return sorted(found)


def _unfilled(known: set[str], there: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, column in there.items()
        if name not in known and not column["nullable"] and column.get("default") is None
    ]


def _unfit(column: sa.Column[Any], there: Mapping[str, Any] | None) -> list[str]:
    """Return what a column that is there does not take, and the code writes."""
    if there is None:
        return []
    name, wanted, found = column, column.type, there["type"]
    if isinstance(wanted, sa.types.TypeDecorator):
        wanted = wanted.impl_instance
    problems = []
    if column.nullable and not there["nullable"]:
        problems.append(f"a column {name} that must not be empty")
    if found.python_type is not wanted.python_type:
        problems.append(f"a column {name} of the type {found}")
    elif (getattr(found, "length", None) or INFINITE) < (getattr(wanted, "length", None) or INFINITE):
        problems.append(f"a column {name} of {found.length} characters")
    return problems


def _unique_names(inspector: sa.Inspector) -> set[str]:
    constraints = [one for found in inspector.get_multi_unique_constraints().values() for one in found]
    indexes = [one for found in inspector.get_multi_indexes().values() for one in found if one.get("unique")]
    return {str(one["name"]) for one in (*constraints, *indexes)}
