"""Small writes of several threads share a commit where only one can write, and each stands or falls alone."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet.storage import CallLimit, Conflict, Database, TimeOuts, Transaction, Trouble, Unavailable, open_database
from backfleet.storage._database import SMALL_WRITES_WAIT
from backfleet.storage._together import MOST_TOGETHER
from backfleet.storage._turns import Turns
from journeys.installation import wait_for

ROWS = sa.Table("together", sa.MetaData(), sa.Column("name", sa.String(10_000_000), primary_key=True))
WRITERS = 12


@pytest.fixture
def rows(database: Database) -> Iterator[Database]:
    """A database with one more table."""
    ROWS.create(database.engine)
    yield database
    ROWS.drop(database.engine)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Database]:
    """SQLite, which has one writer, and waits for it for a second only."""
    found = open_database(f"sqlite:///{tmp_path / 'together.db'}", time_outs=TimeOuts(lock=1.0))
    ROWS.create(found.engine)
    yield found
    found.close()


def adding(name: str) -> Callable[[Transaction], str]:
    def add(tx: Transaction) -> str:
        tx.add(ROWS, [{"name": name}])
        return name

    return add


def refused(name: str) -> Callable[[Transaction], str]:
    """A write that raises once it has written something."""

    def add(tx: Transaction) -> str:
        tx.add(ROWS, [{"name": name}])
        raise LookupError(name)

    return add


def names(database: Database) -> set[str]:
    with database.reading() as tx:
        return {row.name for row in tx.rows(sa.select(ROWS))}


@contextmanager
def commits_counted(database: Database) -> Iterator[list[int]]:
    found: list[int] = []

    def count(connection: Any) -> None:
        found.append(1)

    sa.event.listen(database.engine, "commit", count)
    try:
        yield found
    finally:
        sa.event.remove(database.engine, "commit", count)


def all_at_once(database: Database, works: list[Callable[[], Any]]) -> list["Future[Any]"]:
    """Have threads ask for these writes while somebody else writes, and wait until each of them is over."""
    with ThreadPoolExecutor(len(works)) as threads:
        ready = threading.Barrier(len(works) + 1)

        def ask(work: Callable[[], Any]) -> Any:
            ready.wait(30)
            return work()

        with database.transaction():
            asked = [threads.submit(ask, work) for work in works]
            ready.wait(30)
            while database.engine.dialect.name == "sqlite" and not is_waited_for(database, len(works)):
                threading.Event().wait(0.005)
    return asked


def is_waited_for(database: Database, writers: int) -> bool:
    assert database._together is not None
    return len(database._together._waiting) == writers


def test_a_write_alone_is_stored_and_answered(rows: Database) -> None:
    assert rows.write_together(adding("a")) == "a"
    with pytest.raises(LookupError, match="b"):
        rows.write_together(refused("b"))
    assert rows.write_together(adding("c")) == "c"
    assert names(rows) == {"a", "c"}


def test_writes_that_wait_at_the_same_time_share_a_commit(own: Database) -> None:
    with commits_counted(own) as commits:
        works = [lambda name=f"w{n}": own.write_together(adding(name)) for n in range(WRITERS)]
        asked = all_at_once(own, works)
    assert [each.result() for each in asked] == [f"w{n}" for n in range(WRITERS)]
    assert names(own) == {f"w{n}" for n in range(WRITERS)}
    assert len(commits) == 2  # of the one who wrote before, and of all of these


def test_no_more_than_so_many_share_one(own: Database) -> None:
    with commits_counted(own) as commits:
        works = [lambda name=f"w{n}": own.write_together(adding(name)) for n in range(MOST_TOGETHER + 3)]
        all_at_once(own, works)
    assert len(names(own)) == MOST_TOGETHER + 3
    assert len(commits) == 3


def test_small_writes_come_before_a_transaction_that_waits_as_long(tmp_path: Path) -> None:
    """Somebody waits for the answer to a call. Between them whoever lets go and comes back at once would have it."""
    now, order = 1000.0, []
    turns = Turns(lambda: now)
    database = open_database(f"sqlite:///{tmp_path / 'order.db'}", time_outs=TimeOuts(lock=60.0), turns=turns)

    def write() -> None:
        with database.transaction():
            order.append("transaction")

    with ThreadPoolExecutor(2) as threads:
        with database.transaction():
            asked = [threads.submit(write)]
            wait_for(lambda: turns.waiting == 1, 30)
            asked.append(threads.submit(database.write_together, lambda _tx: order.append("small")))
            wait_for(lambda: turns.waiting == 2, 30)
            now += SMALL_WRITES_WAIT
        for each in asked:
            each.result(30)
    database.close()
    assert order == ["small", "transaction"]


@pytest.mark.parametrize("leave", [lambda tx: tx.publish("topic"), lambda tx: tx.after_commit(list)])
def test_nothing_may_be_left_to_do_after_the_commit(rows: Database, leave: Callable[[Transaction], None]) -> None:
    """It would be done also if only this part was undone, by whoever leads."""

    def work(tx: Transaction) -> None:
        adding("a")(tx)
        leave(tx)

    with pytest.raises(RuntimeError, match="after the commit"):
        rows.write_together(work)
    assert names(rows) == set()


def test_what_one_of_several_raises_is_its_own(rows: Database) -> None:
    """Nothing of it is stored, and all of the others is, before and after it."""
    works: list[Callable[[], Any]] = [lambda name=f"w{n}": rows.write_together(adding(name)) for n in range(4)]
    works[1] = lambda: rows.write_together(refused("w1"))
    works[2] = lambda: rows.write_together(adding("w0"))  # that row is there already, or will be
    asked = all_at_once(rows, works)
    assert isinstance(asked[1].exception(), LookupError)
    assert sum(isinstance(asked[n].exception(), Conflict) for n in (0, 2)) == 1
    assert asked[3].result() == "w3"
    assert names(rows) == {"w0", "w3"}


def test_a_call_whose_time_is_over_writes_nothing_and_the_others_do(rows: Database) -> None:
    """Also one that is over only after its work."""
    left = rows.within(CallLimit(float("inf"), lambda: True))
    asked_twice = iter([False, True])
    leaving = rows.within(CallLimit(float("inf"), lambda: next(asked_twice)))
    others = [lambda name=f"w{n}": rows.write_together(adding(name)) for n in range(3)]
    works = [lambda: left.write_together(adding("a")), lambda: leaving.write_together(adding("b")), *others]
    asked = all_at_once(rows, works)
    troubles = [each.exception() for each in asked[:2]]
    assert [isinstance(each, Unavailable) and each.trouble for each in troubles] == [Trouble.CALLER_GONE] * 2
    assert names(rows) == {"w0", "w1", "w2"}


def test_a_full_disk_fails_all_that_share_the_commit(own: Database) -> None:
    """None is stored, each is told why, and the next write goes on once there is space."""
    with own.transaction() as tx:
        pages = tx.scalar(sa.text("PRAGMA page_count"))

    def limited(most: int) -> None:
        for connection in list(own._connections._idle):
            connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")
            connection.rollback()

    works = [lambda name=str(n) * 2_000_000: own.write_together(adding(name)) for n in range(2)]
    limited(pages + 4)
    asked = all_at_once(own, [*works, lambda: own.write_together(adding("small"))])
    troubles = [each.exception() for each in asked]
    assert [isinstance(each, Unavailable) and each.trouble for each in troubles] == [Trouble.FULL] * 3
    assert len({id(each) for each in troubles}) == 3
    assert names(own) == set()
    limited(1 << 30)
    assert own.write_together(adding("later")) == "later"


def test_whoever_came_later_has_its_own_time_to_wait_for_a_lock(own: Database, tmp_path: Path) -> None:
    """Not what is left of the time of the one that leads, nor the same once more."""
    other, pause = open_database(f"sqlite:///{tmp_path / 'together.db'}"), threading.Event()
    with ThreadPoolExecutor(3) as threads:
        with other.transaction() as tx:
            tx.run(sa.insert(ROWS).values(name="other"))
            first = threads.submit(own.write_together, adding("first"))
            pause.wait(0.1)
            began = time.monotonic()
            second = threads.submit(own.write_together, adding("second"))
            pause.wait(0.7)
            last = threads.submit(own.write_together, adding("last"))
            troubles = [each.exception(10) for each in (first, second)]
            waited = time.monotonic() - began
        assert last.result(10) == "last"
    other.close()
    assert [isinstance(each, Unavailable) and each.trouble for each in troubles] == [Trouble.LOCKED] * 2
    assert waited < 1.6  # by then the last one would have waited for as long
    assert names(own) == {"other", "last"}


def test_a_lock_that_somebody_else_keeps_fails_all_that_wait_in_one_time(own: Database, tmp_path: Path) -> None:
    """Not one after the other; and whoever asks after that is served."""
    other = open_database(f"sqlite:///{tmp_path / 'together.db'}")
    with ThreadPoolExecutor(4) as threads:
        with other.transaction() as tx:
            tx.run(sa.insert(ROWS).values(name="other"))
            asked = [threads.submit(own.write_together, adding(f"w{n}")) for n in range(4)]
            troubles = [each.exception(10) for each in asked]
        assert [isinstance(each, Unavailable) and each.trouble for each in troubles] == [Trouble.LOCKED] * 4
    other.close()
    assert own.write_together(adding("later")) == "later"
    assert names(own) == {"other", "later"}
