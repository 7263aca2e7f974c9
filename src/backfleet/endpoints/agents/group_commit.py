"""Group commit: many small writes in one transaction, since a commit costs more than what most requests write.

The writes that wait when a transaction begins go into it together. A few transactions may follow each other at once, so
an idle node waits for nothing; a busy one commits some times a second however many agents report. A write that nobody
is in a hurry for may wait until some time has passed since the transaction before.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from enum import IntEnum
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from backfleet.endpoints.agents.signatures import NotAuthenticated
from backfleet.pubsub import Breath
from backfleet.storage import Database, Transaction
from backfleet.threads import in_thread
from backfleet.values import value_object

MOST_AT_ONCE = 100  # writes in one transaction
COMMITS_A_SECOND, COMMITS_AT_ONCE = 25.0, 4.0  # the latter after a rest: an upgrade alone waits for nothing

Given = TypeVar("Given")
Result = TypeVar("Result")
Together = Callable[[Transaction, Sequence[Given]], Sequence[Result | NotAuthenticated]]
"""Does what many writes of one kind ask for. Returns the result of each, or why it is refused; then nothing of it is
written.
"""


Spend = Callable[[Transaction, Sequence[Given]], Sequence[NotAuthenticated | None]]
"""Uses up what allows many writes, each once. Returns of each why it is refused; None if it is not."""


@value_object
class Permit:
    """What allows a write, and is used up before it.

    Those of all writes of a transaction are used up together: one after the other, two nodes could wait for each other.
    """

    spend: Spend[Any]
    used: Any


class Kind(IntEnum):
    """Writes that are done together, in the order in which one transaction does them.

    It is also that in which they lock rows: instances, invocations, clients. So two nodes cannot wait for each other.
    """

    SIGNATURE = 0
    RUN = 1
    LIST = 2
    REPORT = 3


@value_object
class _Write:
    kind: Kind | None  # None: it is done alone, and not in one transaction with those that have a kind
    order: str  # writes of a kind are sorted by it, so that two nodes cannot wait for each other's rows
    work: Together[Any, Any]
    given: Any
    permit: Permit | None
    result: "asyncio.Future[Any]"

    @property
    def place(self) -> tuple[int, str]:
        return (-1 if self.kind is None else self.kind), self.order


class GroupCommit:
    """The small writes of one node. Used from the event loop only; the transactions run in a thread."""

    def __init__(self, database: Database, threads: Executor) -> None:
        self._database, self._threads = database, threads
        self._waiting: list[_Write] = []
        self._running: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._breath = Breath(0.0, COMMITS_A_SECOND, COMMITS_AT_ONCE)
        self._begun_at = float("-inf")  # the last transaction, in seconds of the event loop

    async def write(self, order: str, work: Callable[[Transaction], Result], *, apart_seconds: float = 0.0) -> Result:
        """Do `work` in a transaction and return its result after the commit.

        Args:
            order: Writes of one transaction are done in this order.
            work: May raise NotAuthenticated before it writes anything: the other writes then go on.
            apart_seconds: Seconds since the transaction before for which this write may wait for others. Then they cost
                one transaction.

        Raises:
            Whatever `work` or the database raised; then nothing of this write is stored.
        """
        result: Result = await self._write(None, order, _alone, work, None, apart_seconds)
        return result

    async def write_together(
        self,
        kind: Kind,
        order: str,
        work: Together[Given, Result],
        given: Given,
        permit: Permit | None = None,
        *,
        apart_seconds: float = 0.0,
    ) -> Result:
        """Have `work` do a write of this kind, together with others, and return its result after the commit.

        Args:
            kind: All writes of a kind have the same `work`.
            order: Those of one transaction are in this order.
            work: Is given what each of them is about.
            given: What this one is about.
            permit: What allows it. All writes that have one have the same `spend`.
            apart_seconds: As of `write`.

        Raises:
            NotAuthenticated: this write was refused.
            Whatever `work` or the database raised; then nothing of this write is stored.
        """
        result: Result = await self._write(kind, order, work, given, permit, apart_seconds)
        return result

    async def _write(
        self, kind: Kind | None, order: str, work: Any, given: Any, permit: Permit | None, apart_seconds: float
    ) -> Any:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Write(kind, order, work, given, permit, result))
        at = self._begun_at + apart_seconds
        if at <= loop.time():
            self._write_now()
        elif self._later is None:
            self._later = loop.call_at(at, self._write_now)
        return await result

    def _write_now(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._waiting:
            pause = self._breath.taken(asyncio.get_running_loop().time())
            if pause and len(self._waiting) < MOST_AT_ONCE:
                await asyncio.sleep(pause)
            self._begun_at = asyncio.get_running_loop().time()
            batch = self._next_batch()
            results = await in_thread(self._threads, partial(self._write_batch, batch))
            for write, result in zip(batch, results, strict=True):
                if write.result.done():  # the request was cancelled
                    continue
                if isinstance(result, BaseException):
                    write.result.set_exception(result)
                else:
                    write.result.set_result(result)

    def _next_batch(self) -> list[_Write]:
        """Take out what the next transaction writes: as what waits longest, either of some kind or of none."""
        has_kind = self._waiting[0].kind is not None
        batch = [write for write in self._waiting if (write.kind is not None) is has_kind][:MOST_AT_ONCE]
        taken = set(map(id, batch))
        self._waiting = [write for write in self._waiting if id(write) not in taken]
        return batch

    def _write_batch(self, batch: Sequence[_Write]) -> list[Any]:
        """Return what each write returned or raised. If one fails, each is tried alone, so that only that one fails."""
        ordered = sorted(range(len(batch)), key=lambda at: batch[at].place)
        try:
            with self._database.transaction() as tx:
                results = _refusals(tx, batch)
                allowed = [at for at in ordered if results[at] is None]
                for _, several in groupby(allowed, key=lambda at: batch[at].kind):
                    places = list(several)
                    done = batch[places[0]].work(tx, [batch[at].given for at in places])
                    for at, result in zip(places, done, strict=True):
                        results[at] = result
        except Exception as problem:  # noqa: BLE001 -- raised again where the write was requested
            return [problem] if len(batch) == 1 else [self._write_batch([write])[0] for write in batch]
        return results


def _refusals(tx: Transaction, batch: Sequence[_Write]) -> list[Any]:
    """Use up what allows these writes; return of each why it is refused, None if it is not."""
    places = [place for place, write in enumerate(batch) if write.permit is not None]
    permits = [write.permit for write in batch if write.permit is not None]
    refused: list[Any] = [None] * len(batch)
    if permits:
        for place, refusal in zip(places, permits[0].spend(tx, [each.used for each in permits]), strict=True):
            refused[place] = refusal
    return refused


def nothing_more(_tx: Transaction, writes: Sequence[object]) -> list[None]:
    """Write nothing but that the permits of these writes are used up."""
    return [None] * len(writes)


def _alone(tx: Transaction, works: Sequence[Callable[[Transaction], Result]]) -> list[Result | NotAuthenticated]:
    """Do one work after the other."""
    return [_result_of(work, tx) for work in works]


def _result_of(work: Callable[[Transaction], Result], tx: Transaction) -> Result | NotAuthenticated:
    try:
        return work(tx)
    except NotAuthenticated as refusal:
        return refusal
