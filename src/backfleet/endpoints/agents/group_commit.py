"""Many small writes as one transaction: a commit to disk costs more than what most agents' requests write.

Whatever waits when the last transaction is over goes into the next one, so an idle door waits for nothing, and a busy
one commits a few times a second however many agents report.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from backfleet.endpoints.agents.authentication import NotProved
from backfleet.storage import Database, Transaction

MOST_AT_ONCE = 100  # writes in one transaction

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Write:
    order: str  # writes are done in this order, so that two nodes cannot wait for each other's rows
    work: Callable[[Transaction], Any]
    told: "asyncio.Future[Any]"


class Together:
    """The writes of one node. Used from the event loop only; the work itself runs in a thread."""

    def __init__(self, database: Database, threads: Executor) -> None:
        self._database, self._threads = database, threads
        self._waiting: list[_Write] = []
        self._running: asyncio.Task[None] | None = None

    async def write(self, order: str, work: Callable[[Transaction], Found]) -> Found:
        """Do this in a transaction; returns after its commit. `work` may raise NotProved before it writes anything.

        Raises:
            Whatever `work` raised, or the database; then nothing of it was written.
        """
        told: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(order, work, told))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._until_empty())
        return await told

    async def _until_empty(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            some, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            results = await loop.run_in_executor(self._threads, self._done, some)
            for write, result in zip(some, results, strict=True):
                if write.told.done():  # whoever asked is gone
                    continue
                if isinstance(result, BaseException):
                    write.told.set_exception(result)
                else:
                    write.told.set_result(result)

    def _done(self, some: Sequence[_Write]) -> list[Any]:
        """What each gave or raised. Where one fails they are done again one by one: only that one is lost."""
        ordered = sorted(range(len(some)), key=lambda at: some[at].order)
        results: list[Any] = [None] * len(some)
        try:
            with self._database.transaction() as tx:
                for at in ordered:
                    try:
                        results[at] = some[at].work(tx)
                    except NotProved as refusal:
                        results[at] = refusal
        except Exception as problem:  # noqa: BLE001 -- handed to whoever asked
            return [problem] if len(some) == 1 else [self._done([write])[0] for write in some]
        return results
