"""The HTTP client of simulated agents: it must take less of a machine than the server that is measured beside it.

It speaks the part of HTTP/1.1 that the agents' protocol needs: a request with a body of a known length, an answer with
one, connections that are kept. Anything else ends the connection, and the request counts as unanswered.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Self

from backfleet_sim.servers import Server

KEPT_SECONDS = 15.0  # of a connection without a request; shorter than a server's, so that few requests meet its end
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[^\r]*\bclose\b", re.IGNORECASE)


class NoAnswer(OSError):
    """The connection ended before the answer, or had something that is none."""


class Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._left = -1  # bytes of the body that are still to come; -1 while the head is
        self._status, self._keeps = 0, True
        self.kept_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and self._keeps and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits."""
        self._keeps = False
        self._fail(exc or NoAnswer("the connection has ended"))

    def data_received(self, data: bytes) -> None:
        """Read the head of the answer, then its body."""
        self._buffer += data
        if self._answer is None:
            self.end()  # nobody asked
            return
        if self._left < 0 and not self._head():
            return
        if len(self._buffer) < self._left:
            return
        body, self._buffer, answer = self._buffer[: self._left], self._buffer[self._left :], self._answer
        self._left, self._answer = -1, None
        if self._buffer:
            self.end()  # more than was asked for
        if not answer.done():
            answer.set_result((self._status, body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, and return status and body of the answer.

        Raises:
            OSError: the connection ended before.
        """
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._transport.write(request)
        try:
            return await answer
        except asyncio.CancelledError:
            self.end()  # its answer would be taken for that of the next request
            raise

    def end(self) -> None:
        """End the connection at once."""
        self._keeps = False
        if self._transport is not None:
            self._transport.abort()

    def _head(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        head += b"\r\n"
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None or length is None or _CHUNKED.search(head):
            self._fail(NoAnswer(f"an answer without a status or a length: {head[:200]!r}"))
            self.end()
            return False
        self._status, self._left, self._buffer = int(status[1]), int(length[1]), rest
        self._keeps = self._keeps and not _CLOSES.search(head)
        return True

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)


class HttpClient:
    """Connections to servers, shared by agents.

    Args:
        most: requests at once; others wait.
        source: the address from which connections are opened; "" = the system's choice.
        keeps: whether a connection is used for more than one request; not by an agent that has none for a long time.
        answered: called with method, path, status and length of every answer.
    """

    def __init__(
        self,
        most: int = 100,
        source: str = "",
        *,
        keeps: bool = True,
        answered: Callable[[str, str, int, int], None] | None = None,
    ) -> None:
        self._places, self._source, self._keeps, self._answered = asyncio.Semaphore(most), source, keeps, answered
        self._kept: dict[Server, deque[Connection]] = {}

    async def request(
        self, server: Server, method: str, path: str, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        """Return status and body of the answer to one request.

        Raises:
            OSError: there is none.
            TimeoutError: there was none in so many seconds.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n{lines}"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        async with asyncio.timeout(seconds), self._places:
            connection = self._take(server) or await self._open(server)
            status, content = await connection.ask(request)
            self._keep(server, connection)
        if self._answered is not None:
            self._answered(method, path, status, len(content))
        return status, content

    async def _open(self, server: Server) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, server.host, server.port, ssl=server.tls, local_addr=(self._source, 0) if self._source else None
        )
        return connection

    def _take(self, server: Server) -> Connection | None:
        kept, since = self._kept.get(server), time.monotonic() - KEPT_SECONDS
        while kept:
            connection = kept.pop()
            if connection.is_open and connection.kept_since >= since:
                return connection
            connection.end()
        return None

    def _keep(self, server: Server, connection: Connection) -> None:
        now = time.monotonic()
        kept = self._kept.setdefault(server, deque())
        while kept and (not kept[0].is_open or kept[0].kept_since < now - KEPT_SECONDS):
            kept.popleft().end()
        if connection.is_open and self._keeps:
            connection.kept_since = now
            kept.append(connection)
        else:
            connection.end()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End every connection that is kept."""
        await self.close()

    async def close(self) -> None:
        """End every connection that is kept, and keep none."""
        self._keeps = False
        for kept in self._kept.values():
            while kept:
                kept.pop().end()
        await asyncio.sleep(0)  # their transports are closed in the loop's next turn
