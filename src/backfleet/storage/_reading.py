"""From rows to values: what a store reads by the hundred is made by position, without a dictionary for each row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import EnumType
from operator import itemgetter
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

Made = TypeVar("Made")


class Reader(Generic[Made]):
    """Makes values of rows: of one that it is called with, or of many together, column by column."""

    def __init__(
        self, made: type[Made], places: Sequence[int], converts: Sequence[tuple[int, Callable[[Any], Any]]] = ()
    ) -> None:
        """Make `made` of the columns in these places, in this order, some of which are converted."""
        self._made, self._converts = made, converts
        self._pick = itemgetter(*places)

    def __call__(self, row: sa.Row[Any]) -> Made:
        values = list(self._pick(row))
        for at, convert in self._converts:
            values[at] = convert(values[at])
        return self._made(*values)

    def all(self, found: Sequence[Iterable[Any]]) -> list[Made]:
        """Return the value of each row, in their order.

        Args:
            found: the columns of all rows; none if there are no rows.
        """
        if not found:
            return []
        columns: list[Iterable[Any]] = list(self._pick(found))
        for at, convert in self._converts:
            columns[at] = map(convert, columns[at])
        return list(map(self._made, *columns))


def reader(table: sa.Table, made: type[Made], /, **converts: Callable[[Any], Any]) -> Reader[Made]:
    """Return what makes a value of a row whose first columns are those of a table, in their order.

    Args:
        table: has a column for each field of the value, under the field's name.
        made: a dataclass, which has at least two fields.
        converts: for fields that are not stored as they are, what makes them of what is stored; an enumeration's
            members are found by their values.
    """
    names = [field.name for field in fields(made)]  # type: ignore[arg-type]  # any dataclass
    keys = list(table.c.keys())
    converted = [
        (names.index(name), _members(convert) if isinstance(convert, EnumType) else convert)
        for name, convert in converts.items()
    ]
    return Reader(made, [keys.index(name) for name in names], converted)


class _Members(dict[Any, Any]):
    """The members of an enumeration by their values. One that it does not have is refused as by the enumeration."""

    def __init__(self, kind: EnumType, members: Mapping[Any, Any]) -> None:
        super().__init__(members)
        self._kind = kind

    def __missing__(self, value: Any) -> Any:
        return self._kind(value)


def _members(kind: EnumType) -> Callable[[Any], Any]:
    members: list[Any] = list(kind)
    return _Members(kind, {member.value: member for member in members}).__getitem__
