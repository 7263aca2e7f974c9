"""One transaction at a time, on SQLite or PostgreSQL; wakeups leave after the commit."""

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

CONNECT_SECONDS = 5  # a PostgreSQL that does not answer is away
SILENT_MS = 15_000  # so is one from which nothing comes back for this long

Values = Mapping[str, Any]

AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""What is raised while the database is away or too busy: nothing was written, or it is not known that it was."""


class Conflict(Exception):
    """Somebody else's row came first: a constraint decided a race."""


class Transaction:
    """All of it happens or none of it. Handed down to every store function; never kept."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.published: dict[str, None] = {}

    def rows(self, statement: sa.Executable, values: Values | None = None) -> Sequence[sa.Row[Any]]:
        """Every row the statement gives."""
        return self._connection.execute(statement, values).all()

    def first(self, statement: sa.Executable, values: Values | None = None) -> sa.Row[Any] | None:
        """The first row, or None."""
        return self._connection.execute(statement, values).first()

    def scalar(self, statement: sa.Executable, values: Values | None = None) -> Any:
        """The first column of the first row, or None."""
        return self._connection.execute(statement, values).scalar()

    def run(self, statement: sa.Executable, values: Values | Sequence[Values] | None = None) -> int:
        """Run a statement that gives no rows; returns how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def add(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert rows.

        Raises:
            Conflict: a constraint is broken; the transaction is lost and may be tried again as a whole.
        """
        if not rows:
            return
        try:
            self._connection.execute(table.insert(), rows)
        except sa.exc.IntegrityError as problem:
            raise Conflict(str(problem.orig)) from problem

    def add_if_new(self, table: sa.Table, row: Values) -> bool:
        """Insert unless a unique constraint already has it. True for the one caller whose row went in."""
        attempt = _insert_if_new(table, self._connection.dialect.name, tuple(row)).returning(sa.literal_column("1"))
        return self._connection.execute(attempt, row).first() is not None

    def add_those_new(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert those of many rows that no unique constraint has already. All of them have the same columns."""
        if rows:
            self._connection.execute(_insert_if_new(table, self._connection.dialect.name, tuple(rows[0])), rows)

    def publish(self, topic: str) -> None:
        """Ring this bell once, after the commit. Rung at most once per topic, never if the transaction fails."""
        self.published[topic] = None


@functools.lru_cache(maxsize=100)
def _insert_if_new(table: sa.Table, dialect: str, columns: tuple[str, ...]) -> Any:
    insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
    return insert(table).values({name: sa.bindparam(name) for name in columns}).on_conflict_do_nothing()


class Database:
    """Where everything true is kept."""

    def __init__(self, engine: sa.Engine, ring: Callable[[str], None]) -> None:
        self.engine = engine
        self._publish = ring
        # SQLite has one writer. Waiting for it here is fair and quick; SQLite's own wait polls.
        self._writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and write; committed when the block ends well, undone when it raises. Do not nest."""
        with self._writer, self._connection(writes=True) as connection:
            tx = Transaction(connection)
            with connection.begin():
                yield tx
        for topic in tx.published:
            self._publish(topic)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Only read: never waits for a writer."""
        with self._connection(writes=False) as connection, connection.begin():
            yield Transaction(connection)

    @contextmanager
    def _connection(self, *, writes: bool) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(writes=writes)

    def close(self) -> None:
        self.engine.dispose()

    def __repr__(self) -> str:
        return f"Database({self.engine.url.render_as_string(hide_password=True)})"


def open_database(url: str, ring: Callable[[str], None] = lambda topic: None) -> Database:
    """Open `sqlite:///FILE` or `postgresql://...`. Creates no table: `migrate` does.

    `ring` is called with each topic that a transaction rang, after its commit.

    Raises:
        ValueError: another kind of database.
    """
    asked = sa.make_url(url)
    if asked.get_backend_name() == "sqlite":
        return Database(_sqlite(asked), ring)
    if asked.get_backend_name() == "postgresql":
        return Database(_postgresql(asked), ring)
    raise ValueError(f"{asked.get_backend_name()} is not a database we speak; use sqlite:///FILE or postgresql://...")


def _postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,  # a restarted server costs one retry, not one failed call per connection
        connect_args={"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENT_MS},
    )


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_size=POOL_SIZE, pool_timeout=POOL_WAIT_SECONDS
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer takes the lock at once: a reader that turns writer half-way could only fail.
        writes = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
