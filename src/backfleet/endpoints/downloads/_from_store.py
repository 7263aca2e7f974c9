"""Artifacts that this server fetches from the object store when a host asks for them."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiohttp import web

from backfleet.object_store import Missing, Trouble
from backfleet.releases import Stored

AT_ONCE: Final = 4  # artifacts that are fetched; others wait for their turn
WAIT_SECONDS: Final = 20.0  # for a fetch; hosts give up a silent server after 30
ASK_AGAIN_SECONDS: Final = 5

log = logging.getLogger(__name__)


class FromStore:
    """Fetches each artifact once, however many hosts ask. Used from one event loop.

    Args:
        stored: The object store.
        is_of_release: Returns whether an artifact is a release's. Called in a thread.
        is_hash: Returns whether a text can be the name of an artifact.
    """

    def __init__(self, stored: Stored, is_of_release: Callable[[str], bool], is_hash: Callable[[str], bool]) -> None:
        self._stored, self._is_of_release, self._is_hash = stored, is_of_release, is_hash
        self._threads = ThreadPoolExecutor(AT_ONCE, "object-store")  # slow calls must not take the server's own
        self._fetching: dict[str, asyncio.Future[Path]] = {}

    async def path(self, sha256: str, here: Path | None) -> Path | None:
        """Return the file of an artifact; None if there is no such artifact.

        Args:
            sha256: Its hash, or any text.
            here: Its file, if it is in the folder.

        Raises:
            HTTPServiceUnavailable: it is not here yet, or the object store does not give it.
        """
        if here is not None:
            await asyncio.to_thread(self._stored.note_use, here)
            return here
        if not self._is_hash(sha256) or not await asyncio.to_thread(self._is_of_release, sha256):
            return None
        fetching = self._fetching.get(sha256) or self._begin(sha256)
        done, _ = await asyncio.wait((fetching,), timeout=WAIT_SECONDS)
        if not done:
            raise _later("the artifact is still on its way from the object store")
        try:
            return fetching.result()
        except Missing:
            return None
        except (Trouble, OSError, asyncio.CancelledError):
            raise _later("the object store does not give the artifact; the server's log says why") from None

    async def close(self) -> None:
        """End the fetches at their next piece."""
        self._stored.bucket.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, sha256: str) -> asyncio.Future[Path]:
        loop = asyncio.get_running_loop()
        fetching = self._fetching[sha256] = loop.run_in_executor(self._threads, self._stored.fetch, sha256)
        fetching.add_done_callback(lambda future: self._end(sha256, future))
        return fetching

    def _end(self, sha256: str, future: asyncio.Future[Path]) -> None:
        self._fetching.pop(sha256, None)
        if not future.cancelled() and (problem := future.exception()) is not None:
            log.error("an artifact cannot be fetched: %s", problem, extra={"sha256": sha256})


def _later(text: str) -> web.HTTPException:
    return web.HTTPServiceUnavailable(text=f"{text}\n", headers={"Retry-After": str(ASK_AGAIN_SECONDS)})
