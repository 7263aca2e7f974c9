"""One agent's WebSocket: what is left of a connection once its request is over.

A server of HTTP keeps a request, its headers, a task and buffers for each open connection. Tens of thousands of agents
hold one that says nothing but a word each minute, so it is taken out of that server and keeps its transport, the
reader of its frames and nothing else.
"""

import asyncio
import logging
from enum import Enum
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import WSCloseCode, web
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import Protocol as Frames
from websockets.protocol import Side, State
from websockets.server import ServerProtocol

from backfleet.library_internals import limit_tls_buffer_of, take_connection

LONGEST_MESSAGE = 64 * 1024  # bytes of one message of an agent
TLS_READ_BYTES = 1024  # at a time, of an agent that says nothing but a word
_HANDSHAKE: Final = ("Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version")

_log = logging.getLogger(__name__)
_log.setLevel(logging.WARNING)  # the library tells each frame otherwise


class End(Enum):
    """How a channel ended."""

    CLOSED = "the agent said that it leaves"
    DROPPED = "the connection ended, or the agent said something else"
    OURS = "this server ended it, or found it broken"


class Holder(Protocol):
    """Who is told what happens to a channel."""

    def heard(self) -> None:
        """Note that something arrived."""

    def ended(self, how: End) -> None:
        """Note the end. Called once, and nothing after it."""


class Channel(asyncio.Protocol):
    """A WebSocket that is open. Used from the event loop only."""

    __slots__ = ("_frames", "_gone", "_holder", "_is_ours", "_transport", "heard_at")

    def __init__(self, holder: Holder) -> None:
        self._frames = Frames(Side.SERVER, state=State.OPEN, max_size=LONGEST_MESSAGE, logger=_log)
        self._holder: Holder | None = holder
        self._transport: asyncio.Transport
        self._gone: asyncio.Future[None] | None = None  # for those who wait for the end
        self._is_ours = False  # the end
        self.heard_at = 0.0
        """When something arrived last, or it was asked whether it is there; in seconds of the event loop."""

    def begin(self, transport: asyncio.Transport, arrived: bytes) -> None:
        """Take over a connection whose handshake is done, and what has arrived on it since."""
        self._transport = transport
        self._note_heard()
        if arrived:
            self.data_received(arrived)

    @property
    def has_unsent(self) -> bool:
        """Whether something is still to be sent that the other end has not taken."""
        return self._transport.get_write_buffer_size() > 0

    def data_received(self, data: bytes) -> None:
        """Read frames, answer pings, and tell the holder."""
        self._frames.receive_data(data)
        heard = bool(self._frames.events_received())
        self._flush()
        if heard:
            self._note_heard()

    def pause_writing(self) -> None:
        """Read no more from an agent that takes no answers: those to its pings would fill the memory."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the holder how it ended."""
        del exc
        holder, self._holder = self._holder, None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if holder is not None:
            holder.ended(self._end())

    def send(self, text: str) -> None:
        """Send a message, unless the channel is closing."""
        if self._frames.state is State.OPEN:
            self._frames.send_text(text.encode())
            self._flush()

    def ping(self) -> None:
        """Ask whether the agent is there, unless the channel is closing."""
        if self._frames.state is State.OPEN:
            self._frames.send_ping(b"")
            self._flush()

    def abort(self) -> None:
        """End the connection at once."""
        self._is_ours = True
        self._transport.abort()

    async def close(self, code: WSCloseCode, reason: str, seconds: float) -> None:
        """Say why it ends and wait for the agent's answer, at most so many seconds."""
        self._is_ours = True
        if self._frames.state is State.OPEN:
            self._frames.send_close(code, reason)
            self._flush()
        if self._holder is not None:
            self._gone = self._gone or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._gone], timeout=seconds)
        self._transport.abort()

    def _note_heard(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        if self._holder is not None:
            self._holder.heard()

    def _flush(self) -> None:
        for piece in self._frames.data_to_send():
            if piece:
                self._transport.write(piece)
            else:
                self._transport.close()

    def _end(self) -> End:
        frames = self._frames
        broken = frames.close_sent is not None and not frames.close_rcvd_then_sent
        if self._is_ours or broken:
            return End.OURS
        is_goodbye = frames.close_rcvd is not None and frames.close_rcvd.code == WSCloseCode.OK
        return End.CLOSED if is_goodbye else End.DROPPED


def open_channel(request: web.Request, holder: Holder) -> tuple[Channel | None, web.Response]:
    """Answer a request for a WebSocket.

    The answer is always to be returned. Where there is a channel it has been sent already, and the connection is no
    longer that of the request.
    """
    given = Headers([(name, value) for name in _HANDSHAKE for value in request.headers.getall(name, [])])
    found = ServerProtocol(logger=_log).accept(Request(request.path, given, method=request.method))
    if found.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        headers = {name: value for name, value in found.headers.raw_items() if name in ("Allow", "Upgrade")}
        return None, web.Response(status=found.status_code, headers=headers, text=(found.body or b"").decode())
    channel = Channel(holder)
    try:
        transport, arrived = take_connection(request, channel)
    except ConnectionResetError:
        return None, web.Response()
    limit_tls_buffer_of(transport, TLS_READ_BYTES)
    transport.write(found.serialize())
    channel.begin(transport, arrived)
    return channel, web.Response(status=found.status_code)
