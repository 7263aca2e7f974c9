"""The engine for SQLite: one file, which must stay the one that was opened, and a write-ahead log that stays small.

SQLite goes on with a file that was deleted or whose disk is unmounted: everything succeeds, and is lost with the
process. So each transaction checks whether the file is still the one behind the path, before it begins and before it is
committed. The same holds for the write-ahead log beside it.
"""

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa

from backfleet.storage._limits import TimeOuts
from backfleet.storage._unavailable import Trouble, Unavailable
from backfleet.storage._ways import forget, way_of

LARGEST_LOG: Final = 16 << 20  # bytes that the write-ahead log may keep on the disk once its content was moved
PAGES_LEFT: Final = 16_384  # of 4 KiB: only if nobody else does it, a commit moves them into the database
BUSY_PAGES: Final = 500  # in the log when it is moved: then it is moved again sooner, so that it stays short
STEPS_BETWEEN_CHECKS: Final = 100_000  # of SQLite's virtual machine, between two checks of the clock: about 1 ms
TRUNCATE_SECONDS: Final = 0.2  # how long writers may have to wait while an overlong log is cut

Identity = tuple[int, int]  # device and inode


class SqliteFile:
    """The file behind a database, and one connection that keeps its write-ahead log from being deleted."""

    def __init__(self, path: Path) -> None:
        self.path, self.log = str(path), f"{path}-wal"  # text: each transaction asks the kernel about both
        self._database: Identity | None = None
        self._log_identity: Identity | None = None
        self._keeper: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._moved: int | None = None  # when the log was written last, if all of it was moved
        self.is_busy = False  # whether much was in the log when it was moved last

    @property
    def is_open(self) -> bool:
        """Whether a connection was made: from then on the file may neither change nor be made anew."""
        return self._database is not None

    @property
    def has_content(self) -> bool:
        """Whether something was ever written to it."""
        return _size(self.path) > 0

    def opened(self) -> None:
        """Note that a connection was made: the first one decides which file it is."""
        with self._lock:
            if self._keeper is not None:
                return
            self._database = _identity(self.path)
            self._keeper = sqlite3.connect(uri(self.path), uri=True, timeout=TRUNCATE_SECONDS, check_same_thread=False)
            self._keeper.isolation_level = None
            with contextlib.suppress(sqlite3.OperationalError):  # locked: then the log is noted later
                self._keeper.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def check(self) -> None:
        """Return if the path still leads to what was opened.

        Raises:
            Unavailable: it leads to nothing, or to something else.
        """
        found = _identity(self.log)
        if self._log_identity is None:
            self._log_identity = found
        if _identity(self.path) != self._database or found != self._log_identity:
            raise Unavailable(Trouble.REPLACED)

    def move_log(self) -> bool:
        """Move what was committed from the log into the database. Nobody waits for it. Raises sqlite3.Error.

        Returns:
            Whether all of it was moved: then the next commit begins the log anew, in the space that it has. One that
            makes the file longer waits half as long again for the disk.
        """
        with self._lock:
            written = _written(self.log)
            if self._keeper is None or written == self._moved or _identity(self.path) != self._database:
                self.is_busy = False
                return True
            busy, pages, moved = self._keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self.is_busy = pages > BUSY_PAGES
            self._moved = written if not busy and pages == moved else None
            return self._moved == _written(self.log)  # the figures are those of the moment at which it began

    def cut_log(self) -> None:
        """Cut a log that has become too long. Raises sqlite3.Error."""
        with self._lock:
            if self._keeper is not None and _size(self.log) > LARGEST_LOG:
                self._moved = None  # readers may keep it from being cut now
                self._keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._keeper is not None:
                self._keeper.close()
            self._keeper = self._database = self._log_identity = None


def uri(path: str) -> str:
    """Return SQLite's name for a file that must exist."""
    return f"file:{quote(path)}?mode=rw"


def sqlite_engine(url: sa.URL, time_outs: TimeOuts, pool: dict[str, Any]) -> tuple[sa.Engine, SqliteFile | None]:
    """Return an engine, and its file unless the database is in memory.

    Args:
        url: `sqlite:///FILE`.
        time_outs: How long statements may wait.
        pool: Arguments for the engine's pool.
    """
    engine = sa.create_engine(url, connect_args={"timeout": time_outs.lock}, **pool)
    in_memory = not url.database or url.database == ":memory:"
    file = None if in_memory else SqliteFile(Path(str(url.database)).absolute())
    _prepare_connections(engine, file)
    _set_transactions(engine, file, time_outs)
    if file is not None:
        _check_file(engine, file)
    return engine, file


def _prepare_connections(engine: sa.Engine, file: SqliteFile | None) -> None:
    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # keeps the driver from beginning transactions by itself
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"journal_size_limit={LARGEST_LOG}",
            f"wal_autocheckpoint={PAGES_LEFT}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if file is not None:
            file.opened()


def _check_file(engine: sa.Engine, file: SqliteFile) -> None:
    """Check the file before it is connected to."""

    @sa.event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, words: list[Any], named: dict[str, Any]) -> None:
        if file.is_open:  # SQLite would make a new file where the old one was
            file.check()
            words[0], named["uri"] = uri(file.path), True


def _set_transactions(engine: sa.Engine, file: SqliteFile | None, time_outs: TimeOuts) -> None:
    """Begin transactions, interrupt those that take too long, and check the file before each begins or is committed."""
    ends: dict[int, float] = {}  # when the transaction of a connection must be over, by its id

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        key = id(connection)
        connection.set_progress_handler(lambda: time.monotonic() > ends.get(key, float("inf")), STEPS_BETWEEN_CHECKS)

    @sa.event.listens_for(engine, "close")
    def closed(connection: Any, _record: Any) -> None:
        ends.pop(id(connection), None)

    def begin(pooled: Any) -> None:
        if file is not None:
            file.check()
        connection, way = pooled.dbapi_connection, way_of(pooled)
        ends[id(connection)] = time.monotonic() + (time_outs.statement if way.timed else float("inf"))
        if way.lock_seconds is not None:
            connection.execute(f"PRAGMA busy_timeout={round(way.lock_seconds * 1000)}")  # undone at the check-in
        # A writer takes the lock at once, because a reader that begins to write later could only fail.
        connection.execute("BEGIN IMMEDIATE" if way.writes else "BEGIN")

    def commit(pooled: Any) -> None:
        if file is not None and way_of(pooled).writes:
            file.check()
        pooled.dbapi_connection.commit()

    dialect: Any = engine.dialect
    dialect.do_begin, dialect.do_commit = begin, commit

    @sa.event.listens_for(engine, "checkin")
    def restore(connection: Any, record: Any) -> None:
        way = forget(record)
        if connection is not None and way is not None and way.lock_seconds is not None:
            connection.execute(f"PRAGMA busy_timeout={round(time_outs.lock * 1000)}")


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _written(path: str) -> int | None:
    """Return when a file was written last, in nanoseconds; None if it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
