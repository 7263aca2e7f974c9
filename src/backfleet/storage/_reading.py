"""From rows to values: what a store reads by the hundred is made by position, without a dictionary for each row."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import EnumType
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

Made = TypeVar("Made")


def reader(table: sa.Table, made: type[Made], /, **converts: Callable[[Any], Any]) -> Callable[[sa.Row[Any]], Made]:
    """Return a function that makes a value of a row whose first columns are those of a table, in their order.

    Args:
        table: has a column for each field of the value, under the field's name.
        made: a dataclass, which has at least two fields.
        converts: for fields that are not stored as they are, what makes them of what is stored; an enumeration's
            members are found by their values.
    """
    names = [field.name for field in fields(made)]  # type: ignore[arg-type]  # any dataclass
    keys = list(table.c.keys())
    pick = itemgetter(*(keys.index(name) for name in names))
    converted = [
        (names.index(name), _members(convert) if isinstance(convert, EnumType) else convert)
        for name, convert in converts.items()
    ]

    def read(row: sa.Row[Any]) -> Made:
        values = list(pick(row))
        for at, convert in converted:
            values[at] = convert(values[at])
        return made(*values)

    return read


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
