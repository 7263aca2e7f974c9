"""One transaction at a time, on SQLite or PostgreSQL; notifications are published after the commit."""

import functools
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from backfleet.storage._copying_in import LEAST_ROWS, copy_rows
from backfleet.storage._kept import KeptConnections
from backfleet.storage._limits import DEFAULT_TIME_OUTS, NO_LIMIT, CallLimit, TimeOuts
from backfleet.storage._postgresql import is_silent, postgresql_engine
from backfleet.storage._prepared import Prepared, Values, is_watched
from backfleet.storage._reading import Made, Reader
from backfleet.storage._sqlite import SqliteFile, sqlite_engine
from backfleet.storage._together import Result, Together
from backfleet.storage._turns import LONGEST_WAIT, Turns
from backfleet.storage._unavailable import Keep, Trouble, Unavailable, diagnose
from backfleet.storage._ways import READING, WRITING, Way

POOL_SIZE = 20  # connections kept open
INSERTS_KEPT = 200  # prepared, of each kind: one for each table and set of columns
MOVING_LOG, MOVING_BUSY_LOG = timedelta(seconds=1), timedelta(seconds=0.25)  # between two moves of SQLite's log
POOL_WAIT_SECONDS = 20.0  # how long a request waits for a connection before it fails
SMALL_WRITES_WAIT = 0.005  # seconds until what is written together is next: callers wait for it, and it is short

Statement = sa.Executable | Prepared
_TURN = Prepared(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("name"), 0))))


class Conflict(Exception):
    """A constraint refused a row: another transaction was first."""


class _Over:
    """Stands for the connection of a transaction that is over: the next one may have it by now."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("this transaction is over")


_OVER: Any = _Over()


class Transaction:
    """One transaction, which happens as a whole or not at all. Passed to every store function and never stored."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.published: dict[str, None] = {}
        self.committed: list[Callable[[], None]] = []

    def begin_part(self) -> sa.NestedTransaction:
        """Begin a part of it that can be undone alone."""
        return self._connection.begin_nested()

    def end(self) -> None:
        """Have nothing more be done in it: its connection goes to the next transaction."""
        self._connection = _OVER

    @property
    def engine_name(self) -> str:
        """`sqlite` or `postgresql`: for what the two say in different words."""
        return self._connection.dialect.name

    def rows(self, statement: Statement, values: Values | None = None) -> Sequence[sa.Row[Any]]:
        """Return every row of the statement."""
        if isinstance(statement, Prepared):
            return statement.all(self._connection, values or {})
        return self._connection.execute(statement, values).all()

    def read(self, made_by: Reader[Made], statement: Statement, values: Values) -> list[Made]:
        """Return the value that is made of each row of the statement."""
        if isinstance(statement, Prepared):
            return made_by.all(statement.columns(self._connection, values))
        return made_by.all(list(zip(*self.rows(statement, values), strict=True)))

    def first(self, statement: Statement, values: Values | None = None) -> sa.Row[Any] | None:
        """Return the first row, or None."""
        if isinstance(statement, Prepared):
            return statement.first(self._connection, values or {})
        return self._connection.execute(statement, values).first()

    def scalar(self, statement: Statement, values: Values | None = None) -> Any:
        """Return the first column of the first row, or None."""
        row = self.first(statement, values)
        return None if row is None else row[0]

    def run(self, statement: Statement, values: Values | Sequence[Values] | None = None) -> int:
        """Run a statement without rows in its result. Return how many rows it changed."""
        if isinstance(statement, Prepared):
            return statement.run(self._connection, values or {})
        return self._connection.execute(statement, values).rowcount

    def add(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert rows, all with the same columns.

        Raises:
            Conflict: a constraint refused a row. The transaction is lost and may be tried again as a whole.
        """
        if not rows:
            return
        columns = tuple(rows[0])
        if len(rows) >= LEAST_ROWS and len(columns) > 1:
            self.add_rows(table, columns, list(map(itemgetter(*columns), rows)))
            return
        try:
            # One row alone is executed as such: for many, the driver of PostgreSQL has more to arrange.
            _insert(table, columns).run(self._connection, rows[0] if len(rows) == 1 else rows)
        except sa.exc.IntegrityError as problem:
            raise Conflict(str(problem.orig)) from problem

    def add_rows(self, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows whose values are in the order of these columns: cheaper than `add` where there are many.

        Raises:
            Conflict: as `add`.
        """
        if not rows:
            return
        try:
            if self.engine_name == "postgresql" and len(rows) >= LEAST_ROWS and not is_watched(self._connection):
                copy_rows(self._connection, table, columns, rows)
            else:
                _insert(table, tuple(columns)).run_rows(self._connection, columns, rows)
        except sa.exc.IntegrityError as problem:
            raise Conflict(str(problem.orig)) from problem

    def add_if_new(self, table: sa.Table, row: Values) -> bool:
        """Insert the row unless a unique constraint has it already. Return True to the one caller that inserted it."""
        attempt = _insert_if_new(table, self.engine_name, tuple(row))
        return attempt.run(self._connection, row) == 1

    def add_those_new(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert the rows that no unique constraint has already. All of them must have the same columns."""
        if rows:
            _insert_if_new(table, self.engine_name, tuple(rows[0])).run(self._connection, rows)

    def take_turn(self, name: str) -> None:
        """Wait until no other transaction has this turn, and have it until the end.

        What is read after it is as the one before left it: for what no constraint can say. Where only one transaction
        writes at a time anyway there is nothing to wait for.
        """
        if self.engine_name == "postgresql":
            self.scalar(_TURN, {"name": name})

    def publish(self, topic: str) -> None:
        """Publish on this topic after the commit: once per topic, and never if the transaction fails."""
        self.published[topic] = None

    def after_commit(self, act: Callable[[], None]) -> None:
        """Call `act`, which must raise nothing, after the commit; never if the transaction fails."""
        self.committed.append(act)

    def take_left(self) -> bool:
        """Forget what is to be done after the commit. Return whether there was something."""
        left = bool(self.published or self.committed)
        self.published, self.committed = {}, []
        return left


@functools.lru_cache(maxsize=INSERTS_KEPT)
def _insert(table: sa.Table, columns: tuple[str, ...]) -> Prepared:
    return Prepared(table.insert().inline().values({name: sa.bindparam(name) for name in columns}))


@functools.lru_cache(maxsize=INSERTS_KEPT)
def _insert_if_new(table: sa.Table, dialect: str, columns: tuple[str, ...]) -> Prepared:
    insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
    return Prepared(insert(table).values({name: sa.bindparam(name) for name in columns}).on_conflict_do_nothing())


class Database:
    """The database that holds all state."""

    def __init__(
        self,
        engine: sa.Engine,
        publish: Callable[[str], None],
        time_outs: TimeOuts = DEFAULT_TIME_OUTS,
        file: SqliteFile | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.engine, self.file = engine, file
        self._connections = KeptConnections(engine, is_silent if engine.dialect.name == "postgresql" else None)
        self._closed = threading.Event()
        sa.event.listen(engine, "checkin", self._close_if_over)
        sa.event.listen(engine, "handle_error", self._drop_useless_connections)
        self._publish, self._time_outs = publish, time_outs
        # SQLite allows one writer. Waiting here is fair and fast; SQLite's own wait polls.
        self._writer = (turns or Turns()) if engine.dialect.name == "sqlite" else None
        self._longest_wait, self._limit, self._has_changed = LONGEST_WAIT, NO_LIMIT, False
        unlimited = self.without_limit()
        unlimited._longest_wait = SMALL_WRITES_WAIT
        together = Together(lambda seconds: unlimited.transaction(lock_seconds=seconds), time_outs.lock)
        self._together = None if self._writer is None else together

    def within(self, limit: CallLimit) -> "Database":
        """Return the same database for one call, which changes nothing once its limit is reached.

        What has changed something is not stopped half-way: after the first commit the limit no longer counts.
        """
        found = Database.__new__(Database)
        found.__dict__.update(self.__dict__)  # what `copy.copy` does, without asking how; each call does it twice
        found._limit, found._has_changed = limit, False
        return found

    def publishing(self, publish: Callable[[str], None]) -> "Database":
        """Return the same database, whose topics are published elsewhere."""
        found = self.within(self._limit)
        found._publish = publish
        return found

    def begin_anew(self) -> None:
        """Have the limit of a call count again: its next part begins, and nothing has been changed in it yet."""
        self._has_changed = False

    def without_limit(self) -> "Database":
        """Return the same database for what must be written whether or not the call's time is over."""
        return self.within(NO_LIMIT)

    @contextmanager
    def transaction(self, *, lock_seconds: float | None = None) -> Iterator[Transaction]:
        """Read and write: commit when the block ends, roll back when it raises. Do not nest.

        Args:
            lock_seconds: How long to wait for a lock, if not as long as the engine does.

        Raises:
            Unavailable: the database cannot do it now, or the call's limit is reached.
        """
        way = WRITING if lock_seconds is None else Way(lock_seconds=lock_seconds)
        self._take_turn(lock_seconds)
        try:
            with self._connections.begun(way) as connection:
                tx = Transaction(connection)
                try:
                    self._check_limit()
                    yield tx
                    self._check_limit()
                finally:
                    tx.end()
            self._has_changed = True
        except sa.exc.SQLAlchemyError as problem:
            _raise_if_unavailable(problem)
            raise
        finally:
            if self._writer is not None:
                self._writer.release()
        for topic in tx.published:
            self._publish(topic)
        for act in tx.committed:
            act()

    def write_together(self, work: Callable[[Transaction], Result]) -> Result:
        """Do a small write and return its result after the commit, which it shares with others that wait to write.

        Args:
            work: Uses nothing of the database but its transaction, and leaves nothing to be done after the commit. It
                happens as a whole or not at all, whatever becomes of the others.

        Raises:
            Whatever `work` raised.
            RuntimeError: something is to be done after the commit: it would be, also if only this part is undone.
            Unavailable: the database cannot do it now, or the call's limit is reached.
        """

        def limited(tx: Transaction) -> Result:
            self._check_limit()
            try:
                result = work(tx)
            finally:
                left = tx.take_left()
            self._check_limit()
            if left:
                raise RuntimeError("what is written together leaves nothing to be done after the commit")
            return result

        if self._together is None:
            with self.transaction() as tx:
                return limited(tx)

        result = self._together.write(limited)
        self._has_changed = True
        return result

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Read only: never waits for a writer. Raises Unavailable."""
        try:
            with self._connections.begun(READING) as connection:
                tx = Transaction(connection)
                try:
                    yield tx
                finally:
                    tx.end()
        except sa.exc.SQLAlchemyError as problem:
            _raise_if_unavailable(problem)
            raise

    def _take_turn(self, lock_seconds: float | None) -> None:
        """Wait until no other thread of this process writes, where only one can."""
        seconds = self._time_outs.lock if lock_seconds is None else lock_seconds
        if self._writer is not None and not self._writer.acquire(seconds, self._longest_wait):
            raise Unavailable(Trouble.LOCKED)

    def _check_limit(self) -> None:
        if not self._has_changed:
            self._limit.check()

    def move_log(self) -> None:
        """Move what was committed from SQLite's log into its file, so that no call has to. Raises Unavailable.

        What was committed meanwhile is moved while nobody writes: little is left then. Else a log that is always
        written to would never be moved as a whole, and grow.
        """
        if self.file is not None:
            try:
                if not self.file.move_log() and self._writer is not None and self._writer.acquire(self._time_outs.lock):
                    try:
                        self.file.move_log()
                    finally:
                        self._writer.release()
                self.file.cut_log()
            except sqlite3.Error as problem:
                found = diagnose(problem)
                raise Unavailable(found.trouble if found else Trouble.FILES) from problem

    def until_log_is_moved(self) -> timedelta:
        """Return how long SQLite's log is left to grow until it is moved again."""
        return MOVING_BUSY_LOG if self.file is not None and self.file.is_busy else MOVING_LOG

    def close(self) -> None:
        """Close every connection; one that a thread still uses, when that thread is done with it."""
        self._closed.set()
        self._connections.close()
        self.engine.dispose()
        if self.file is not None:
            self.file.close()

    def _close_if_over(self, _connection: Any, record: Any) -> None:
        if self._closed.is_set():
            record.close()  # nobody disposes of the pool that it would go back to

    def _drop_useless_connections(self, context: sa.ExceptionContext) -> None:
        """Let the pool drop the connection that failed, and the others where they lead to the same server."""
        found = diagnose(context.sqlalchemy_exception or context.original_exception)
        if found is not None and found.keep is not Keep.ALL:
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = found.keep is Keep.NONE
            if found.keep is Keep.NONE:
                self._connections.drop()

    def __repr__(self) -> str:
        return f"Database({self.engine.url.render_as_string(hide_password=True)})"


def _raise_if_unavailable(problem: sa.exc.SQLAlchemyError) -> None:
    """Raise Unavailable in place of what the driver raised when the same may work later."""
    found = diagnose(problem)
    if found is not None:
        raise Unavailable(found.trouble) from problem


def open_database(
    url: str,
    publish: Callable[[str], None] = lambda topic: None,
    time_outs: TimeOuts = DEFAULT_TIME_OUTS,
    turns: Turns | None = None,
) -> Database:
    """Open a database without creating tables: `migrate` does that.

    Args:
        url: `sqlite:///FILE` or `postgresql://...`.
        publish: Called after a commit with each topic that the transaction published on.
        time_outs: How long statements may wait.
        turns: Who writes to SQLite next, where several processes do.

    Raises:
        ValueError: another kind of database.
    """
    parsed, pool = sa.make_url(url), {"pool_size": POOL_SIZE, "pool_timeout": POOL_WAIT_SECONDS}
    if parsed.get_backend_name() == "sqlite":
        engine, file = sqlite_engine(parsed, time_outs, pool)
    elif parsed.get_backend_name() == "postgresql":
        engine, file = postgresql_engine(parsed, time_outs, pool), None
    else:
        raise ValueError(
            f"{parsed.get_backend_name()} databases are not supported; use sqlite:///FILE or postgresql://..."
        )
    return Database(engine, publish, time_outs, file, turns)
