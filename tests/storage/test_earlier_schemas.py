"""Databases that earlier commits made open with this version, and those that cannot be used are refused in a sentence.

`tests/migration/earlier_schemas.tar.xz` has, for each state that the migrations had before the first one was frozen,
what they ran on each engine.
"""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import backfleet.app  # noqa: F401 - every module registers its tables
from backfleet.storage import Database, WrongSchema, metadata, migrate, open_database

ARCHIVE = Path(__file__).parent.parent / "migration" / "earlier_schemas.tar.xz"
EARLIEST = ("ba721cd", "1621a6d", "17b86de", "827dbb5")  # policies had one version, in a column that nothing fills now
BRANCHED = "66082d1"  # its revision 0003 is not the one that was merged
KINDS = {"add_table", "add_column", "remove_column", "add_constraint"}  # differences that a call would meet

with tarfile.open(ARCHIVE) as _archive:
    STATES = {
        name: file.read().decode()
        for name in sorted(_archive.getnames())
        if (file := _archive.extractfile(name)) is not None
    }


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Database]]:
    """Return a function that makes the database of a commit on an engine."""
    opened: list[Database] = []

    def make(commit: str, dialect: str) -> Database:
        if dialect == "sqlite":
            url = f"sqlite:///{tmp_path / 'earlier.db'}"
        else:
            server = sa.make_url(request.getfixturevalue("postgresql_url"))
            with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as connection:
                connection.execute("DROP DATABASE IF EXISTS earlier WITH (FORCE)")
                connection.execute("CREATE DATABASE earlier")
            url = server.set(database="earlier").render_as_string(hide_password=False)
        database = open_database(url)
        opened.append(database)
        with database.engine.begin() as connection:
            for statement in STATES[f"{commit}.{dialect}.sql"].split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement.replace("%", "%%"))
        return database

    yield make
    for database in opened:
        database.close()


@pytest.mark.parametrize("state", [name for name in STATES if not name.startswith((BRANCHED, *EARLIEST))])
def test_a_database_of_an_earlier_commit_is_completed(made: Callable[[str, str], Database], state: str) -> None:
    """Its rows stay, and it has every table, column and constraint of the code."""
    commit, dialect, _ = state.split(".")
    database = made(commit, dialect)
    with database.transaction() as tx:
        tx.run(sa.text("INSERT INTO accounts (id, created_at) VALUES ('1', 5)"))
        tx.run(
            sa.text(
                "INSERT INTO tasks (id, account_id, kind, state, progress, requested_by, created_at, updated_at, "
                "deadline) VALUES ('t-1', '1', 'upgrade', 'created', 0, 'a', 1, 1, 2)"
            )
        )
    migrate(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = [d for d in compare_metadata(context, metadata) if d[0] in KINDS]
    assert differences == []
    with database.reading() as tx:
        assert tx.scalar(sa.text("SELECT topic FROM tasks WHERE id = 't-1'")) == ""
        assert tx.scalar(sa.text("SELECT id FROM accounts")) == "1"
    migrate(database)


@pytest.mark.parametrize("state", [name for name in STATES if name.startswith(EARLIEST)])
def test_a_database_that_cannot_be_completed_is_refused(made: Callable[[str, str], Database], state: str) -> None:
    """The start says why, and changes nothing."""
    commit, dialect, _ = state.split(".")
    database = made(commit, dialect)
    with pytest.raises(WrongSchema, match=r"a column policies\.document that nothing fills"):
        migrate(database)
    assert "write_checks" not in sa.inspect(database.engine).get_table_names()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_database_of_a_branch_that_was_not_merged_is_refused(
    made: Callable[[str, str], Database], dialect: str
) -> None:
    """Its number means something else: the start says so, and changes nothing."""
    database = made(BRANCHED, dialect)
    with pytest.raises(WrongSchema, match="at revision 0003, cannot be migrated to this version's schema"):
        migrate(database)
    with database.reading() as tx:
        assert tx.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0003"


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DROP TABLE nonces", "no table nonces"),
        ("ALTER TABLE client_upgrades DROP COLUMN tries_again", "no column client_upgrades.tries_again"),
        ("DROP INDEX uq_client_upgrades_live", "no constraint uq_client_upgrades_live"),
        ("ALTER TABLE boots ADD COLUMN more VARCHAR(5) NOT NULL DEFAULT ''", ""),
        ("ALTER TABLE boots ADD COLUMN more VARCHAR(5)", ""),
    ],
)
def test_a_schema_that_differs_is_refused_at_the_start(
    made: Callable[[str, str], Database], dialect: str, change: str, found: str
) -> None:
    """Not in the middle of a call, for ever. What the code need not fill does not matter."""
    database = made("9b311e5", dialect)
    migrate(database)
    with database.transaction() as tx:
        tx.run(sa.text(change))
    if not found:
        migrate(database)
        return
    with pytest.raises(WrongSchema, match=found):
        migrate(database)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("ALTER TABLE tasks ALTER COLUMN kind TYPE VARCHAR(3)", "a column tasks.kind of 3 characters"),
        ("ALTER TABLE tasks ALTER COLUMN created_at TYPE VARCHAR(30)", r"tasks.created_at of the type VARCHAR\(30\)"),
        (
            "ALTER TABLE instances ALTER COLUMN stopped_at SET NOT NULL",
            "a column instances.stopped_at that must not be empty",
        ),
        ("ALTER TABLE tasks ALTER COLUMN kind TYPE TEXT", ""),
    ],
)
def test_a_column_that_does_not_take_what_the_code_writes_is_refused(
    made: Callable[[str, str], Database], change: str, found: str
) -> None:
    """One that takes more is none of our business."""
    database = made("9b311e5", "postgresql")
    migrate(database)
    with database.transaction() as tx:
        tx.run(sa.text(change))
    if not found:
        migrate(database)
        return
    with pytest.raises(WrongSchema, match=found):
        migrate(database)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_database_of_a_newer_version_is_refused_in_a_sentence(
    made: Callable[[str, str], Database], dialect: str
) -> None:
    """It says which revision was found, and what to do."""
    database = made("9b311e5", dialect)
    migrate(database)
    with database.transaction() as tx:
        tx.run(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WrongSchema, match=r"revision 9999, and this version knows 00\d\d at most.*newer version"):
        migrate(database)
