"""Which failures of a database may be over later, and which connections are dropped for them."""

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa

from backfleet.storage import Database, Trouble, Unavailable, open_database
from backfleet.storage._unavailable import Keep, diagnose


def of_postgresql(sqlstate: str, text: str = "") -> sa.exc.DBAPIError:
    """Return what SQLAlchemy raises for an error with this code."""
    return sa.exc.DBAPIError("SELECT 1", {}, psycopg.errors.lookup(sqlstate)(text))


def of_sqlite(code: int) -> sa.exc.DBAPIError:
    """Return what SQLAlchemy raises for an error with this code: the class is the same for all of them."""
    problem = sqlite3.OperationalError()
    problem.sqlite_errorcode = code
    return sa.exc.OperationalError("SELECT 1", {}, problem)


@pytest.mark.parametrize(
    ("sqlstate", "trouble", "keep"),
    [
        ("08006", Trouble.AWAY, Keep.NONE),
        ("25006", Trouble.READ_ONLY, Keep.NONE),
        ("25P03", Trouble.SLOW, Keep.OTHERS),
        ("26000", Trouble.CHANGED, Keep.NONE),
        ("28P01", Trouble.AWAY, Keep.NONE),
        ("3D000", Trouble.AWAY, Keep.NONE),
        ("40001", Trouble.LOCKED, Keep.ALL),
        ("40P01", Trouble.LOCKED, Keep.ALL),
        ("53100", Trouble.FULL, Keep.ALL),
        ("53200", Trouble.CROWDED, Keep.ALL),
        ("53300", Trouble.CROWDED, Keep.ALL),
        ("55000", Trouble.READ_ONLY, Keep.NONE),
        ("55006", Trouble.LOCKED, Keep.ALL),
        ("55P03", Trouble.LOCKED, Keep.ALL),
        ("57014", Trouble.SLOW, Keep.ALL),
        ("57P01", Trouble.AWAY, Keep.NONE),
        ("57P02", Trouble.AWAY, Keep.NONE),
        ("57P03", Trouble.AWAY, Keep.NONE),
        ("57P04", Trouble.AWAY, Keep.NONE),
        ("57P05", Trouble.AWAY, Keep.OTHERS),
        ("58030", Trouble.FILES, Keep.ALL),
        ("XX001", Trouble.DAMAGED, Keep.ALL),
    ],
)
def test_postgresql_says_by_code_what_may_be_over_later(sqlstate: str, trouble: Trouble, keep: Keep) -> None:
    """The driver's classes do not: 25006 is of the class of internal errors."""
    found = diagnose(of_postgresql(sqlstate))
    assert found is not None
    assert (found.trouble, found.keep) == (trouble, keep)


@pytest.mark.parametrize(
    "sqlstate", ["22001", "22P02", "23505", "25P02", "42501", "42601", "42703", "42804", "42P01", "XX000", "0A000"]
)
def test_a_fault_of_ours_is_not_taken_for_an_absence(sqlstate: str) -> None:
    """No column, no table, no permission, a value that is too long: trying again helps nobody."""
    assert diagnose(of_postgresql(sqlstate)) is None


def test_a_plan_of_the_schema_before_is_made_again() -> None:
    """Another replica migrated while this one ran; all other errors of the code are faults."""
    found = diagnose(of_postgresql("0A000", "cached plan must not change result type"))
    assert found is not None
    assert (found.trouble, found.keep) == (Trouble.CHANGED, Keep.NONE)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (sqlite3.SQLITE_BUSY, Trouble.LOCKED),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Trouble.LOCKED),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, Trouble.LOCKED),
        (sqlite3.SQLITE_FULL, Trouble.FULL),
        (sqlite3.SQLITE_READONLY, Trouble.READ_ONLY),
        (sqlite3.SQLITE_READONLY_ROLLBACK, Trouble.READ_ONLY),
        (sqlite3.SQLITE_READONLY_DBMOVED, Trouble.REPLACED),
        (sqlite3.SQLITE_IOERR_FSYNC, Trouble.FILES),
        (sqlite3.SQLITE_CANTOPEN, Trouble.FILES),
        (sqlite3.SQLITE_CORRUPT_INDEX, Trouble.DAMAGED),
        (sqlite3.SQLITE_NOTADB, Trouble.DAMAGED),
        (sqlite3.SQLITE_INTERRUPT, Trouble.SLOW),
    ],
)
def test_sqlite_says_by_code_what_may_be_over_later(code: int, trouble: Trouble) -> None:
    """The extended code counts before the primary one."""
    found = diagnose(of_sqlite(code))
    assert found is not None
    assert found.trouble is trouble


@pytest.mark.parametrize("statement", ["SELECT missing FROM alembic_missing", "SELECT 1 FRM x", "SELECT missing"])
def test_what_does_not_exist_is_not_away(database: Database, statement: str) -> None:
    """SQLite raises for a missing column what it raises for a full disk."""
    with pytest.raises(sa.exc.DBAPIError), database.transaction() as tx:
        tx.run(sa.text(statement))


def test_a_server_that_does_not_answer_is_away() -> None:
    """The driver has no code for it."""
    database = open_database("postgresql://me@127.0.0.1:1/x")
    with pytest.raises(Unavailable) as found, database.reading():
        pass
    assert found.value.trouble is Trouble.AWAY
    database.close()
