"""One transaction at a time, on SQLite or PostgreSQL; notifications are published after the commit."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

BUSY_TIMEOUT_SECONDS = 30.0  # how long a second process waits for SQLite's one writer
POOL_SIZE = 20  # connections kept open to PostgreSQL
POOL_WAIT_SECONDS = 20.0  # how long a request waits for a connection before it fails

CONNECT_SECONDS = 5  # a PostgreSQL that takes longer to answer counts as unavailable
SILENT_MS = 15_000  # so does one that sends nothing for this long

Values = Mapping[str, Any]

AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""Raised while the database is unavailable or too busy: nothing was written, or it is unknown whether it was."""


class Conflict(Exception):
    """A constraint refused a row: another transaction was first."""


class Transaction:
    """One transaction, which happens as a whole or not at all. Passed to every store function and never stored."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.published: dict[str, None] = {}

    def rows(self, statement: sa.Executable, values: Values | None = None) -> Sequence[sa.Row[Any]]:
        """Return every row of the statement."""
        return self._connection.execute(statement, values).all()

    def first(self, statement: sa.Executable, values: Values | None = None) -> sa.Row[Any] | None:
        """Return the first row, or None."""
        return self._connection.execute(statement, values).first()

    def scalar(self, statement: sa.Executable, values: Values | None = None) -> Any:
        """Return the first column of the first row, or None."""
        return self._connection.execute(statement, values).scalar()

    def run(self, statement: sa.Executable, values: Values | Sequence[Values] | None = None) -> int:
        """Run a statement without rows in its result. Return how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def add(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert rows.

        Raises:
            Conflict: a constraint refused a row. The transaction is lost and may be tried again as a whole.
        """
        if not rows:
            return
        try:
            self._connection.execute(table.insert(), rows)
        except sa.exc.IntegrityError as problem:
            raise Conflict(str(problem.orig)) from problem

    def add_if_new(self, table: sa.Table, row: Values) -> bool:
        """Insert the row unless a unique constraint has it already. Return True to the one caller that inserted it."""
        attempt = _insert_if_new(table, self._connection.dialect.name, tuple(row)).returning(sa.literal_column("1"))
        return self._connection.execute(attempt, row).first() is not None

    def add_those_new(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert the rows that no unique constraint has already. All of them must have the same columns."""
        if rows:
            self._connection.execute(_insert_if_new(table, self._connection.dialect.name, tuple(rows[0])), rows)

    def publish(self, topic: str) -> None:
        """Publish on this topic after the commit: once per topic, and never if the transaction fails."""
        self.published[topic] = None


@functools.lru_cache(maxsize=100)
def _insert_if_new(table: sa.Table, dialect: str, columns: tuple[str, ...]) -> Any:
    insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
    return insert(table).values({name: sa.bindparam(name) for name in columns}).on_conflict_do_nothing()


class Database:
    """The database that holds all state."""

    def __init__(self, engine: sa.Engine, publish: Callable[[str], None]) -> None:
        self.engine = engine
        self._publish = publish
        # SQLite allows one writer. Waiting here is fair and fast; SQLite's own wait polls.
        self._writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and write: commit when the block ends, roll back when it raises. Do not nest."""
        with self._writer, self._connection(writes=True) as connection:
            tx = Transaction(connection)
            with connection.begin():
                yield tx
        for topic in tx.published:
            self._publish(topic)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Read only: never waits for a writer."""
        with self._connection(writes=False) as connection, connection.begin():
            yield Transaction(connection)

    @contextmanager
    def _connection(self, *, writes: bool) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(writes=writes)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __repr__(self) -> str:
        return f"Database({self.engine.url.render_as_string(hide_password=True)})"


def open_database(url: str, publish: Callable[[str], None] = lambda topic: None) -> Database:
    """Open a database without creating tables: `migrate` does that.

    Args:
        url: `sqlite:///FILE` or `postgresql://...`.
        publish: Called after a commit with each topic that the transaction published on.

    Raises:
        ValueError: another kind of database.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite(parsed), publish)
    if parsed.get_backend_name() == "postgresql":
        return Database(_postgresql(parsed), publish)
    raise ValueError(f"{parsed.get_backend_name()} databases are not supported; use sqlite:///FILE or postgresql://...")


def _postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,  # after a restart of the server, connections are replaced instead of failing one call each
        connect_args={"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENT_MS},
    )


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_size=POOL_SIZE, pool_timeout=POOL_WAIT_SECONDS
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # keeps the driver from beginning transactions by itself
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer takes the lock at once, because a reader that begins to write later could only fail.
        writes = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
