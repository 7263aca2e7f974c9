"""Short requests: answered where they arrive, without the HTTP server, which takes twice the CPU for one.

A connection begins here. A request is answered here if its address is one that was added, all of it comes in a few
pieces, and nothing about it is unusual. At the first bytes that are anything else, the connection is the HTTP server's
for good, with all that has arrived on it and was not answered: so that server alone decides about what is large, slow,
malformed, an upgrade, or for another address.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, cast

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy, MultiDictProxy
from yarl import URL

from backfleet.library_internals import request_parser
from backfleet.short_answers import TEXT, Answer, head_of
from backfleet.values import value_object

MOST_BYTES: Final = 64 * 1024  # of a request; a larger one is the HTTP server's
Now = Callable[[], float]  # Unix seconds
REST_SECONDS: Final = 2.0  # for the rest of a request; then it is the HTTP server's, which has its own limits

log = logging.getLogger(__name__)


@value_object
class ShortRequest:
    """A request, all of it. Its attributes are those of a request of the HTTP server."""

    method: str
    rel_url: URL
    headers: CIMultiDictProxy[str]
    raw_headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    transport: asyncio.Transport  # its connection, which may have ended meanwhile

    @property
    def path(self) -> str:
        """The address, without its query."""
        return self.rel_url.path

    @property
    def query(self) -> MultiDictProxy[str]:
        """What follows the address."""
        return self.rel_url.query

    @property
    def remote(self) -> str:
        """The other end of its connection."""
        found = self.transport.get_extra_info("peername")
        return str(found[0]) if isinstance(found, list | tuple) else str(found)

    @property
    def secure(self) -> bool:
        """Whether its connection is encrypted."""
        return self.transport.get_extra_info("sslcontext") is not None


AnyRequest = web.Request | ShortRequest
Handler = Callable[[ShortRequest], Awaitable[Answer]]
Reply = Callable[[Answer], None]
Begin = Callable[[ShortRequest, Reply], "asyncio.Future[None]"]
"""Begins to answer a request. The reply is called once, later, from the event loop; then the future is done.
To cancel the future ends the work where that can be ended."""


class ShortRequests:
    """The addresses that are answered here, and the connections that are. Used from the event loop only."""

    def __init__(
        self, keep_alive_seconds: float, grace_seconds: float, now: Now = time.time, line_limit: int = MOST_BYTES
    ) -> None:
        """Open it for connections.

        Args:
            keep_alive_seconds: after which an idle connection is closed.
            grace_seconds: that requests under way have to end, once this is closing.
            now: the time.
            line_limit: bytes of a request's first line; a longer one is the HTTP server's.
        """
        self.keep_alive_seconds, self._grace_seconds = keep_alive_seconds, grace_seconds
        self.now, self.line_limit = now, line_limit
        self._handlers: dict[bytes, Begin] = {}
        self._known = re.compile(rb"(?!)")
        self._open: set[Reader] = set()
        self._answering: set[asyncio.Future[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    def add_to(self, app: web.Application) -> None:
        """Close with an application: its requests under way have as long as those of the HTTP server."""
        app.on_shutdown.append(self._begin_closing_with)
        app.on_cleanup.append(self._closed_with)

    async def _begin_closing_with(self, _app: web.Application) -> None:
        self.begin_closing()

    async def _closed_with(self, _app: web.Application) -> None:
        await self.closed()

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Answer requests of a method for exactly this path, written as it is here."""

        def begin(request: ShortRequest, reply: Reply) -> "asyncio.Future[None]":
            return asyncio.get_running_loop().create_task(_answer(handler, request, reply))

        self.add_begun(method, path, begin)

    def add_begun(self, method: str, path: str, begin: Begin) -> None:
        """The same for requests that need no coroutine, whose turns of the event loop a short answer waits for."""
        self._handlers[f"{method} {path}".encode()] = begin
        known = b"|".join(map(re.escape, self._handlers))
        self._known = re.compile(rb"(%b)[ ?]" % known)

    def handler_of(self, arrived: bytes) -> Begin | None:
        """Return who answers a request that begins with these bytes; None: the HTTP server."""
        found = self._known.match(arrived)
        return None if found is None else self._handlers[found[1]]

    def reader(self, http_server: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """Return what reads a new connection, and gives it to a protocol of the HTTP server where that is due."""
        return Reader(self, http_server)

    def begin_closing(self) -> None:
        """Close the idle connections, and the others as soon as their requests are answered."""
        self._closing = self._closing or asyncio.get_running_loop().create_task(self._close())

    async def closed(self) -> None:
        """Wait until every connection is closed. See `begin_closing`."""
        if self._closing is not None:
            await self._closing

    @property
    def is_closing(self) -> bool:
        """Whether a connection is closed once its request is answered."""
        return self._closing is not None

    @property
    def answering(self) -> int:
        """How many requests are being answered, also those whose caller has left."""
        return len(self._answering)

    async def _close(self) -> None:
        for reader in list(self._open):
            reader.close_if_idle()
        if self._answering:
            _, late = await asyncio.wait(self._answering, timeout=self._grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for reader in list(self._open):
            reader.close()

    def answer(self, begin: Begin, request: ShortRequest, reply: Reply) -> "asyncio.Future[None]":
        """Have a request answered."""
        answering = begin(request, reply)
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        return answering

    def opened(self, reader: "Reader") -> None:
        """Note a connection."""
        self._open.add(reader)

    def left(self, reader: "Reader") -> None:
        """Note that a connection has ended, or is the HTTP server's."""
        self._open.discard(reader)


class _Message:
    """A request that is arriving, as far as it has. It is read as the HTTP server would read it."""

    def __init__(self, begin: Begin, line_limit: int) -> None:
        self.begin, self._line_limit = begin, line_limit
        self._parser = request_parser(asyncio.get_running_loop())
        self._found: list[tuple[RawRequestMessage, StreamReader]] = []
        self._arrived, self._is_upgrade = b"", False

    def read(self, data: bytes) -> None:
        """Read the next piece. Raises HttpProcessingError."""
        self._arrived += data
        messages, self._is_upgrade, _ = self._parser.feed_data(data)
        self._found += messages

    @property
    def is_unusual(self) -> bool:
        """Whether it is one for the HTTP server, as far as it has arrived."""
        is_long = len(self._arrived) > MOST_BYTES or self._arrived.find(b"\r\n") > self._line_limit
        if is_long or self._is_upgrade or len(self._found) > 1:
            return True
        return any(_is_unusual(head) for head, _ in self._found) or (self.is_whole and self._goes_on)

    @property
    def _goes_on(self) -> bool:
        """Whether something has arrived after it, which its parser has read and would keep."""
        return len(self._arrived) != self._arrived.find(b"\r\n\r\n") + 4 + self._found[0][1].total_bytes

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        return bool(self._found) and self._found[0][1].is_eof()

    @property
    def keeps_connection(self) -> bool:
        """Whether another request may follow, once all of this one is here."""
        return not self._found[0][0].should_close

    def request_on(self, transport: asyncio.Transport) -> ShortRequest:
        """Return the request, once all of it is here."""
        head, body = self._found[0]
        return ShortRequest(head.method, head.url, head.headers, head.raw_headers, body.read_nowait(), transport)


def _is_unusual(head: RawRequestMessage) -> bool:
    is_large = int(head.headers.get("Content-Length", "0")) > MOST_BYTES  # whoever waits for a refusal gets it at once
    is_other = is_large or head.version != HttpVersion11
    return is_other or head.chunked or head.compression is not None or "Expect" in head.headers


class Reader(asyncio.Protocol):
    """Reads one connection, for as long as short requests come on it."""

    __slots__ = ("_arrived", "_http_server", "_idle_at", "_idle_timer", "_is_stalled", "_message", "_rest_timer",
                 "_served", "_transport", "_unsent", "answering")  # fmt: skip

    def __init__(self, served: ShortRequests, http_server: Callable[[], asyncio.Protocol]) -> None:
        self._served, self._http_server = served, http_server
        self._transport: asyncio.Transport
        self._arrived = b""  # and not answered yet
        self._message: _Message | None = None  # the request that is arriving
        self._is_stalled = False  # the other end takes no answers
        self._unsent = -1  # bytes, when that was last looked at
        self._rest_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_at = 0.0  # since when, in seconds of the event loop
        self.answering: asyncio.Future[None] | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a request on this connection is being answered, or the other end is slow to take an answer."""
        return self.answering is not None or self._is_stalled

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self._transport = cast("asyncio.Transport", transport)
        if self._served.is_closing:
            self._transport.close()
            return
        self._served.opened(self)
        self._idle_at = asyncio.get_running_loop().time()
        self._close_when_idle()

    def data_received(self, data: bytes) -> None:
        """Read what arrived. What comes while a request is answered waits."""
        if self._transport.is_closing():  # with TLS asyncio may still hand on what had come
            return
        self._arrived = self._arrived + data if self._arrived else data
        if self.answering is None and not self._is_stalled:
            self._read(data)
        elif len(self._arrived) > MOST_BYTES:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Read no more from one that takes no answers."""
        self._is_stalled = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._is_stalled = False
        self._idle_at = asyncio.get_running_loop().time()
        if self.answering is None:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. A request that is being answered is carried out all the same."""
        del exc
        self._leave()

    def close_if_idle(self) -> None:
        """Close the connection, unless a request is being answered: then it is closed afterwards."""
        if self.answering is None:
            self._transport.close()

    def close(self) -> None:
        """Close the connection once what was answered is sent."""
        self._transport.close()

    def _read(self, data: bytes) -> None:
        """Read the next piece of a request, and answer it once it is whole."""
        message = self._message or self._begin(data)
        if message is None:
            self._give_over()
            return
        try:
            message.read(data)
        except HttpProcessingError:
            self._give_over()
            return
        if message.is_unusual:
            self._give_over()
        elif message.is_whole:
            self._forget_message()
            self._arrived = b""
            request, reply = message.request_on(self._transport), partial(self._reply, not message.keeps_connection)
            self.answering = self._served.answer(message.begin, request, reply)
        elif self._rest_timer is None:
            self._rest_timer = asyncio.get_running_loop().call_later(REST_SECONDS, self._give_over)

    def _begin(self, data: bytes) -> _Message | None:
        """Begin a request whose first piece this is; return None if it is one for the HTTP server."""
        begin = None if self._served.is_closing else self._served.handler_of(data)
        self._message = None if begin is None else _Message(begin, self._served.line_limit)
        return self._message

    def _reply(self, is_last: bool, answer: Answer) -> None:
        self.answering = None
        if self._transport.is_closing():
            return
        is_last = is_last or self._served.is_closing
        self._transport.write(head_of(answer, int(self._served.now()), is_last=is_last) + answer.body)
        if is_last:
            self._transport.close()
            return
        self._idle_at = asyncio.get_running_loop().time()
        if not self._is_stalled:
            self._go_on()

    def _go_on(self) -> None:
        """Read what has arrived meanwhile, unless the connection is about to be closed."""
        if self._transport.is_closing():
            return
        if not self._transport.is_reading():
            self._transport.resume_reading()
        if self._arrived:
            self._read(self._arrived)

    def _give_over(self) -> None:
        """Give the connection to the HTTP server, with all that was not answered."""
        if self._served.is_closing:
            self._transport.close()
            return
        arrived, transport, protocol = self._arrived, self._transport, self._http_server()
        self._leave()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(arrived)

    def _leave(self) -> None:
        self._served.left(self)
        self._forget_message()
        self._arrived = b""
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _forget_message(self) -> None:
        self._message = None
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _close_when_idle(self) -> None:
        """Close the connection if it has been idle for too long, or nothing of an answer is taken; else see again."""
        loop = asyncio.get_running_loop()
        left = self._idle_at + self._served.keep_alive_seconds - loop.time()
        if left <= 0 and self._is_stalled:
            before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
            if self._unsent == before:
                self._transport.abort()
                return
            self._idle_at = loop.time()
        if left <= 0 and not self.is_answering and self._message is None:
            self._transport.close()
        else:
            self._idle_timer = loop.call_later(max(left, 1.0), self._close_when_idle)


async def _answer(handler: Handler, request: ShortRequest, reply: Reply) -> None:
    reply(await _answer_of(handler, request))


async def _answer_of(handler: Handler, request: ShortRequest) -> Answer:
    """Return the answer to a request, as the HTTP server would make one of what the handler raises."""
    try:
        return await handler(request)
    except web.HTTPException as problem:
        return Answer((problem.text or "").encode(), problem.status, TEXT)
    except Exception:
        log.exception("a request failed", extra={"path": request.path})
        return Answer(b"500 Internal Server Error", 500, TEXT)
