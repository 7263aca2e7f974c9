"""Small writes of several threads in one transaction, where only one thread can write at a time.

The first one leads: it waits for its turn, and does all that wait by then. Whoever is alone waits for nobody, and the
busier the writer is, the more writes share a commit.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from backfleet.storage._unavailable import Trouble, Unavailable, diagnose

MOST_TOGETHER: Final = 64  # writes in one transaction

Result = TypeVar("Result")


class Part(Protocol):
    """A part of a transaction."""

    def commit(self) -> None:
        """Keep it, if the transaction is committed."""

    def rollback(self) -> None:
        """Undo it, and nothing else."""


class Parts(Protocol):
    """A transaction of which a part can be undone."""

    def begin_part(self) -> Part:
        """Begin one."""


def _taken() -> threading.Lock:
    """Return a lock that is not free: an event for one thread that waits once, with less to make."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False, slots=True)
class _Write:
    work: Callable[[Any], Any]
    until: float  # it waits for a lock, in seconds of a clock that only runs forward
    has_waited: bool = False  # for a lock, with one that did so in vain
    woken: threading.Lock = field(default_factory=_taken)  # free once it is over, or is to lead
    is_over: bool = False
    result: Any = None
    problem: BaseException | None = None

    def do(self, tx: Parts) -> None:
        """Do it as one of several. Raises what ends the transaction for all of them."""
        part = tx.begin_part()
        try:
            self.result = self.work(tx)
        except Exception as problem:
            if diagnose(problem) is not None:  # SQLite has undone all of it then, and would begin anew
                raise
            part.rollback()
            self.problem = problem
        else:
            part.commit()


class Together:
    """Writes that wait. Used from any thread."""

    def __init__(
        self,
        begin: Callable[[float | None], AbstractContextManager[Parts]],
        lock_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with none.

        Args:
            begin: Begins a transaction, once it is this thread's turn to write; for which it waits as long as it is
                told, or else as long as usual.
            lock_seconds: How long that is.
            now: The time, in seconds.
        """
        self._begin, self._lock_seconds, self._now = begin, lock_seconds, now
        self._guard = threading.Lock()  # of the following
        self._waiting: list[_Write] = []
        self._is_led = False

    def write(self, work: Callable[[Any], Result]) -> Result:
        """Do `work` in a transaction, which it may share, and return its result after the commit.

        Raises:
            Whatever `work` raised; then nothing of it is stored.
            Unavailable: the transaction failed, for all that shared it.
        """
        mine = _Write(work, self._now() + self._lock_seconds)
        with self._guard:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
        if not leads:
            mine.woken.acquire()
        if not mine.is_over:
            self._lead(mine)
        if mine.problem is not None:
            raise mine.problem
        result: Result = mine.result
        return result

    def _lead(self, mine: _Write) -> None:
        """Do all that wait, this thread's write among them, and have the next one lead those that came since."""
        taken: list[_Write] = []
        left = max(mine.until - self._now(), 0.0) if mine.has_waited else None
        try:
            with self._begin(left) as tx:
                taken = self._take()
                if len(taken) == 1:
                    taken[0].result = taken[0].work(tx)
                else:
                    for write in taken:
                        write.do(tx)
        except BaseException as problem:  # noqa: BLE001 - raised again by whoever asked for the write
            taken = taken or self._take_failed(mine, problem)
            for write in taken:
                write.problem = _same(problem)
        for write in taken:
            write.is_over = True
            write.woken.release()
        with self._guard:
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].woken.release()

    def _take(self) -> list[_Write]:
        with self._guard:
            taken, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        return taken

    def _take_failed(self, mine: _Write, problem: BaseException) -> list[_Write]:
        """Take out what fails with this thread's write. Whoever has waited shorter for a lock has the rest of its time.

        They are woken one after the other as their time is over, so that all of them together wait no longer.
        """
        if not isinstance(problem, Unavailable) or problem.trouble is not Trouble.LOCKED:
            return self._take()
        with self._guard:
            now = self._now()
            taken = [write for write in self._waiting if write is mine or write.until <= now]
            self._waiting = [write for write in self._waiting if write is not mine and write.until > now]
            for write in self._waiting:
                write.has_waited = True
        return taken


def _same(problem: BaseException) -> BaseException:
    """Return an error for one of several threads: one that many raise would gather the frames of all of them."""
    return Unavailable(problem.trouble) if isinstance(problem, Unavailable) else problem
