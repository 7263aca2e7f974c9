"""The held state: after an installation was restored from a copy, nothing is moved until an operator has looked.

A copy is older than the fleet: its tasks are over, hosts have other versions, keys that were revoked are back. Owns the
table `restores`. It stands below every module, so that each can ask.

    begin: hold the server; `restoring` does that
    Watch: asks for one process whether the server is held, at no cost once it is not
    state: what is known of the newest restore
    release: an operator has looked
    count_adopted: a host that the copy does not know was taken in
"""

import threading
from datetime import datetime
from typing import Final

from backfleet.hold import _store
from backfleet.storage import Database, Transaction
from backfleet.values import value_object

MOST_ADOPTED: Final = 10_000  # hosts that one restore takes in

__all__ = ["MOST_ADOPTED", "Restore", "Watch", "begin", "count_adopted", "release", "state"]


@value_object
class Restore:
    """What is known of the newest restore."""

    copied_at: datetime
    restored_at: datetime
    released_at: datetime | None
    adopted: int

    @property
    def is_held(self) -> bool:
        """Whether no operator has looked yet."""
        return self.released_at is None

    def covers(self, moment: datetime) -> bool:
        """Return whether what was signed at this moment may have been accepted before, which the copy does not know."""
        return self.copied_at <= moment < self.restored_at


def begin(tx: Transaction, *, copied_at: datetime, now: datetime) -> None:
    """Hold the server from now on. The caller has just filled its database from a copy."""
    _store.add(tx, copied_at, now)


def state(tx: Transaction) -> Restore | None:
    """Return the newest restore; None if the installation was never restored."""
    row = _store.newest(tx)
    return None if row is None else Restore(row.copied_at, row.restored_at, row.released_at, row.adopted)


def release(tx: Transaction, *, by: str, now: datetime) -> bool:
    """Let the server go. Return False if it was not held."""
    return _store.release(tx, by, now) > 0


def count_adopted(tx: Transaction) -> bool:
    """Count a host that is about to be adopted. Return False if none may be: nothing is held, or there are too many."""
    return _store.count_adopted(tx, MOST_ADOPTED)


class Watch:
    """Whether the server is held, for one process. A server that serves is never held anew: its database is in use."""

    def __init__(self, database: Database) -> None:
        """Read what is known at the start of the process. Raises Unavailable."""
        self._database = database
        with database.reading() as tx:
            self.restore = state(tx)
        self._lock = threading.Lock()

    def is_held(self) -> bool:
        """Return whether the server is held now. Raises Unavailable; asks nothing once the server was let go."""
        if self.restore is None or not self.restore.is_held:
            return False
        with self._lock, self._database.reading() as tx:
            self.restore = state(tx)
        return self.restore is not None and self.restore.is_held

    def covers(self, moment: datetime) -> bool:
        """Return whether what was signed at this moment may be a replay that the copy does not know."""
        return self.restore is not None and self.restore.covers(moment)
