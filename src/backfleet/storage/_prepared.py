"""Statements of the busiest paths, compiled once.

SQLAlchemy prepares each execution anew: it computes the statement's key, looks up its compiled form, and sets up an
execution context and the metadata of a result. Of a statement that takes 20 us that is 100 us more. A `Prepared` keeps
what it found at the first execution: the text, where each value goes, and how values and rows are converted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import repeat
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from backfleet.library_internals import raise_as_sqlalchemy_does
from backfleet.storage._columns import Moment, each_to_milliseconds, to_milliseconds, to_moments
from backfleet.values import value_object

Values = Mapping[str, Any]
Convert = Callable[[Any], Any]
Read = TypeVar("Read")
_TRUTH: Final = {None: None, False: 0, True: 1}
MOST_TEXTS: Final = 64  # kept of one statement: one for each number of values that its lists had, rounded up


@value_object
class _Text:
    """One form of a statement on one engine."""

    sql: str
    constants: list[Any] | dict[str, Any]  # by position or by name, as the driver takes them; None where a value goes
    places: tuple[tuple[Any, str, Convert | None], ...]  # position or name, the value's name, how it is converted
    lists: Mapping[str, Sequence[str]]  # the names that the values of a list get

    def parameters(self, values: Values) -> Any:
        """Return what the driver is given for these values. Raises KeyError for one that is missing."""
        if self.lists:
            values = {**values, **_spread(self.lists, values)}
        found: Any = self.constants.copy()
        for place, name, convert in self.places:
            value = values[name]
            found[place] = value if convert is None else convert(value)
        return found

    def parameters_of_each(self, each: Sequence[Values]) -> list[Any]:
        """Return what the driver is given for each of these values, made column by column."""
        if self.lists or not self.places:
            return [self.parameters(one) for one in each]
        return self._of_columns({name: [one[name] for one in each] for _, name, _ in self.places})

    def parameters_of_rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Return what the driver is given for rows whose values are in the order of their names."""
        return self._of_columns(dict(zip(names, zip(*rows, strict=True), strict=True)))

    def _of_columns(self, given: Mapping[str, Sequence[Any]]) -> list[Any]:
        named = isinstance(self.constants, dict)
        constants = self.constants if isinstance(self.constants, dict) else dict(enumerate(self.constants))
        columns: dict[Any, Iterable[Any]] = {place: repeat(value) for place, value in constants.items()}
        for place, name, convert in self.places:
            columns[place] = as_driver_takes(given[name]) if convert is None else _each(convert)(given[name])
        rows = zip(*columns.values(), strict=False)  # those of constants have no end
        return [dict(zip(columns, row, strict=True)) for row in rows] if named else list(rows)


def not_searched(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return a column of text for a condition on rows that are found by another one.

    SQLite does not know how many rows have one value, and takes an account's for a few: it would read all of them,
    where a hundred ids say which ones are wanted.
    """
    return column.concat("")


class _Likely(FunctionElement[bool]):
    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> Any:
        """Return it as it is: compared with 1, it would not be found as the condition of an index."""
        return self


@compiles(_Likely)
def _without_hint(element: _Likely, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


@compiles(_Likely, "sqlite")
def _with_hint(element: _Likely, compiler: Any, **options: Any) -> str:
    return f"likely({compiler.process(element.clauses, **options)})"


def likely(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return a condition that most rows meet: as `not_searched`, but of use for an index of such rows alone."""
    return _Likely(condition)


class Prepared:
    """A statement whose values all have names. It is built once, at the head of a `_store`."""

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self._texts: dict[tuple[object, ...], _Text] = {}
        self._rows: dict[str, _Rows] = {}
        self._lists = sorted(_names_of_lists(statement))

    def all(self, connection: sa.Connection, values: Values) -> Sequence[sa.Row[Any]]:
        """Return every row."""
        if is_watched(connection):
            return connection.execute(self.statement, values).all()
        return self._execute(connection, values, lambda cursor: self._found(connection, cursor, cursor.fetchall()))

    def columns(self, connection: sa.Connection, values: Values) -> Sequence[Iterable[Any]]:
        """Return every row, as the columns that they have; none if there are no rows."""
        if is_watched(connection):
            return list(zip(*connection.execute(self.statement, values).all(), strict=True))
        return self._execute(
            connection, values, lambda cursor: self._reads(connection, cursor).columns_of(cursor.fetchall())
        )

    def first(self, connection: sa.Connection, values: Values) -> sa.Row[Any] | None:
        """Return the first row, or None."""
        if is_watched(connection):
            return connection.execute(self.statement, values).first()

        def fetch(cursor: Any) -> sa.Row[Any] | None:
            row = cursor.fetchone()
            return None if row is None else self._found(connection, cursor, [row])[0]

        return self._execute(connection, values, fetch)

    def run(self, connection: sa.Connection, values: Values | Sequence[Values]) -> int:
        """Run it, once for each of several values. Return how many rows it changed."""
        if is_watched(connection):
            return connection.execute(self.statement, values).rowcount
        if not isinstance(values, list | tuple):
            return self._execute(connection, cast(Values, values), lambda cursor: int(cursor.rowcount))
        text = self._text(connection.dialect, values[0])
        return self._execute_each(connection, text, text.parameters_of_each(values))

    def run_rows(self, connection: sa.Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        """Run it once for each of these rows, whose values are in the order of their names. It must have no lists."""
        if is_watched(connection):
            return self.run(connection, [dict(zip(names, row, strict=True)) for row in rows])
        text = self._text(connection.dialect, {})
        return self._execute_each(connection, text, text.parameters_of_rows(names, rows))

    def _execute_each(self, connection: sa.Connection, text: _Text, parameters: list[Any]) -> int:
        def execute(cursor: Any) -> int:
            cursor.executemany(text.sql, parameters)
            return int(cursor.rowcount)

        return self._with_cursor(connection, text, execute)

    def _execute(self, connection: sa.Connection, values: Values, read: Callable[[Any], Read]) -> Read:
        text = self._text(connection.dialect, values)

        def execute(cursor: Any) -> Read:
            cursor.execute(text.sql, text.parameters(values))
            return read(cursor)

        return self._with_cursor(connection, text, execute)

    def _with_cursor(self, connection: sa.Connection, text: _Text, execute: Callable[[Any], Read]) -> Read:
        cursor: Any = None
        try:
            cursor = connection.connection.cursor()
            found = execute(cursor)
            cursor.close()
            return found
        except connection.dialect.loaded_dbapi.Error as problem:
            raise_as_sqlalchemy_does(connection, problem, text.sql, cursor)

    def _text(self, dialect: sa.Dialect, values: Values) -> _Text:
        one_text = _has_arrays(dialect)  # whatever the lengths of its lists
        lengths = tuple(0 if one_text else _rounded(len(values[name])) for name in self._lists)
        key = (dialect.name, *lengths)
        found = self._texts.get(key)
        if found is None:
            found = _compile(self.statement, dialect, dict(zip(self._lists, lengths, strict=True)))
            if len(self._texts) < MOST_TEXTS:
                self._texts[key] = found
        return found

    def _found(self, connection: sa.Connection, cursor: Any, rows: Sequence[Any]) -> Sequence[sa.Row[Any]]:
        return self._reads(connection, cursor).made_of(rows)

    def _reads(self, connection: sa.Connection, cursor: Any) -> "_Rows":
        reads = self._rows.get(connection.dialect.name)
        if reads is None:
            reads = _Rows.of(self.statement, connection.dialect, cursor.description)
            self._rows[connection.dialect.name] = reads
        return reads


@value_object
class _Rows:
    """How the rows of a statement are converted on one engine."""

    names: Any
    converts: tuple[tuple[int, Callable[[Iterable[Any]], Iterable[Any]]], ...]  # of whole columns

    @classmethod
    def of(cls, statement: Any, dialect: sa.Dialect, description: Sequence[Any]) -> "_Rows":
        columns = list(statement.exported_columns)
        converts = [
            _of_column(column.type, dialect, described[1])
            for column, described in zip(columns, description, strict=True)
        ]
        return cls(
            # A column is known by its own name, by that which the code has for it, and by itself.
            SimpleResultMetaData([column.name for column in columns], [(column.key, column) for column in columns]),
            tuple((at, convert) for at, convert in enumerate(converts) if convert is not None),
        )

    def columns_of(self, rows: Sequence[Any]) -> Sequence[Iterable[Any]]:
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        if rows:
            for at, convert in self.converts:
                columns[at] = convert(columns[at])
        return columns

    def made_of(self, rows: Sequence[Any]) -> Sequence[sa.Row[Any]]:
        if not rows:
            return []
        if self.converts:
            rows = list(zip(*self.columns_of(rows), strict=True))
        result: Any = IteratorResult(self.names, iter(rows))
        found: Sequence[sa.Row[Any]] = result.all()
        return found


def _of_column(kind: Any, dialect: sa.Dialect, code: Any) -> Callable[[Iterable[Any]], Iterable[Any]] | None:
    """Return how a column of this type is converted; None if it is not."""
    if isinstance(kind, Moment):
        return to_moments
    convert = kind.dialect_impl(dialect).result_processor(dialect, code)
    return None if convert is None else partial(map, convert)


def as_driver_takes(values: Sequence[Any]) -> Sequence[Any]:
    """Return a column with plain text if its first value is a member of an enumeration: drivers adapt each of them."""
    if not isinstance(values[0], StrEnum):
        return values
    return [value.value if isinstance(value, StrEnum) else value for value in values]


def _each(convert: Convert) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Return what converts each value of a column."""
    return each_to_milliseconds if convert is to_milliseconds else partial(map, convert)


def is_watched(connection: sa.Connection) -> bool:
    """Return whether somebody listens to what is executed: then SQLAlchemy executes it, and calls them."""
    listeners = connection.engine.dispatch  # a connection's own has to be made for each one first
    return bool(listeners.before_cursor_execute or listeners.after_cursor_execute)


def _has_arrays(dialect: sa.Dialect) -> bool:
    """Return whether a list is one value there. A value for each of its members has the driver read the text anew."""
    return dialect.name == "postgresql"


def _names_of_lists(statement: Any) -> set[str]:
    """Return the names of the parameters that are lists of values."""
    found = set()
    for element in sa.sql.visitors.iterate(statement):
        if isinstance(element, sa.BindParameter) and element.expanding and element.required:
            found.add(element.key)
    return found


def _rounded(length: int) -> int:
    """Return the number of values that a list is filled up to, so that few numbers occur."""
    return 1 << (length - 1).bit_length() if length else 0


def _spread(lists: Mapping[str, Sequence[str]], values: Values) -> dict[str, Any]:
    """Return the values of lists by their own names; the last one fills up its list, which then means the same."""
    found: dict[str, Any] = {}
    for name, names in lists.items():
        given = list(values[name])
        given += given[-1:] * (len(names) - len(given))
        found.update(zip(names, given, strict=True))
    return found


def _compile(statement: Any, dialect: sa.Dialect, lengths: Mapping[str, int]) -> _Text:
    compiled = statement.compile(dialect=dialect)
    arrays = list(lengths) if _has_arrays(dialect) else []
    _make_arrays(compiled, arrays)
    lengths = {} if arrays else lengths
    missing = {name: None for name, bind in compiled.binds.items() if bind.required and name not in lengths}
    state = compiled.construct_expanded_state({**missing, **{name: [None] * n for name, n in lengths.items()}})
    of_list = {one: name for name, names in state.parameter_expansion.items() for one in names}
    converts = _converts(compiled, dialect) | dict.fromkeys(arrays, _as_array)
    constants: dict[Any, Any] = {}  # by place
    places = []
    for position, name in enumerate(state.positiontup if compiled.positional else state.parameters):
        place, source = position if compiled.positional else name, of_list.get(name, name)
        convert = converts.get(source)
        if compiled.binds[source].required:
            constants[place] = None
            places.append((place, name, convert))
        else:
            value = state.parameters[name]
            constants[place] = value if convert is None else convert(value)
    lists = {name: state.parameter_expansion.get(name, []) for name in lengths}
    return _Text(state.statement, list(constants.values()) if compiled.positional else constants, tuple(places), lists)


def _make_arrays(compiled: Any, lists: Iterable[str]) -> None:
    """Change a compiled statement of PostgreSQL, so that each of these lists is one value: an array."""
    for name in lists:
        kind = "BIGINT" if isinstance(compiled.binds[name].type, sa.Integer) else "VARCHAR"
        for words, instead in (("NOT IN", "<> ALL"), ("IN", "= ANY")):
            members = f"{words} (__[POSTCOMPILE_{name}])"
            compiled.string = compiled.string.replace(members, f"{instead} (%({name})s::{kind}[])")
        compiled.post_compile_params -= {compiled.binds[name]}


def _as_array(values: Iterable[Any]) -> str:
    """Return a list as PostgreSQL reads an array: to the driver it is text, which takes it a tenth of the time."""
    texts = [str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"


def _converts(compiled: Any, dialect: sa.Dialect) -> dict[str, Convert]:
    """Return how values are converted, by name. Of several parameters of one name, one that has a type decides."""
    found: dict[str, Convert] = {}
    for bind, name in compiled.bind_names.items():
        convert = to_milliseconds if isinstance(bind.type, Moment) else own_convert(bind.type, dialect)
        if convert is not None:
            found[name] = convert
    return found


def own_convert(kind: Any, dialect: sa.Dialect) -> Convert | None:
    if isinstance(kind, sa.Boolean) and not dialect.supports_native_boolean:
        return _TRUTH.__getitem__
    found: Convert | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return found
