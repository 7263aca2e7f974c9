"""The worker that goes to hosts: when they have commands waiting, and now and then to see whether they are there.

It has one event loop in a thread of its own, which begins with the first host. What is not begun stays in the queue.
What was under way when a process was killed is lost when its lease runs out, and sent again by whoever sent it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from backfleet.carriers.ssh import _store
from backfleet.storage import Database

MOST_VISITS: Final = 32  # hosts that one process has connections to at once
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0  # seconds until a host that was out of reach is tried again
TAKEN_AT_ONCE: Final = 200  # hosts with work that are looked up at once

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
        *,
        every: timedelta,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no visit.

        Args:
            database: where hosts and commands are.
            visitor: makes who visits hosts; called when there is one.
            every: the time between two visits of a host that has no work.
            passed: seconds since any fixed moment.
        """
        self._database, self._make, self._every, self._passed = database, visitor, every, passed
        self._started: tuple[asyncio.AbstractEventLoop, Visits] | None = None
        self._under_way: set[str] = set()
        self._pauses: dict[str, tuple[float, float]] = {}  # by host: not before, and the pause that led to it
        self._lock = threading.Lock()

    def run_once(self, now: datetime) -> bool:
        """Begin the visits that are due, as many as there may be at once. Return whether some had to be left."""
        with self._database.reading() as tx:
            if not _store.exist(tx):
                return False
            with_work = _store.with_work(tx, TAKEN_AT_ONCE)
        with self._lock:
            free = MOST_VISITS - len(self._under_way)
            with_work = [each for each in with_work if self._may_begin(each)][: max(free, 0)]
        due: list[str] = []
        if free > len(with_work):
            with self._database.transaction() as tx:
                due = _store.take_due(tx, now, now + self._every, free - len(with_work))
        for instance_id in dict.fromkeys([*with_work, *due]):
            self._begin(instance_id)
        return False

    def _may_begin(self, instance_id: str) -> bool:
        until, _ = self._pauses.get(instance_id, (0.0, 0.0))
        return instance_id not in self._under_way and self._passed() >= until

    def _begin(self, instance_id: str) -> None:
        with self._lock:
            if instance_id in self._under_way:
                return
            self._under_way.add(instance_id)
        loop, visitor = self._running()
        asyncio.run_coroutine_threadsafe(self._visit(visitor, instance_id), loop)

    async def _visit(self, visitor: Visits, instance_id: str) -> None:
        reached = False
        try:
            reached = await visitor.visit(instance_id)
        except Exception:
            log.exception("a host could not be visited", extra={"instance": instance_id})
        finally:
            with self._lock:
                self._under_way.discard(instance_id)
                if reached:
                    self._pauses.pop(instance_id, None)
                else:
                    _, before = self._pauses.get(instance_id, (0.0, FIRST_PAUSE / 2))
                    pause = min(before * 2, LONGEST_PAUSE)
                    self._pauses[instance_id] = (self._passed() + pause, pause)

    def _running(self) -> tuple[asyncio.AbstractEventLoop, Visits]:
        if self._started is None:
            self._started = asyncio.new_event_loop(), self._make()
            threading.Thread(target=_run_for_ever, args=(self._started[0],), name="ssh", daemon=True).start()
        return self._started


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
