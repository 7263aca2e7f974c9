"""From rows to values."""

from dataclasses import dataclass
from enum import StrEnum

import pytest
import sqlalchemy as sa

from backfleet.storage import Database, Prepared, reader


class Colour(StrEnum):
    """An enumeration that is stored by its values."""

    RED = "red"


@dataclass(frozen=True, slots=True)
class Car:
    """A value whose fields are in another order than the columns."""

    colour: Colour
    name: str
    doors: int


CARS = sa.Table(
    "cars",
    sa.MetaData(),
    sa.Column("name", sa.String),
    sa.Column("paint", sa.String, key="colour"),
    sa.Column("note", sa.String),
    sa.Column("doors", sa.Integer),
)
read = reader(CARS, Car, colour=Colour, name=str.upper)


def row_of(database: Database, colour: str) -> sa.Row[tuple[object, ...]]:
    """A row with all columns of the table, and one more."""
    values = ("sa.Row", colour, "a note", 3, "one more")
    with database.reading() as tx:
        (row,) = tx.rows(sa.select(*(sa.literal(value).label(f"l{at}") for at, value in enumerate(values))))
    return row


def test_a_value_is_made_of_its_columns(database: Database) -> None:
    """By their places: fields in another order, columns without a field, and more columns than the table's."""
    assert read(row_of(database, "red")) == Car(Colour.RED, "SA.ROW", 3)
    assert read(row_of(database, "red")).colour is Colour.RED


def test_a_value_that_the_enumeration_does_not_have_is_refused(database: Database) -> None:
    """As by the enumeration itself."""
    with pytest.raises(ValueError, match="blue"):
        read(row_of(database, "blue"))


def test_many_rows_give_what_each_gives_alone(database: Database) -> None:
    """In their order; none give none; and a value that the enumeration does not have is refused among them, too."""
    rows = [row_of(database, "red"), row_of(database, "red")]
    assert read.all(list(zip(*rows, strict=True))) == [read(row) for row in rows]
    assert read.all([]) == []
    with pytest.raises(ValueError, match="blue"):
        read.all(list(zip(rows[0], row_of(database, "blue"), strict=True)))


def test_a_transaction_reads_values_of_any_statement(database: Database) -> None:
    """Of one that is prepared, of another, of one that somebody watches, and of one without rows."""
    columns = [sa.literal(value).label(f"l{at}") for at, value in enumerate(("sa.Row", "red", "", 3, ""))]
    for query in (sa.select(*columns), sa.select(*columns).where(sa.false())):
        wanted = 0 if query.whereclause is not None else 1
        with database.reading() as tx:
            assert tx.read(read, query, {}) == tx.read(read, Prepared(query), {})
            assert len(tx.read(read, query, {})) == wanted
        sa.event.listen(database.engine, "before_cursor_execute", ignore)
        try:
            with database.reading() as tx:
                assert len(tx.read(read, Prepared(query), {})) == wanted
        finally:
            sa.event.remove(database.engine, "before_cursor_execute", ignore)


def ignore(*_arguments: object) -> None:
    """Listen to what is executed, and do nothing."""
