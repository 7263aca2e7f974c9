"""The column types that behave alike on both engines."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
"""Every table of the control plane. Constraints have names, so that migrations can refer to them on both engines."""


def to_milliseconds(value: datetime | None) -> int | None:
    """Return a moment as it is stored. Raises ValueError for a datetime without a time zone."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {value!r}")
    return round(value.timestamp() * 1000)


def to_moment(value: Any) -> datetime | None:
    """Return a moment of what is stored."""
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def to_moments(values: Iterable[Any]) -> list[datetime | None]:
    """Return the moments of what is stored in a column."""
    column = list(values)
    different = set(column)
    if 2 * len(different) <= len(column):  # rows that were written together have the same ones
        return list(map({value: to_moment(value) for value in different}.__getitem__, column))
    return [None if value is None else datetime.fromtimestamp(value / 1000, UTC) for value in column]


class _Stored(dict[Any, Any]):
    """Moments as they are stored: rows that are written together have the same ones, mostly."""

    def __missing__(self, value: datetime) -> int | None:
        found = self[value] = to_milliseconds(value)
        return found


def each_to_milliseconds(values: Iterable[datetime | None]) -> Iterator[int | None]:
    """Yield the moments of a column as they are stored. Raises ValueError as `to_milliseconds`."""
    return map(_Stored({None: None}).__getitem__, values)


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, stored as whole milliseconds since 1970: the same value and order on both engines.

    Raises:
        ValueError: a datetime without a time zone.
    """

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return to_milliseconds(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        return to_moment(value)
