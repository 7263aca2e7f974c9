"""The notify socket, held open so that the server can announce work at once (protocol page, section 5)."""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import socket
import ssl
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Optional
from urllib.parse import urlsplit

import websocket

from backfleet_host.agent.protocol.kicks import Kick, read_kick
from backfleet_host.agent.protocol.server import Server, advice_on
from backfleet_host.agent.timings import Timings
from backfleet_host.library_internals import MessageTooLarge, limit_message_size
from backfleet_host.proxy import proxy_authorization
from backfleet_host.retries import backoff_seconds, retry_after_of_close_frame

log = logging.getLogger(__name__)

_PATH = "/luban/notify_server"
_PING = "keepalive"
_LARGEST_MESSAGE = 64 * 1024  # bytes; a kick has less than 200
_POLL_SECONDS = 0.5  # how often the loop checks whether it is to stop


class Disconnected(Exception):
    """The socket could not be opened, or has ended; the text says why."""


class Refused(Disconnected):
    """The server does not accept this host's identity."""


class Channel:
    """Keeps one socket open and answers kicks. Opens it again for as long as it takes."""

    def __init__(
        self,
        server: Server,
        timings: Timings,
        *,
        on_open: Callable[[], None],
        on_kick: Callable[[Kick], None],
        process: Optional[Mapping[str, str]] = None,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a channel that is not open.

        Args:
            server: the server.
            timings: the pauses.
            on_open: called each time the socket is open.
            on_kick: called for each kick.
            process: headers that tell the server which process of this identity opens the socket.
            on_refused: called when the server does not accept this host's identity.
        """
        self._server, self._timings, self._process = server, timings, dict(process or {})
        self._on_open, self._on_kick, self._on_refused = on_open, on_kick, on_refused
        self._ponged = False
        self._retry_after = 0.0  # seconds; what the server asked for when it closed the socket
        self.is_open = threading.Event()
        """Set while the socket is open."""

    def run(self, stopping: threading.Event) -> None:
        """Open, serve and open again until `stopping` is set. The pause grows until a socket has answered a ping."""
        attempt = 0
        while not stopping.is_set():
            self._ponged, self._retry_after = False, 0.0
            try:
                self._open_and_serve(stopping)
            except Disconnected as problem:
                log.warning("notify socket: %s", problem)
                if isinstance(problem, Refused):
                    self._on_refused()
            attempt = 0 if self._ponged else attempt + 1
            if not stopping.is_set():
                backoff = backoff_seconds(
                    attempt, self._timings.reconnect_first, self._timings.reconnect_most, _chance()
                )
                stopping.wait(max(backoff, min(self._retry_after, self._timings.reconnect_most)))

    def _open_and_serve(self, stopping: threading.Event) -> None:
        with _failures_named():
            opened = self._open()
        try:
            self.is_open.set()
            log.info("notify socket: open")
            self._on_open()
            with _failures_named():
                self._serve(opened, stopping)
        finally:
            self.is_open.clear()
            with contextlib.suppress(Exception):  # the connection may have ended already
                opened.close(timeout=1)

    def _open(self) -> Any:
        opened: Any = websocket.WebSocket(enable_multithread=False)  # Any: the library has no type hints
        limit_message_size(opened, _LARGEST_MESSAGE)
        raw = _connected(self._server, self._timings.handshake)
        try:
            opened.connect(
                self._server.url("wss", _PATH),
                socket=raw,
                header={**self._server.headers(), **self._process},
                suppress_origin=True,
                redirect_limit=0,
                timeout=self._timings.handshake,
            )
        except BaseException:
            raw.close()
            raise
        return opened

    def _serve(self, opened: Any, stopping: threading.Event) -> None:
        keepalive = _Keepalive(self._timings, time.monotonic())
        while not stopping.is_set():
            opened.settimeout(self._timings.handshake)
            if keepalive.is_due(time.monotonic()):
                opened.ping(_PING)
            opened.settimeout(_POLL_SECONDS)
            try:
                kind, frame = opened.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                continue
            self._handle(opened, kind, frame, keepalive)

    def _handle(self, opened: Any, kind: int, frame: Any, keepalive: _Keepalive) -> None:
        if kind == websocket.ABNF.OPCODE_CLOSE:
            self._retry_after = retry_after_of_close_frame(bytes(frame.data))
            raise Disconnected("closed by the server")
        if kind == websocket.ABNF.OPCODE_PONG:
            self._ponged = True
            keepalive.answered()
        if kind in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            kick = read_kick(frame.data.decode("utf-8", "replace"))
            opened.settimeout(self._timings.handshake)
            opened.send(kick.reply)  # before anything is fetched, since the server waits for the reply
            self._on_kick(kick)


class _Keepalive:
    """Tells when to ping, and when a missing pong means that the connection is dead."""

    def __init__(self, timings: Timings, now: float) -> None:
        self._timings, self._next, self._waiting_since = timings, now, 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether to ping now.

        Raises:
            Disconnected: an earlier ping was not answered in time.
        """
        if self._waiting_since and now - self._waiting_since > self._timings.pong:
            raise Disconnected(f"no pong within {self._timings.pong:g} s")
        if now < self._next:
            return False
        self._next = now + self._timings.ping
        self._waiting_since = self._waiting_since or now
        return True

    def answered(self) -> None:
        """Note that a pong came."""
        self._waiting_since = 0.0


def _connected(server: Server, seconds: float) -> ssl.SSLSocket:
    """Return a TLS connection to the server, through the proxy if there is one."""
    address = server.address
    raw = _tunnel(server, seconds) or socket.create_connection((address.host, address.port), seconds)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server.tls.wrap_socket(raw, server_hostname=address.host)
    except BaseException:
        raw.close()
        raise


def _tunnel(server: Server, seconds: float) -> Optional[socket.socket]:
    if not server.proxy:
        return None
    proxy = urlsplit(server.proxy)
    connection = http.client.HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout=seconds)
    connection.set_tunnel(server.address.host, server.address.port, headers=proxy_authorization(server.proxy))
    connection.connect()
    return connection.sock


@contextlib.contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except websocket.WebSocketBadStatusException as problem:
        kind = Refused if problem.status_code == 401 else Disconnected
        raise kind(f"the server answered {problem.status_code}{advice_on(problem.status_code)}") from None
    except (websocket.WebSocketException, MessageTooLarge, OSError, ValueError) as problem:
        raise Disconnected(str(problem) or type(problem).__name__) from None


def _chance() -> float:
    return random.random()  # noqa: S311 -- spreads load, no secret
