"""Prepared statements, on both engines alike: they do what SQLAlchemy does with the same statement."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from operator import itemgetter
from typing import Any, Final

import pytest
import sqlalchemy as sa

from backfleet.storage import Conflict, Database, Moment, Prepared

THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("patience", sa.Integer, key="seconds", nullable=False, server_default="7"),
    sa.Column("at", Moment),
    sa.Column("done", sa.Boolean),
    sa.Column("share", sa.Float),
    sa.Column("output", sa.LargeBinary),
    sa.Column("facts", sa.JSON(none_as_null=True)),
)
IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
AMONG = sa.select(THINGS).where(THINGS.c.id.in_(IDS)).order_by(THINGS.c.id)
OPEN = sa.select(THINGS.c.id, sa.func.count().over().label("number")).where(
    THINGS.c.id.in_(("a", "b", "c")), THINGS.c.at >= sa.bindparam("since"), THINGS.c.done.is_(False)
)
PASS_ON = (
    sa.update(THINGS)
    .where(THINGS.c.id == sa.bindparam("of"))
    .values(
        at=sa.func.coalesce(sa.bindparam("moment", type_=Moment), THINGS.c.at),
        done=sa.case((sa.bindparam("moment").is_not(None), sa.true()), else_=sa.bindparam("over")),
        seconds=THINGS.c.seconds + 1,
    )
)


class Kind(StrEnum):
    """Values that are strings of a subclass, as modules store them."""

    ONE = "a"
    MANY = "many"


@pytest.fixture
def things(database: Database, now: datetime) -> Iterator[Database]:
    """A database with one more table, and three rows in it."""
    THINGS.create(database.engine)
    with database.transaction() as tx:
        rows = [("a", now, False, 0.5, b"\x00"), ("b", None, True, None, None), ("c", now, False, 1.0, b"")]
        tx.add(THINGS, [dict(zip(("id", "at", "done", "share", "output"), row, strict=True)) for row in rows])
    yield database
    THINGS.drop(database.engine)


@pytest.mark.parametrize("ids", [["b"], [], ["c", "a"], ["a", "a", "b"], ["a", "b", "c", "d", "e"], [Kind.ONE, "x"]])
def test_rows_are_those_of_the_statement(things: Database, ids: list[str]) -> None:
    """However many values the list has, also after it had others, and with every type of column."""
    prepared = Prepared(AMONG)
    with things.reading() as tx:
        for named in (["a", "b", "c"], ids):
            wanted = [tuple(row) for row in tx.rows(AMONG, {"ids": named})]
            assert [tuple(row) for row in tx.rows(prepared, {"ids": named})] == wanted
            assert [row.id for row in tx.rows(prepared, {"ids": named})] == sorted(set(named) & {"a", "b", "c"})
            first = tx.first(prepared, {"ids": named})
            assert (first and tuple(first)) == (wanted[0] if wanted else None)
            assert tx.scalar(prepared, {"ids": named}) == (wanted[0][0] if wanted else None)


def test_rows_know_the_names_of_their_columns(things: Database, now: datetime) -> None:
    """As attributes and by name: by its own, by that which the code has for it, and by the column itself."""
    with things.reading() as tx:
        (row,) = tx.rows(Prepared(AMONG), {"ids": ["a"]})
    assert (row.id, row.patience, row.at, row.done, row.share) == ("a", 7, now, False, 0.5)
    assert row.seconds == row._mapping[THINGS.c.seconds] == 7
    assert row._mapping["output"] == b"\x00"
    assert list(row._mapping) == ["id", "patience", "at", "done", "share", "output", "facts"]


def test_values_in_the_statement_stay_in_it(things: Database, now: datetime) -> None:
    """Those that are not named are the same at each execution, lists of them included."""
    prepared = Prepared(OPEN)
    with things.reading() as tx:
        for _ in range(2):
            assert [tuple(row) for row in tx.rows(prepared, {"since": now})] == [("a", 2), ("c", 2)]
            assert tx.rows(prepared, {"since": datetime.max.replace(tzinfo=now.tzinfo)}) == []


def test_it_runs_once_for_each_of_several_values(things: Database, now: datetime) -> None:
    """A parameter that occurs twice is one; of its types the one that converts counts."""
    prepared = Prepared(PASS_ON)
    with things.transaction() as tx:
        both = [{"of": "a", "moment": None, "over": None}, {"of": "b", "moment": now, "over": False}]
        assert tx.run(prepared, both) == 2
        assert tx.run(prepared, {"of": "c", "moment": None, "over": False}) == 1
        assert tx.run(prepared, {"of": "nothing", "moment": None, "over": False}) == 0
    with things.reading() as tx:
        found = [(row.id, row.patience, row.at, row.done) for row in tx.rows(AMONG, {"ids": ["a", "b", "c"]})]
    assert found == [("a", 8, now, None), ("b", 8, now, True), ("c", 8, now, False)]


def test_rows_by_columns_are_added_like_rows_by_name(things: Database, now: datetime) -> None:
    """Converted as those, columns that are left out as the table has them; one that is there already is a conflict."""
    columns = ("at", "id", "done")
    with things.transaction() as tx:
        tx.add_rows(THINGS, columns, [])
        tx.add_rows(THINGS, columns, [(now, "d", True), (None, "e", False)])
    with things.reading() as tx:
        found = [(row.id, row.patience, row.at, row.done) for row in tx.rows(AMONG, {"ids": ["d", "e"]})]
    assert found == [("d", 7, now, True), ("e", 7, None, False)]
    with pytest.raises(Conflict), things.transaction() as tx:
        tx.add_rows(THINGS, columns, [(now, "f", True), (now, "a", True)])
    with things.reading() as tx:
        assert tx.rows(Prepared(AMONG), {"ids": ["f"]}) == []


ODD: Final = ["plain", "", "tab\t", "line\nfeed", "back\\slash", "\\N", '"quoted"', "{a,b}", "é 漢 🙂", "'"]


def test_many_rows_are_stored_like_one(things: Database, now: datetime) -> None:
    """Whatever is in them, by columns or by name; all or none; and what has no place in a column is refused."""
    columns, nothing = ("id", "at", "done", "share", "output", "facts"), (None, None, None, None, None)
    rows = [(f"{number} {odd}", now, True, 0.25, odd.encode(), {"of": odd}) for number, odd in enumerate(ODD)]
    rows += [(Kind.MANY, *nothing)]
    with things.transaction() as tx:
        tx.add_rows(THINGS, columns, rows)
        tx.add(THINGS, [{"done": False, "id": f"by name {odd}"} for odd in ODD])
    with things.reading() as tx:
        found = [
            tuple(row) for row in tx.rows(sa.select(THINGS).where(THINGS.c.at.is_(None) | (THINGS.c.share == 0.25)))
        ]
    by_name = [(f"by name {odd}", None, False, None, None, None) for odd in ODD]
    stored = [(row[0], *row[2:]) for row in found if row[0] != "b"]
    assert sorted(stored, key=itemgetter(0)) == sorted([*rows, *by_name], key=itemgetter(0))
    assert {row[1] for row in found} == {7}
    again = [(f"again {number}", *nothing) for number in range(20)]
    with pytest.raises(Conflict), things.transaction() as tx:
        tx.add_rows(THINGS, columns, [*again, ("a", *nothing)])
    with pytest.raises(ValueError, match="time zone"), things.transaction() as tx:
        tx.add_rows(THINGS, columns, [(f"naive {n}", datetime(2026, 1, 1), *nothing[1:]) for n in range(20)])  # noqa: DTZ001
    with things.transaction() as tx:
        assert tx.rows(Prepared(AMONG), {"ids": [row[0] for row in again]}) == []


@pytest.mark.parametrize("odd", ODD)
def test_lists_have_any_text(things: Database, odd: str) -> None:
    """A member of a list is that text and no other, in lists of any length."""
    with things.transaction() as tx:
        tx.add(THINGS, [{"id": odd}])
        for among in ([odd], ["x", odd, "y"], [odd, *ODD]):
            assert odd in [row.id for row in tx.rows(Prepared(AMONG), {"ids": among})]
        others = [one for one in [*ODD, f"{odd}x", f" {odd}"] if one != odd]
        assert tx.rows(Prepared(AMONG), {"ids": others}) == []


def test_rows_that_have_much_in_common_are_stored_each(things: Database, now: datetime) -> None:
    """Equal moments, none, and members of an enumeration beside text: all come back as they are, also many at once."""
    later = now + timedelta(seconds=1)
    added = [
        (Kind.MANY if number == 0 else f"m{number}", [now, later, None][number % 3], number % 2 == 0)
        for number in range(9)
    ]
    with things.transaction() as tx:
        tx.add_rows(THINGS, ("id", "at", "done"), added)
    with things.reading() as tx:
        found = tx.rows(Prepared(AMONG), {"ids": [row[0] for row in added]})
    assert sorted((row.id, row.at, row.done) for row in found) == sorted((str(id_), *rest) for id_, *rest in added)


def test_moments_without_a_zone_are_refused_among_many(things: Database, now: datetime) -> None:
    """As one alone is."""
    moments = [now] * 5 + [now.replace(tzinfo=None)]
    with pytest.raises(ValueError, match="time zone"), things.transaction() as tx:
        tx.add_rows(THINGS, ("id", "at"), [(f"m{number}", moment) for number, moment in enumerate(moments)])


def test_a_missing_value_is_refused(things: Database) -> None:
    """It is no null: that would change what is written."""
    with pytest.raises(KeyError), things.transaction() as tx:
        tx.run(Prepared(PASS_ON), {"of": "a", "moment": None})


def test_a_refused_row_is_a_conflict_and_the_connection_stays_good(things: Database) -> None:
    """The transaction is lost, and nothing of it is there."""
    for _ in range(3):
        with pytest.raises(Conflict), things.transaction() as tx:
            tx.add(THINGS, [{"id": "new"}, {"id": "a"}])
    with things.reading() as tx:
        assert tx.rows(Prepared(AMONG), {"ids": ["new"]}) == []


def test_a_failure_is_that_of_sqlalchemy_and_shows_no_value(things: Database) -> None:
    """Values may be secrets."""
    missing = sa.Table("missing", sa.MetaData(), sa.Column("id", sa.String(20)))
    with pytest.raises(sa.exc.DBAPIError) as raised, things.reading() as tx:
        tx.rows(Prepared(sa.select(missing).where(missing.c.id == sa.bindparam("of"))), {"of": "hunter2"})
    assert "missing" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_who_listens_hears_of_it(things: Database) -> None:
    """As of every other statement."""
    heard: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        heard.append(statement)

    sa.event.listen(things.engine, "before_cursor_execute", note)
    try:
        with things.reading() as tx:
            assert len(tx.rows(Prepared(AMONG), {"ids": ["a", "b"]})) == 2
    finally:
        sa.event.remove(things.engine, "before_cursor_execute", note)
    assert any("things" in statement for statement in heard)
