"""Group commit: many small writes in one transaction, since a commit costs more than what most requests write.

The writes that wait when a transaction ends go into the next one together. So an idle node waits for nothing, and a
busy one commits a few times a second however many agents report. A write that nobody is in a hurry for may wait until
some time has passed since the transaction before.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from backfleet.endpoints.agents.signatures import NotAuthenticated
from backfleet.storage import Database, Transaction
from backfleet.threads import in_thread
from backfleet.values import value_object

MOST_AT_ONCE = 100  # writes in one transaction

Result = TypeVar("Result")


@value_object
class _Write:
    order: str  # writes are sorted by it, so that two nodes cannot wait for each other's rows
    work: Callable[[Transaction], Any]
    result: "asyncio.Future[Any]"


class GroupCommit:
    """The small writes of one node. Used from the event loop only; the transactions run in a thread."""

    def __init__(self, database: Database, threads: Executor) -> None:
        self._database, self._threads = database, threads
        self._waiting: list[_Write] = []
        self._running: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
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
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Write(order, work, result))
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
            self._begun_at = asyncio.get_running_loop().time()
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            results = await in_thread(self._threads, partial(self._write_batch, batch))
            for write, result in zip(batch, results, strict=True):
                if write.result.done():  # the request was cancelled
                    continue
                if isinstance(result, BaseException):
                    write.result.set_exception(result)
                else:
                    write.result.set_result(result)

    def _write_batch(self, batch: Sequence[_Write]) -> list[Any]:
        """Return what each write returned or raised. If one fails, each is tried alone, so that only that one fails."""
        ordered = sorted(range(len(batch)), key=lambda at: batch[at].order)
        results: list[Any] = [None] * len(batch)
        try:
            with self._database.transaction() as tx:
                for at in ordered:
                    try:
                        results[at] = batch[at].work(tx)
                    except NotAuthenticated as refusal:
                        results[at] = refusal
        except Exception as problem:  # noqa: BLE001 -- raised again where the write was requested
            return [problem] if len(batch) == 1 else [self._write_batch([write])[0] for write in batch]
        return results
