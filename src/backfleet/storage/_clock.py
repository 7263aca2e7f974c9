"""One clock for every process that shares a database: the database's.

Leases, deadlines and windows are moments in the database. Two processes whose machines' clocks differ would end each
other's work, so each of them goes by the clock of the database: measured now and then, and counted on in between by
the time that has passed, whatever happens to the machine's clock. An embedded SQLite has the machine's clock.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from backfleet.storage._database import Database

EXACT: Final = timedelta(seconds=0.1)  # a difference below this is noise of the measurement
SLOW: Final = timedelta(seconds=2)  # a question that takes longer measures nothing


class DatabaseClock:
    """The time by the clock of a database. Call it for the time; threads may share it."""

    def __init__(self, database: Database, machine: Callable[[], datetime], passed: Callable[[], float]) -> None:
        """Go by the machine's clock until `measure` is called.

        Args:
            database: whose clock decides.
            machine: the clock of this machine.
            passed: seconds since any fixed moment, which no change of the machine's clock moves.
        """
        self._database, self._machine, self._passed = database, machine, passed
        self._guard = threading.Lock()
        self._known: tuple[datetime, float] | None = None  # the database's time, and `passed` at that moment

    def __call__(self) -> datetime:
        """Return the time."""
        return self._machine() if self._known is None else self._at(self._known, self._passed())

    def skew(self) -> timedelta:
        """Return by how much this machine's clock is ahead of the database's, as far as that is known."""
        return self._machine() - self() if self._known is not None else timedelta()

    def measure(self) -> None:
        """Ask the database for the time, if it has a clock of its own. Blocks.

        Raises:
            The database's errors: the clock then goes on from the last measurement.
        """
        if self._database.engine.dialect.name == "sqlite":
            return
        with self._guard, self._database.reading() as tx:
            tx.scalar(sa.select(sa.literal(1)))  # the connection is open: what follows is one question and its answer
            before = self._passed()
            there: datetime = tx.scalar(sa.select(sa.func.clock_timestamp()))
            after = self._passed()
            if self._known is not None and after - before > SLOW.total_seconds():
                return
            middle = (before + after) / 2
            if self._known is None or abs(there - self._at(self._known, middle)) > EXACT:
                self._known = there.astimezone(UTC), middle

    @staticmethod
    def _at(known: tuple[datetime, float], passed: float) -> datetime:
        moment, at = known
        return moment + timedelta(seconds=passed - at)
