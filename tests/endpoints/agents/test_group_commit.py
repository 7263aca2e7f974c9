"""Group commit: many small writes in one transaction, and each with its own result."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from backfleet.endpoints.agents import group_commit
from backfleet.endpoints.agents.group_commit import GroupCommit, Kind, Permit
from backfleet.endpoints.agents.signatures import NotAuthenticated
from backfleet.storage import Database, Transaction

LINES = sa.Table("lines", sa.MetaData(), sa.Column("name", sa.String(20), primary_key=True))


@pytest.fixture
def lines(sqlite_database: Database) -> Iterator[Database]:
    """A database with one more table."""
    LINES.create(sqlite_database.engine)
    yield sqlite_database
    LINES.drop(sqlite_database.engine)


@pytest.fixture
def group(lines: Database) -> Iterator[GroupCommit]:
    """The group commit of a node."""
    with ThreadPoolExecutor(1) as threads:
        yield GroupCommit(lines, threads)


def stored(database: Database) -> list[str]:
    with database.reading() as tx:
        return [row.name for row in tx.rows(sa.select(LINES).order_by(sa.literal_column("rowid")))]


def add(name: str) -> Callable[[Transaction], str]:
    def work(tx: Transaction) -> str:
        tx.add(LINES, [{"name": name}])
        return name

    return work


def refuse(_tx: Transaction) -> None:
    raise NotAuthenticated("its request id was used before")


async def test_a_write_that_may_wait_goes_along_with_the_next_one(
    lines: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many heartbeats cost one transaction, and whoever is in a hurry waits for none of them."""
    assert await group.write("", add("0"), apart_seconds=3600.0) == "0", "there was none before"
    begun = list[object]()
    transaction = Database.transaction
    monkeypatch.setattr(Database, "transaction", lambda self: begun.append(self) or transaction(self))
    waiting = [asyncio.create_task(group.write("", add(name), apart_seconds=3600.0)) for name in ("a", "b")]
    await asyncio.sleep(0.05)
    assert not begun
    assert await group.write("", add("c")) == "c"
    assert await asyncio.gather(*waiting) == ["a", "b"]
    assert stored(lines) == ["0", "a", "b", "c"]
    assert len(begun) == 1


async def test_a_write_that_may_wait_that_nobody_comes_along_with_is_written(
    lines: Database, group: GroupCommit
) -> None:
    """At the end of its time; and again after that."""
    for name in ("a", "b"):
        assert await group.write("", add(name), apart_seconds=0.01) == name
    assert stored(lines) == ["a", "b"]


async def test_writes_that_wait_together_are_one_transaction(
    lines: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that avoids deadlocks between nodes; each gets its own result."""
    begun = list[object]()
    transaction = Database.transaction
    monkeypatch.setattr(Database, "transaction", lambda self: begun.append(self) or transaction(self))
    results = await asyncio.gather(*(group.write(name, add(name)) for name in ("c", "a", "b")))
    assert results == ["c", "a", "b"]
    assert stored(lines) == ["a", "b", "c"]
    assert len(begun) == 1


async def test_a_refused_write_does_not_stop_the_others(lines: Database, group: GroupCommit) -> None:
    """It is the only one that fails."""
    results = await asyncio.gather(group.write("a", add("a")), group.write("b", refuse), return_exceptions=True)
    assert results[0] == "a"
    assert isinstance(results[1], NotAuthenticated)
    assert stored(lines) == ["a"]


async def test_a_failed_write_does_not_take_the_others_along(lines: Database, group: GroupCommit) -> None:
    """The transaction is lost, so each is tried again alone: only the one that fails is lost."""
    results = await asyncio.gather(*(group.write(name, add(name)) for name in ("a", "a", "b")), return_exceptions=True)
    assert sorted(stored(lines)) == ["a", "b"]
    assert [type(result) is str for result in results].count(True) == 2
    assert results[2] == "b"


async def test_a_batch_has_a_limit(lines: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    """More writes go into the next transaction."""
    monkeypatch.setattr(group_commit, "MOST_AT_ONCE", 2)
    names = ["e", "d", "c", "b", "a"]
    await asyncio.gather(*(group.write(name, add(name)) for name in names))
    assert stored(lines) == ["d", "e", "b", "c", "a"]


def adding(tx: Transaction, names: Sequence[str]) -> list[str | NotAuthenticated]:
    """Add all names but those that begin with a minus."""
    tx.add(LINES, [{"name": name} for name in names if not name.startswith("-")])
    return [NotAuthenticated(name) if name.startswith("-") else name for name in names]


async def test_writes_of_a_kind_are_done_together(
    lines: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind by kind, each kind in its order, in one transaction; each write has its own result, or is refused."""
    begun, done = list[object](), list[list[str]]()
    transaction = Database.transaction
    monkeypatch.setattr(Database, "transaction", lambda self: begun.append(self) or transaction(self))

    def add_all(tx: Transaction, names: Sequence[str]) -> list[str | NotAuthenticated]:
        done.append(list(names))
        return adding(tx, names)

    asked = [(Kind.REPORT, "c"), (Kind.LIST, "e"), (Kind.REPORT, "-b"), (Kind.LIST, "d"), (Kind.REPORT, "a")]
    results = await asyncio.gather(
        *(group.write_together(kind, name, add_all, name) for kind, name in asked), return_exceptions=True
    )
    assert [str(result) for result in results] == ["c", "e", "-b", "d", "a"]
    assert [isinstance(result, NotAuthenticated) for result in results] == [False, False, True, False, False]
    assert done == [["d", "e"], ["-b", "a", "c"]]
    assert len(begun) == 1


async def test_permits_of_all_kinds_are_used_up_together_before_any_write(lines: Database, group: GroupCommit) -> None:
    """In one statement: two nodes with permits in common cannot wait for each other. Who is refused writes nothing."""
    used, done = list[list[str]](), list[str]()

    def spend(_tx: Transaction, names: Sequence[str]) -> list[NotAuthenticated | None]:
        assert not done
        used.append(list(names))
        return [NotAuthenticated(name) if name.startswith("-") else None for name in names]

    def add_all(tx: Transaction, names: Sequence[str]) -> list[str | NotAuthenticated]:
        done.extend(names)
        return adding(tx, names)

    asked = [(Kind.REPORT, "c"), (Kind.SIGNATURE, "-s"), (Kind.LIST, "-e"), (Kind.REPORT, "a"), (Kind.LIST, "d")]
    results = await asyncio.gather(
        *(group.write_together(kind, name, add_all, name.strip("-"), Permit(spend, name)) for kind, name in asked),
        return_exceptions=True,
    )
    assert used == [["c", "-s", "-e", "a", "d"]]
    assert [str(result) for result in results] == ["c", "-s", "-e", "a", "d"]
    assert [isinstance(result, NotAuthenticated) for result in results] == [False, True, True, False, False]
    assert done == ["d", "a", "c"]
    assert sorted(stored(lines)) == ["a", "c", "d"]


async def test_a_permit_is_used_up_again_where_its_transaction_failed(lines: Database, group: GroupCommit) -> None:
    """Each write is then tried alone, with its own."""
    used = list[list[str]]()

    def spend(_tx: Transaction, names: Sequence[str]) -> list[NotAuthenticated | None]:
        used.append(list(names))
        return [None] * len(names)

    results = await asyncio.gather(
        *(group.write_together(Kind.REPORT, name, adding, name, Permit(spend, name)) for name in ("a", "a", "b")),
        return_exceptions=True,
    )
    assert sorted(stored(lines)) == ["a", "b"]
    assert [isinstance(result, str) for result in results].count(True) == 2
    assert used == [["a", "a", "b"], ["a"], ["a"], ["b"]]


async def test_a_failed_write_of_a_kind_does_not_take_the_others_along(lines: Database, group: GroupCommit) -> None:
    """Each is tried again alone."""
    results = await asyncio.gather(
        *(group.write_together(Kind.REPORT, name, adding, name) for name in ("a", "a", "b")), return_exceptions=True
    )
    assert sorted(stored(lines)) == ["a", "b"]
    assert [isinstance(result, str) for result in results].count(True) == 2


async def test_a_write_without_a_kind_is_in_no_transaction_with_others(
    lines: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lock rows in another order than they do. Both are written."""
    begun = list[object]()
    transaction = Database.transaction
    monkeypatch.setattr(Database, "transaction", lambda self: begun.append(self) or transaction(self))
    writes = (
        group.write("a", add("a")), group.write_together(Kind.LIST, "b", adding, "b"), group.write("c", add("c"))
    )  # fmt: skip
    assert await asyncio.gather(*writes) == ["a", "b", "c"]
    assert sorted(stored(lines)) == ["a", "b", "c"]
    assert len(begun) == 2


async def test_what_comes_close_together_waits_for_more(
    lines: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred writes, one after the other within a tenth of a second, are a few transactions."""
    begun = list[object]()
    transaction = Database.transaction
    monkeypatch.setattr(Database, "transaction", lambda self: begun.append(self) or transaction(self))
    writes = []
    for number in range(100):
        writes.append(asyncio.create_task(group.write_together(Kind.LIST, "", adding, str(number))))
        await asyncio.sleep(0.001)
    await asyncio.gather(*writes)
    assert len(stored(lines)) == 100
    assert len(begun) < 20
