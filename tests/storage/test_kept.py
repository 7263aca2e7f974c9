"""Connections between transactions: kept, given back to the pool where they must be, never lost; on both engines."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from backfleet.storage import Database, Transaction, Unavailable, open_database
from backfleet.storage._database import POOL_SIZE
from backfleet.storage._kept import MOST_KEPT

NUMBERS = sa.Table("numbers", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True))
TURN_SECONDS = 20.0


@pytest.fixture
def numbers(database: Database) -> Iterator[Database]:
    """A database with one table, and with connections that nobody used before."""
    found = open_database(database.engine.url.render_as_string(hide_password=False))
    NUMBERS.create(found.engine)
    yield found
    NUMBERS.drop(found.engine)
    found.close()


def connected(database: Database) -> int:
    """How many connections are out of the pool, in use or kept."""
    pool = database.engine.pool
    assert isinstance(pool, sa.QueuePool)
    return pool.checkedout()


def numbers_of(database: Database) -> list[int]:
    with database.reading() as tx:
        return sorted(row.number for row in tx.rows(sa.select(NUMBERS)))


def test_transactions_one_after_another_share_a_connection(numbers: Database) -> None:
    """Those that read and those that write, whatever the one before was for."""
    for number in range(10):
        with numbers.transaction() as tx:
            tx.add(NUMBERS, [{"number": number}])
        assert numbers_of(numbers) == list(range(number + 1))
    assert connected(numbers) == 1


def test_a_transaction_that_is_over_does_nothing_more(numbers: Database) -> None:
    """Its connection is another one's by then."""
    with numbers.transaction() as tx:
        late: Transaction = tx
    with pytest.raises(RuntimeError, match="over"):
        late.add(NUMBERS, [{"number": 1}])
    with numbers.reading() as tx:
        late = tx
    with pytest.raises(RuntimeError, match="over"):
        late.rows(sa.select(NUMBERS))
    assert numbers_of(numbers) == []


def test_a_transaction_that_fails_leaves_nothing_for_the_next(numbers: Database) -> None:
    """What it wrote is gone, and its connection is not kept as it is."""
    for number in range(POOL_SIZE + 1):
        with pytest.raises(ZeroDivisionError), numbers.transaction() as tx:
            tx.add(NUMBERS, [{"number": number}])
            raise ZeroDivisionError
        with pytest.raises(sa.exc.DBAPIError), numbers.reading() as tx:
            tx.rows(sa.text("SELECT nothing FROM nowhere"))
        assert numbers_of(numbers) == []
    assert connected(numbers) <= 1


def test_a_lock_waited_for_briefly_leaves_the_usual_wait(numbers: Database) -> None:
    """The next transaction waits as long as any other for a lock."""
    for _ in range(3):
        with numbers.transaction(lock_seconds=0.05) as tx:
            tx.rows(sa.select(NUMBERS))
        with numbers.transaction() as tx:
            if tx.engine_name == "sqlite":
                assert tx.scalar(sa.text("PRAGMA busy_timeout")) > 1000
            else:
                assert tx.scalar(sa.text("SHOW lock_timeout")) != "50ms"


def test_more_threads_than_connections_all_get_one(numbers: Database) -> None:
    """Who waits at the pool gets what others bring back, and no more stay out of it than may be kept."""
    threads = POOL_SIZE + 10
    begun, go_on = threading.Semaphore(0), threading.Event()

    def read(_number: int) -> int:
        with numbers.reading() as tx:
            begun.release()
            assert go_on.wait(TURN_SECONDS)
            return len(tx.rows(sa.select(NUMBERS)))

    with ThreadPoolExecutor(threads) as pool:
        found = [pool.submit(read, number) for number in range(threads)]
        assert all(begun.acquire(timeout=TURN_SECONDS) for _ in range(POOL_SIZE))
        go_on.set()
        assert [one.result(TURN_SECONDS) for one in found] == [0] * threads
    assert connected(numbers) <= MOST_KEPT


def test_who_asks_the_pool_itself_finds_a_connection(numbers: Database) -> None:
    """Copies and migrations do, while others are kept."""
    both = threading.Barrier(MOST_KEPT)

    def read(_number: int) -> None:
        with numbers.reading():
            both.wait(TURN_SECONDS)

    with ThreadPoolExecutor(MOST_KEPT) as pool:
        list(pool.map(read, range(MOST_KEPT)))
    assert connected(numbers) == MOST_KEPT
    with numbers.engine.connect() as connection:
        assert connection.execute(sa.select(NUMBERS)).all() == []


def test_a_session_that_ended_meanwhile_costs_no_call(postgresql_database: Database) -> None:
    """PostgreSQL is restarted, or somebody ends its sessions: the next transaction finds another connection."""
    for _ in range(3):
        with postgresql_database.reading() as tx:
            mine = tx.scalar(sa.text("SELECT pg_backend_pid()"))
        with postgresql_database.engine.connect() as other:
            assert other.execute(sa.text("SELECT pg_terminate_backend(:mine, 5000)"), {"mine": mine}).scalar()
        with postgresql_database.transaction() as tx:
            assert tx.scalar(sa.text("SELECT pg_backend_pid()")) != mine


def test_a_session_that_ends_in_a_transaction_fails_only_that(postgresql_database: Database) -> None:
    """The next one has another connection."""
    with pytest.raises(Unavailable), postgresql_database.transaction() as tx:
        mine = tx.scalar(sa.text("SELECT pg_backend_pid()"))
        with postgresql_database.engine.connect() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:mine, 5000)"), {"mine": mine})
        tx.scalar(sa.text("SELECT 1"))
    with postgresql_database.transaction() as tx:
        assert tx.scalar(sa.text("SELECT pg_backend_pid()")) != mine


def test_a_connection_that_was_closed_here_costs_no_call(postgresql_database: Database) -> None:
    """Whoever closed it."""
    with postgresql_database.reading() as tx:
        driver: Any = tx._connection.connection.dbapi_connection
    driver.close()
    with postgresql_database.reading() as tx:
        assert tx.scalar(sa.text("SELECT 1")) == 1


def test_a_failure_between_reading_and_writing_leaves_transactions(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes back to the pool as one whose transactions can be undone."""
    database = open_database(postgresql_url)
    with database.reading() as tx:
        mine = tx.scalar(sa.text("SELECT pg_backend_pid()"))
    usual: Any = psycopg.Connection.autocommit
    failures = [MemoryError()]

    def fail_once(connection: Any, value: bool) -> None:
        if failures:
            raise failures.pop()
        usual.fset(connection, value)

    monkeypatch.setattr(psycopg.Connection, "autocommit", property(usual.fget, fail_once))
    with pytest.raises(MemoryError), database.transaction():
        pass
    with database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) == mine
        connection.execute(sa.text("CREATE TEMPORARY TABLE undone (id int)"))
        connection.rollback()
        assert not sa.inspect(connection).has_table("undone")
    database.close()


def test_what_is_kept_is_closed_with_the_database(numbers: Database) -> None:
    """Nothing holds a file or a session any more."""
    with numbers.reading() as tx:
        driver: Any = tx._connection.connection.dbapi_connection
    driver.execute("SELECT 1")
    numbers.close()
    with pytest.raises(Exception, match="closed"):
        driver.execute("SELECT 1")


def test_those_that_publish_elsewhere_share_connections(numbers: Database) -> None:
    """They are one database."""
    heard: list[str] = []
    for database in (numbers, numbers.publishing(heard.append)):
        with database.transaction() as tx:
            tx.publish("numbers")
    assert (connected(numbers), heard) == (1, ["numbers"])
