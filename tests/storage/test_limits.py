"""Statements have an end on both engines, and a call whose time is over changes nothing."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from backfleet.storage import CallLimit, Database, Moment, TimeOuts, Trouble, Unavailable, check_writing, open_database

ROWS = sa.Table("limited", sa.MetaData(), sa.Column("name", sa.String(20), primary_key=True), sa.Column("at", Moment))
QUICK = TimeOuts(lock=0.2, statement=1.0)
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database of either kind is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'limited.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def quick(url: str) -> Iterator[Database]:
    """A database with one table, whose statements may wait for fractions of a second only."""
    found = open_database(url, time_outs=QUICK)
    ROWS.drop(found.engine, checkfirst=True)
    ROWS.create(found.engine)
    yield found
    ROWS.drop(found.engine)
    found.close()


@pytest.fixture
def other(url: str, quick: Database) -> Iterator[Database]:
    """The same database, as another process has it open."""
    found = open_database(url)
    yield found
    found.close()


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Hold the table as a whole."""
    with database.transaction() as tx:
        if database.engine.dialect.name == "postgresql":
            tx.run(sa.text("LOCK TABLE limited IN ACCESS EXCLUSIVE MODE"))
        yield


def count(database: Database) -> int:
    with database.reading() as tx:
        return int(tx.scalar(sa.select(sa.func.count()).select_from(ROWS)))


def test_a_lock_of_another_process_is_waited_for_so_long_and_no_longer(quick: Database, other: Database) -> None:
    """Then nothing is written, also not when the lock is free again."""
    began = time.monotonic()
    with locked(other), pytest.raises(Unavailable) as found, quick.transaction() as tx:
        tx.add(ROWS, [{"name": "a"}])
    assert found.value.trouble is Trouble.LOCKED
    assert time.monotonic() - began < 20
    assert count(quick) == 0
    with quick.transaction() as tx:
        tx.add(ROWS, [{"name": "a"}])
    assert count(quick) == 1


def test_a_statement_has_an_end(quick: Database) -> None:
    """Whatever it waits for; the connection is good for the next one."""
    endless = sa.text(ENDLESS[quick.engine.dialect.name])
    with pytest.raises(Unavailable) as found, quick.transaction() as tx:
        tx.scalar(endless)
    assert found.value.trouble is Trouble.SLOW
    assert count(quick) == 0


@pytest.mark.parametrize(
    ("until", "gone", "trouble"),
    [
        pytest.param(0.0, False, Trouble.TOO_LATE, id="its time is over"),
        pytest.param(9.0, True, Trouble.CALLER_GONE, id="its caller has gone"),
    ],
)
def test_a_call_that_nobody_waits_for_changes_nothing(
    quick: Database, until: float, gone: bool, trouble: Trouble
) -> None:
    """Neither before its first statement nor, if that comes to pass meanwhile, before the commit."""
    limited = quick.within(CallLimit(until, lambda: gone, lambda: 1.0))
    with pytest.raises(Unavailable) as found, limited.transaction():
        pytest.fail("it was begun")
    assert found.value.trouble is trouble
    state = {"gone": False}
    limited = quick.within(CallLimit(9.0, lambda: state["gone"], lambda: 1.0))
    with pytest.raises(Unavailable), limited.transaction() as tx:
        tx.add(ROWS, [{"name": "a"}])
        state["gone"] = True
    assert count(quick) == 0


def test_what_has_changed_something_is_not_stopped_half_way(quick: Database) -> None:
    """After the first commit the limit counts no more, until the next part begins."""
    state = {"gone": False}
    limited = quick.within(CallLimit(9.0, lambda: state["gone"], lambda: 1.0))
    with limited.transaction() as tx:
        tx.add(ROWS, [{"name": "a"}])
    state["gone"] = True
    with limited.transaction() as tx:
        tx.add(ROWS, [{"name": "b"}])
    with limited.without_limit().transaction() as tx:
        tx.add(ROWS, [{"name": "c"}])
    assert count(quick) == 3
    limited.begin_anew()
    with pytest.raises(Unavailable), limited.transaction():
        pytest.fail("it was begun")


def test_readiness_is_a_row_that_can_be_written(database: Database, now: datetime) -> None:
    """Again and again, by whichever replica."""
    for _ in range(2):
        check_writing(database, now)


def test_a_locked_table_is_not_ready(postgresql_database: Database, now: datetime) -> None:
    """Any of them: some call would wait for it. A check does not wait long."""
    other = postgresql_database.publishing(lambda _topic: None)
    with other.transaction() as tx:
        tx.run(sa.text("LOCK TABLE write_checks IN SHARE MODE"))
        with pytest.raises(Unavailable) as found:
            check_writing(postgresql_database, now)
    assert found.value.trouble is Trouble.LOCKED


def test_a_connection_in_use_when_the_database_is_closed_is_closed_after_its_use(url: str) -> None:
    """It goes back to a pool that nobody closes any more, and neither does one that is opened later."""
    database = open_database(url)
    used = []
    with database.reading() as tx:
        used.append(tx._connection.connection.dbapi_connection)
        database.close()
        assert tx.scalar(sa.text("SELECT 1")) == 1
    with database.reading() as tx:
        used.append(tx._connection.connection.dbapi_connection)
    for connection in used:
        with pytest.raises((psycopg.OperationalError, sqlite3.ProgrammingError), match="closed"):
            connection.execute("SELECT 1")  # type: ignore[union-attr]
    database.close()
