"""The ground: one transaction, on both engines alike."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from backfleet.storage import Database, Moment, open_database

STONES = sa.Table("stones", sa.MetaData(), sa.Column("name", sa.String(20), primary_key=True), sa.Column("at", Moment))


@pytest.fixture
def stones(database: Database) -> Iterator[Database]:
    """A database with one more table."""
    STONES.create(database.engine)
    yield database
    STONES.drop(database.engine)


def names(database: Database) -> list[str]:
    with database.reading() as tx:
        return [row.name for row in tx.rows(sa.select(STONES).order_by(STONES.c.name))]


def test_what_was_written_is_there(stones: Database, now: datetime) -> None:
    """A committed row is read back with the moment it was given."""
    with stones.transaction() as tx:
        tx.add(STONES, [{"name": "a", "at": now}, {"name": "b", "at": None}])
    with stones.reading() as tx:
        assert tx.scalar(sa.select(STONES.c.at).where(STONES.c.name == "a")) == now
        assert tx.scalar(sa.select(STONES.c.at).where(STONES.c.name == "b")) is None


def test_a_failed_transaction_leaves_nothing(stones: Database) -> None:
    """An exception undoes everything in the block and rings no bell."""
    rung: list[str] = []
    database = Database(stones.engine, rung.append)
    with pytest.raises(RuntimeError), database.transaction() as tx:
        tx.add(STONES, [{"name": "a"}])
        tx.publish("stones")
        raise RuntimeError
    assert names(database) == []
    assert rung == []


def test_bells_ring_once_and_after_the_commit(stones: Database) -> None:
    """Whoever comes at the ring finds the row."""
    seen: list[list[str]] = []
    database = Database(stones.engine, lambda _topic: seen.append(names(stones)))
    with database.transaction() as tx:
        tx.add(STONES, [{"name": "a"}])
        tx.publish("stones")
        tx.publish("stones")
    assert seen == [["a"]]


def test_only_one_of_two_adds_the_same_row(stones: Database) -> None:
    """A unique constraint decides races: exactly one caller is told that its row went in."""
    told: list[bool] = []

    def add() -> None:
        with stones.transaction() as tx:
            told.append(tx.add_if_new(STONES, {"name": "a"}))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False, False, False, True]
    assert names(stones) == ["a"]


def test_reading_does_not_wait_for_a_writer(stones: Database) -> None:
    """A long write holds up no reader."""
    with stones.transaction() as tx:
        tx.add(STONES, [{"name": "a"}])
        assert names(stones) == []
    assert names(stones) == ["a"]


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_moment_keeps_its_millisecond(moment: datetime) -> None:
    """What goes in comes out, to the millisecond."""
    dialect = sa.create_engine("sqlite://").dialect
    kept = Moment().process_result_value(Moment().process_bind_param(moment, dialect), dialect)
    assert kept is not None
    assert abs(kept - moment) <= timedelta(milliseconds=0.5)


def test_a_moment_without_a_zone_is_refused() -> None:
    """A naive time would be a guess."""
    with pytest.raises(ValueError, match="time zone"):
        Moment().process_bind_param(datetime(2026, 1, 1), sa.create_engine("sqlite://").dialect)  # noqa: DTZ001


def test_the_password_is_not_printed() -> None:
    """A database's repr goes into logs."""
    database = open_database("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in repr(database)
    database.close()


def test_another_kind_of_database_is_refused() -> None:
    """The text names the two kinds we speak."""
    with pytest.raises(ValueError, match="sqlite:///FILE or postgresql"):
        open_database("mysql://127.0.0.1/x")


def test_a_committed_row_survives_the_process(tmp_path: Path) -> None:
    """SQLite runs with full synchronisation: a power cut after the commit loses nothing."""
    database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.reading() as tx:
        assert tx.scalar(sa.text("PRAGMA synchronous")) == 2
        assert tx.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    database.close()
