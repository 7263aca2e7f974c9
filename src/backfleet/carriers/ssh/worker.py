"""The worker that goes to hosts: when they have commands waiting, and now and then to see whether they are there.

It has one event loop in a thread of its own, which begins with the first host. What is not begun stays in the queue.
What was under way when a process was killed is lost when its lease runs out, and sent again by whoever sent it.
A host is one process's at a time, by its row in the database: while it is visited, and in the pause after it was out
of reach.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from backfleet.carriers.ssh import _store
from backfleet.storage import Database

MOST_VISITS: Final = 32  # hosts that one process has connections to at once
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0  # seconds until a host that was out of reach is tried again
HELD_FOR: Final = timedelta(seconds=15)  # until others may visit the hosts of a process that died
HOLD_AGAIN: Final = 5.0  # seconds

log = logging.getLogger(__name__)


class Visits(Protocol):
    """Who visits hosts."""

    async def visit(self, instance_id: str) -> bool:
        """Visit a host. Return whether it was found in order."""


class Worker:
    """The visits of one process."""

    def __init__(
        self,
        database: Database,
        visitor: Callable[[], Visits],
        clock: Callable[[], datetime],
        *,
        every: timedelta,
    ) -> None:
        """Begin with no visit.

        Args:
            database: where hosts and commands are.
            visitor: makes who visits hosts; called when there is one.
            clock: the time, when a visit goes on or ends.
            every: the time between two visits of a host that has no work.
        """
        self.has_any = True  # whether there was a host at the last look: the first one is published
        self._database, self._make, self._clock, self._every = database, visitor, clock, every
        self._started: tuple[asyncio.AbstractEventLoop, Visits] | None = None
        self._under_way: set[str] = set()
        self._pauses: dict[str, float] = {}  # of hosts that were out of reach: the last one, in seconds
        self._lock = threading.Lock()

    def run_once(self, now: datetime) -> bool:
        """Begin the visits that are due, as many as there may be at once."""
        with self._lock:
            free = MOST_VISITS - len(self._under_way)
        with self._database.reading() as tx:
            self.has_any = _store.exist(tx)
        if free <= 0 or not self.has_any:
            return False
        with self._database.transaction() as tx:
            taken = _store.take_with_work(tx, now, now + HELD_FOR, free)
            if free > len(taken):
                taken += _store.take_due(tx, now, now + HELD_FOR, now + self._every, free - len(taken))
        for instance_id in taken:
            self._begin(instance_id)
        return False

    def _begin(self, instance_id: str) -> None:
        with self._lock:
            if instance_id in self._under_way:
                return
            self._under_way.add(instance_id)
        loop, visitor = self._running()
        asyncio.run_coroutine_threadsafe(self._visit(visitor, instance_id), loop)

    async def _visit(self, visitor: Visits, instance_id: str) -> None:
        reached = False
        holding = asyncio.create_task(self._keep(instance_id))
        try:
            reached = await visitor.visit(instance_id)
        except Exception:
            log.exception("a host could not be visited", extra={"instance": instance_id})
        finally:
            holding.cancel()
            await asyncio.wait([holding])
            await asyncio.to_thread(self._end, instance_id, reached)

    async def _keep(self, instance_id: str) -> None:
        """Keep others from visiting a host for as long as this goes on."""
        while True:
            await asyncio.sleep(HOLD_AGAIN)
            try:
                await asyncio.to_thread(self._hold, instance_id, HELD_FOR)
            except Exception:
                log.exception("a host could not be held", extra={"instance": instance_id})

    def _hold(self, instance_id: str, time: timedelta) -> None:
        with self._database.transaction() as tx:
            _store.hold(tx, [instance_id], self._clock() + time)

    def _end(self, instance_id: str, reached: bool) -> None:
        """Let others have a host again: at once, or after a pause if it was out of reach."""
        pause = 0.0
        if reached:
            self._pauses.pop(instance_id, None)
        else:
            pause = min(self._pauses.get(instance_id, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE)
            self._pauses[instance_id] = pause
        try:
            self._hold(instance_id, timedelta(seconds=pause))
        except Exception:
            log.exception("a host could not be let go", extra={"instance": instance_id})
        finally:
            with self._lock:
                self._under_way.discard(instance_id)

    def _running(self) -> tuple[asyncio.AbstractEventLoop, Visits]:
        if self._started is None:
            self._started = asyncio.new_event_loop(), self._make()
            threading.Thread(target=_run_for_ever, args=(self._started[0],), name="ssh", daemon=True).start()
        return self._started


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
