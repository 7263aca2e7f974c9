"""One transaction, on both engines alike."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from backfleet.storage import Database, Moment, open_database

SAMPLES = sa.Table(
    "samples", sa.MetaData(), sa.Column("name", sa.String(20), primary_key=True), sa.Column("at", Moment)
)


@pytest.fixture
def samples(database: Database) -> Iterator[Database]:
    """A database with one more table."""
    SAMPLES.create(database.engine)
    yield database
    SAMPLES.drop(database.engine)


def names(database: Database) -> list[str]:
    with database.reading() as tx:
        return [row.name for row in tx.rows(sa.select(SAMPLES).order_by(SAMPLES.c.name))]


def test_what_was_written_is_there(samples: Database, now: datetime) -> None:
    """A committed row is read back with the moment it was given."""
    with samples.transaction() as tx:
        tx.add(SAMPLES, [{"name": "a", "at": now}, {"name": "b", "at": None}])
    with samples.reading() as tx:
        assert tx.scalar(sa.select(SAMPLES.c.at).where(SAMPLES.c.name == "a")) == now
        assert tx.scalar(sa.select(SAMPLES.c.at).where(SAMPLES.c.name == "b")) is None


def test_a_failed_transaction_leaves_nothing(samples: Database) -> None:
    """An exception rolls the whole block back, and nothing is published."""
    published: list[str] = []
    database = samples.publishing(published.append)
    with pytest.raises(RuntimeError), database.transaction() as tx:
        tx.add(SAMPLES, [{"name": "a"}])
        tx.publish("samples")
        raise RuntimeError
    assert names(database) == []
    assert published == []


def test_a_transaction_publishes_once_and_after_the_commit(samples: Database) -> None:
    """A receiver of the notification finds the row."""
    seen: list[list[str]] = []
    database = Database(samples.engine, lambda _topic: seen.append(names(samples)))
    with database.transaction() as tx:
        tx.add(SAMPLES, [{"name": "a"}])
        tx.publish("samples")
        tx.publish("samples")
    assert seen == [["a"]]


def test_only_one_of_two_adds_the_same_row(samples: Database) -> None:
    """A unique constraint decides races: exactly one caller learns that it inserted the row."""
    inserted: list[bool] = []

    def add() -> None:
        with samples.transaction() as tx:
            inserted.append(tx.add_if_new(SAMPLES, {"name": "a"}))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(inserted) == [False, False, False, True]
    assert names(samples) == ["a"]


def test_reading_does_not_wait_for_a_writer(samples: Database) -> None:
    """A long write holds up no reader."""
    with samples.transaction() as tx:
        tx.add(SAMPLES, [{"name": "a"}])
        assert names(samples) == []
    assert names(samples) == ["a"]


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_moment_keeps_its_millisecond(moment: datetime) -> None:
    """What goes in comes out, to the millisecond."""
    dialect = sa.create_engine("sqlite://").dialect
    kept = Moment().process_result_value(Moment().process_bind_param(moment, dialect), dialect)
    assert kept is not None
    assert abs(kept - moment) <= timedelta(milliseconds=0.5)


def test_a_moment_without_a_zone_is_refused() -> None:
    """Its meaning would be a guess."""
    with pytest.raises(ValueError, match="time zone"):
        Moment().process_bind_param(datetime(2026, 1, 1), sa.create_engine("sqlite://").dialect)  # noqa: DTZ001


def test_a_connection_that_its_server_ended_is_replaced(postgresql_database: Database) -> None:
    """No call fails for it, whatever the transaction before was for."""
    own = sa.select(sa.func.pg_backend_pid())
    for before in (postgresql_database.reading, postgresql_database.transaction):
        with before() as tx:
            ended = tx.scalar(own)
        with sa.create_engine(postgresql_database.engine.url, poolclass=sa.NullPool).connect() as other:
            assert other.scalar(sa.select(sa.func.pg_terminate_backend(ended, 10_000)))
        with before() as tx:
            assert tx.scalar(own) != ended


def test_a_connection_that_read_can_write_next(samples: Database, now: datetime) -> None:
    """Reading leaves nothing behind on a connection that would commit a later transaction piece by piece."""
    for _ in range(2):
        assert names(samples) == []
        with pytest.raises(RuntimeError), samples.transaction() as tx:
            tx.add(SAMPLES, [{"name": "a", "at": now}])
            raise RuntimeError


def test_the_password_is_not_printed() -> None:
    """A database's repr goes into logs."""
    database = open_database("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in repr(database)
    database.close()


def test_another_kind_of_database_is_refused() -> None:
    """The message names the two kinds that are supported."""
    with pytest.raises(ValueError, match="sqlite:///FILE or postgresql"):
        open_database("mysql://127.0.0.1/x")


def test_a_committed_row_survives_the_process(tmp_path: Path) -> None:
    """SQLite runs with full synchronisation: a power cut after the commit loses nothing."""
    database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.reading() as tx:
        assert tx.scalar(sa.text("PRAGMA synchronous")) == 2
        assert tx.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    database.close()
