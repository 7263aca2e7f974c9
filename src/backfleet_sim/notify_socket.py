"""The socket on which a server kicks an agent, with WebSocket frames made by hand: ten thousand must be cheap here."""

import asyncio
import base64
import contextlib
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

KEEP_ALIVE_SECONDS = 60
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_LONG = 126  # a length field that says that two more bytes hold the length


class NotifySocket(asyncio.Protocol):
    """One connection to `/luban/notify_server`.

    Args:
        host: for the Host header, with the port.
        headers: the signed headers of the agent.
        opened: called once the server has accepted the socket.
        kicked: called for every kick.
        ended: gets a result when the connection is gone.
    """

    def __init__(
        self,
        host: str,
        headers: Mapping[str, str],
        *,
        opened: Callable[[], None],
        kicked: Callable[[], None],
        ended: "asyncio.Future[None]",
    ) -> None:
        self._host, self._headers = host, headers
        self._opened, self._kicked, self._ended = opened, kicked, ended
        self._buffer, self._open = b"", False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the switch to the WebSocket protocol."""
        self._transport = transport
        lines = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        self._transport.write(
            f"GET /luban/notify_server HTTP/1.1\r\nHost: {self._host}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n{lines}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Read the response, then every complete frame."""
        self._buffer += data
        if not self._open and not self._accepted():
            return
        while len(self._buffer) >= 2:
            length, start = self._buffer[1] & 127, 2
            if length == _LONG:
                length, start = struct.unpack(">H", self._buffer[2:4])[0], 4
            if len(self._buffer) < start + length:
                return
            code, content = self._buffer[0] & 15, self._buffer[start : start + length]
            self._buffer = self._buffer[start + length :]
            self._frame(code, content)

    def connection_lost(self, exc: Exception | None) -> None:
        """Resolve the future that says that the socket has ended."""
        del exc
        if not self._ended.done():
            self._ended.set_result(None)

    def _accepted(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            self._transport.abort()
            return False
        self._buffer, self._open = rest, True
        self._opened()
        self._send(_PING, b"keepalive")
        self._keep_alive()
        return True

    def _frame(self, code: int, content: bytes) -> None:
        if code == _PING:
            self._send(_PONG, content)
        elif code == _CLOSE:
            self._send(_CLOSE, content[:2])
            self._transport.close()
        elif code == _TEXT and content == b"kick_vm":
            self._send(_TEXT, b"accept:kick_vm")
            self._kicked()

    def _keep_alive(self) -> None:
        def ping() -> None:
            if not self._transport.is_closing():
                self._send(_PING, b"keepalive")
                self._keep_alive()

        asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, ping)

    def _send(self, code: int, content: bytes) -> None:
        with contextlib.suppress(Exception):  # it may be closing; its end is seen in connection_lost
            self._transport.write(bytes([0x80 | code, 0x80 | len(content)]) + b"\0\0\0\0" + content)
