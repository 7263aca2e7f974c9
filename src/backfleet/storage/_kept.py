"""Connections that stay out of their pool between transactions.

To fetch one from SQLAlchemy's pool and to bring it back costs as much as a small transaction does. So a few are kept
ready. Whatever is unusual, an error above all, sends a connection back to the pool, which knows what to do with it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from backfleet.storage._ways import Way, note

MOST_KEPT: Final = 12  # the pool has more, so that some are always left for who asks the pool itself


class KeptConnections:
    """Gives connections of an engine, of which it keeps some between transactions."""

    def __init__(self, engine: sa.Engine, is_quiet: Callable[[Any], bool] | None = None) -> None:
        """Keep connections of this engine.

        Args:
            engine: Whose pool they come from.
            is_quiet: Whether a driver's connection, which nobody used for a while, seems to be as it was left; None
                if there is no other side that could end it.
        """
        self._engine, self._is_quiet = engine, is_quiet
        self._lock = threading.Lock()  # of the following
        self._idle: list[sa.Connection] = []  # the one that was used last is used next
        self._waiting = 0  # threads that ask the pool now
        self._age = 0  # connections of an earlier one are of no more use
        self._is_closed = False

    @contextmanager
    def begun(self, way: Way) -> Iterator[sa.Connection]:
        """Give a connection in a transaction: commit when the block ends, roll back when it raises.

        Args:
            way: How the transaction begins.
        """
        age = self._age
        connection = self._take()
        try:
            note(connection, way)
            with connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        if way.leaves_traces:
            connection.close()
        else:
            self._give(connection, age)

    def drop(self) -> None:
        """Give all to the pool, also those that are in use when they come back: they lead to a server that is gone."""
        with self._lock:
            self._age += 1
            found, self._idle = self._idle, []
        for connection in found:
            connection.close()

    def close(self) -> None:
        """Keep none from now on."""
        self._is_closed = True
        self.drop()

    def _take(self) -> sa.Connection:
        while (connection := self._next_kept()) is not None:
            if self._is_quiet is None or self._is_quiet(connection.connection.dbapi_connection):
                return connection
            connection.close()  # the pool asks whether it is alive before it gives it to anybody
        try:
            return self._engine.connect()
        finally:
            with self._lock:
                self._waiting -= 1

    def _next_kept(self) -> sa.Connection | None:
        """Return one that is kept; None if there is none, and then this thread counts as one that asks the pool."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            self._waiting += 1
            return None

    def _give(self, connection: sa.Connection, age: int) -> None:
        with self._lock:
            # Whoever waits at the pool would not see what is kept here.
            is_kept = age == self._age and not self._is_closed and not self._waiting and len(self._idle) < MOST_KEPT
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()
