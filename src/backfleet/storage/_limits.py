"""How long the database may take, and until when a call may change something."""

import time
from collections.abc import Callable
from typing import Final

from backfleet.storage._unavailable import Trouble, Unavailable
from backfleet.values import value_object


@value_object
class TimeOuts:
    """How long one statement may wait, in seconds."""

    lock: float = 8.0  # for a lock that somebody else holds; official clients give a call up after 10 s
    statement: float = 30.0  # for anything; on SQLite a whole transaction counts


DEFAULT_TIME_OUTS: Final = TimeOuts()


@value_object
class CallLimit:
    """Until when a call may still begin or end a transaction that changes something."""

    until: float  # of `clock`, seconds
    is_gone: Callable[[], bool]  # whether nobody waits for the answer any more; called in any thread
    clock: Callable[[], float] = time.monotonic

    def check(self) -> None:
        """Return if the call may go on.

        Raises:
            Unavailable: its caller has gone, or its time is over.
        """
        if self.is_gone():
            raise Unavailable(Trouble.CALLER_GONE)
        if self.clock() >= self.until:
            raise Unavailable(Trouble.TOO_LATE)


NO_LIMIT: Final = CallLimit(float("inf"), lambda: False)
