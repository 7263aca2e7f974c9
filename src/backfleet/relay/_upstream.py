"""The server that a relay is before: one request at a time for one thing, however many hosts ask for it."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0  # without a byte
PIECE: Final = 64 * 1024  # bytes
AT_ONCE: Final = 8  # requests
MOST_WAITING: Final = 4 * AT_ONCE  # documents that are asked for or wait to be
AWAY_SECONDS: Final = 5.0  # after a failure, for which documents are not asked for: hosts would wait in vain


class Away(Exception):
    """The server cannot be reached, or answers with an error. The text says what happened."""


class Busy(Away):
    """Too many questions wait for the server; it may be asked again soon."""


class NotThere(Exception):
    """The server answers that it has no such thing."""


class Upstream:
    """The server, by its address without a last slash. Used from one event loop.

    Args:
        address: `https://HOST[:PORT]`.
        tls: What its certificate is checked with.
        now: Seconds, monotonic.
    """

    def __init__(self, address: str, tls: ssl.SSLContext, now: Callable[[], float] = time.monotonic) -> None:
        self.address, self._now = address, now
        self._away_until, self._why_away = float("-inf"), ""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=AT_ONCE),
            timeout=timeout,
            auto_decompress=False,
            trust_env=True,
        )
        self._asked: dict[str, asyncio.Task[bytes]] = {}

    async def close(self) -> None:
        """Close every connection."""
        for task in self._asked.values():
            task.cancel()
        await self._session.close()

    async def document(self, path: str, most_bytes: int, keep: Callable[[bytes], None]) -> bytes:
        """Return a whole document once `keep` has it; callers that ask for the same at once wait for one answer.

        Raises:
            Away: it did not come, or is longer than `most_bytes`; Busy, its turn did not come.
            NotThere: the server has none.
        """
        asked = self._asked.get(path)
        if asked is None and self._now() < self._away_until:
            raise Away(self._why_away)
        if asked is None and len(self._asked) >= MOST_WAITING:  # whoever asked may be gone: the question is not
            raise Busy(f"{MOST_WAITING} questions wait for {self.address} already")
        if asked is None:
            asked = self._asked[path] = asyncio.create_task(self._document(path, most_bytes, keep))
            asked.add_done_callback(lambda _: self._asked.pop(path, None))
        return await asyncio.shield(asked)

    async def _document(self, path: str, most_bytes: int, keep: Callable[[bytes], None]) -> bytes:
        try:
            content = await self._whole(path, most_bytes)
        except Away as problem:
            self._away_until, self._why_away = self._now() + AWAY_SECONDS, str(problem)
            raise
        await asyncio.to_thread(keep, content)
        return content

    async def _whole(self, path: str, most_bytes: int) -> bytes:
        async with self.opened(path) as answer:
            content = bytearray()
            async for piece in answer.content.iter_chunked(PIECE):
                content += piece
                if len(content) > most_bytes:
                    raise Away(f"{self.address}{path} is longer than {most_bytes} bytes")
            return bytes(content)

    @asynccontextmanager
    async def opened(self, path: str, begin: int = 0) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield an answer whose body is still to be read, from byte `begin` on if the server can.

        Raises:
            Away: there is none, also while its body is read.
            NotThere: the server has none.
        """
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        try:
            async with self._session.get(self.address + path, headers=headers, max_redirects=3) as answer:
                if answer.status in (403, 404):
                    raise NotThere(path)
                if answer.status not in (200, 206):
                    raise Away(f"{self.address} answered {path} with HTTP status {answer.status}")
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            is_plain = "WRONG_VERSION_NUMBER" in str(problem)  # it answered, and not with TLS
            plain = "it speaks no TLS; name the https listener of the server"
            why = plain if is_plain else problem or type(problem).__name__
            raise Away(f"{self.address} cannot be reached: {why}") from None
