"""How many of the process's threads pages may have at once: programs and hosts are answered beside slow pages."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from backfleet.operations.perform import THREADS

FOR_PAGES: Final = THREADS - 2

Result = TypeVar("Result")


class Turns:
    """Lets some pieces of work run at once; the others wait in the event loop, in the order in which they came."""

    def __init__(self, most: int = FOR_PAGES) -> None:
        self._free = asyncio.Semaphore(most)

    async def take(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do blocking work when it has a turn, and return its result.

        Who waits may be cancelled. The turn lasts until the work ends all the same: its thread is not free before.
        """
        await self._free.acquire()
        task = asyncio.ensure_future(work())
        task.add_done_callback(self._end)
        return await asyncio.shield(task)

    def _end(self, task: "asyncio.Future[Any]") -> None:
        self._free.release()
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more
