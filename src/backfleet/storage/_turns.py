"""Turns at the one writer of SQLite, so that on a busy machine nobody waits in vain."""

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

LONGEST_SLEEP: Final = 0.02  # seconds between two looks at a lock: whoever is killed lets go, and sets no event
LONGEST_WAIT: Final = 0.05  # seconds after which a waiter is next, unless it says how long it may wait


@dataclass(eq=False, slots=True)
class _Waiter:
    since: float
    due: float  # when it is next, whoever else comes
    woken: threading.Event = field(default_factory=threading.Event)
    has_turn: bool = False


_due = attrgetter("due")


class Turns:
    """A lock for threads. Whoever finds it free takes it, unless somebody has waited for as long as it may already.

    A plain lock goes to whoever asks first once it is free: a thread that lets go of it and comes back at once takes it
    from those that are still waking up, on a busy machine for seconds. Handing it over each time would cost a switch of
    threads for each transaction.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # of the two below
        self._is_taken = False
        self._waiting: list[_Waiter] = []

    def acquire(self, timeout: float, longest_wait: float = LONGEST_WAIT) -> bool:
        """Wait for a turn. Return whether it came.

        Args:
            timeout: seconds to wait at most.
            longest_wait: seconds after which this thread is next. Of several it is who should have had it first.
        """
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return True
            now = self._clock()
            waiter = _Waiter(now, now + longest_wait)
            self._waiting.append(waiter)
        until = waiter.since + timeout
        while True:
            waiter.woken.wait(max(0.0, until - self._clock()))
            with self._guard:
                if waiter.has_turn:
                    return True
                if not self._is_taken:
                    self._is_taken = True
                    self._waiting.remove(waiter)
                    return True
                waiter.woken.clear()
                if self._clock() >= until:
                    self._waiting.remove(waiter)
                    return False

    def release(self) -> None:
        """End one's turn."""
        with self._guard:
            if not self._waiting:
                self._is_taken = False
                return
            first = min(self._waiting, key=_due)
            if self._clock() >= first.due:
                first.has_turn = True
                self._waiting.remove(first)
            else:
                self._is_taken = False
            first.woken.set()

    @property
    def waiting(self) -> int:
        """How many threads wait now."""
        return len(self._waiting)


class TurnsBetween(Turns):
    """The same for the threads of several processes.

    Whoever has a turn among the threads of its process becomes the next process, of which there is one, and then
    waits for the writer's lock. A process that comes back at once finds that another one is next, and goes behind it.
    Whoever lets go of a lock sets its event, which all processes have in common. The kernel lets go for a process that
    is killed.
    """

    def __init__(
        self, locks: tuple[int, int], events: tuple[int, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without a turn.

        Args:
            locks: Two files, the next one's and the writer's, which each process has opened for itself.
            events: An eventfd for each, which does not block.
            clock: Seconds of a clock that is never set.
        """
        super().__init__(clock)
        (self._next, self._writer), (self._next_event, self._writer_event) = locks, events

    def acquire(self, timeout: float, longest_wait: float = LONGEST_WAIT) -> bool:
        """Wait for a turn. Return whether it came.

        Args:
            timeout: seconds to wait at most.
            longest_wait: seconds after which this thread is next of its process.
        """
        until = self._clock() + timeout
        if not super().acquire(timeout, longest_wait):
            return False
        has_turn = False
        try:
            has_turn = self._lock_both(until)
        finally:
            if not has_turn:
                super().release()
        return has_turn

    def release(self) -> None:
        """End one's turn."""
        try:
            _let_go(self._writer, self._writer_event)
        finally:
            super().release()

    def _lock_both(self, until: float) -> bool:
        if not self._lock(self._next, self._next_event, until):
            return False
        try:
            return self._lock(self._writer, self._writer_event, until)
        finally:
            _let_go(self._next, self._next_event)

    def _lock(self, file: int, event: int, until: float) -> bool:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                left = until - self._clock()
                if left <= 0:
                    return False
                _wait_for(event, min(left, LONGEST_SLEEP))
            else:
                return True


def _let_go(file: int, event: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)
    with contextlib.suppress(BlockingIOError):  # it has been set more often than can be counted
        os.eventfd_write(event, 1)


def _wait_for(event: int, seconds: float) -> None:
    """Wait until an event is set, so long at most. It may have been set for a turn that is over."""
    poll = select.poll()
    poll.register(event, select.POLLIN)
    if poll.poll(seconds * 1000):
        with contextlib.suppress(BlockingIOError):  # another process saw it, too
            os.eventfd_read(event)
