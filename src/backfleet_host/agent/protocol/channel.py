"""The notify socket: held open for ever, so that waiting work is known at once (protocol page, section 5)."""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import socket
import ssl
import threading
import time
from typing import Any, Callable, Iterator, Optional
from urllib.parse import urlsplit

import websocket

from backfleet_host.agent.protocol.kicks import Kick, understand
from backfleet_host.agent.protocol.server import Server, proxy_authorization
from backfleet_host.agent.timings import Pace
from backfleet_host.library_internals import FrameTooLarge, limit_frame_size
from backfleet_host.retries import backoff_seconds, retry_after_of_close_frame

log = logging.getLogger(__name__)

_PATH = "/luban/notify_server"
_PING = "keepalive"
_LARGEST_FRAME = 64 * 1024  # bytes; a kick has less than 200
_LOOK_UP = 0.5  # seconds: how often the loop looks whether it is to stop


class Lost(Exception):
    """The socket could not be opened, or is gone; the text says why."""


class Channel:
    """Keeps one socket open, answers kicks, and never gives up."""

    def __init__(
        self, server: Server, pace: Pace, *, on_open: Callable[[], None], on_kick: Callable[[Kick], None]
    ) -> None:
        self._server, self._pace = server, pace
        self._on_open, self._on_kick = on_open, on_kick
        self._ponged = False
        self._asked_to_wait = 0.0  # seconds: the server's wish when it closed the socket
        self.standing = threading.Event()
        """Set while the socket is open."""

    def run(self, stopping: threading.Event) -> None:
        """Until told to stop: open, serve, and open again after a pause that grows while it does not last."""
        attempt = 0
        while not stopping.is_set():
            self._ponged, self._asked_to_wait = False, 0.0
            try:
                self._once(stopping)
            except Lost as problem:
                log.warning("notify socket: %s", problem)
            attempt = 0 if self._ponged else attempt + 1
            if not stopping.is_set():
                own = backoff_seconds(attempt, self._pace.reconnect_first, self._pace.reconnect_most, _chance())
                stopping.wait(max(own, min(self._asked_to_wait, self._pace.reconnect_most)))

    def _once(self, stopping: threading.Event) -> None:
        with _troubles_named():
            opened = self._open()
        try:
            self.standing.set()
            log.info("notify socket: open")
            self._on_open()
            with _troubles_named():
                self._serve(opened, stopping)
        finally:
            self.standing.clear()
            with contextlib.suppress(Exception):  # it is gone, or ours to leave
                opened.close(timeout=1)

    def _open(self) -> Any:
        opened: Any = websocket.WebSocket(enable_multithread=False)  # its methods have no types
        limit_frame_size(opened, _LARGEST_FRAME)
        raw = _connected(self._server, self._pace.handshake)
        try:
            opened.connect(
                self._server.url("wss", _PATH),
                socket=raw,
                header=self._server.headers(),
                suppress_origin=True,
                redirect_limit=0,
                timeout=self._pace.handshake,
            )
        except BaseException:
            raw.close()
            raise
        return opened

    def _serve(self, opened: Any, stopping: threading.Event) -> None:
        beat = _Keepalive(self._pace, time.monotonic())
        while not stopping.is_set():
            opened.settimeout(self._pace.handshake)
            if beat.is_due(time.monotonic()):
                opened.ping(_PING)
            opened.settimeout(_LOOK_UP)
            try:
                kind, frame = opened.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                continue
            self._heard(opened, kind, frame, beat)

    def _heard(self, opened: Any, kind: int, frame: Any, beat: _Keepalive) -> None:
        if kind == websocket.ABNF.OPCODE_CLOSE:
            self._asked_to_wait = retry_after_of_close_frame(bytes(frame.data))
            raise Lost("closed by the server")
        if kind == websocket.ABNF.OPCODE_PONG:
            self._ponged = True
            beat.answered()
        if kind in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            kick = understand(frame.data.decode("utf-8", "replace"))
            opened.settimeout(self._pace.handshake)
            opened.send(kick.reply)  # before anything is fetched: the echo tells the server it was heard
            self._on_kick(kick)


class _Keepalive:
    """When to ping, and when a missing pong means that nobody is there."""

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace, self._next, self._waiting_since = pace, now, 0.0

    def is_due(self, now: float) -> bool:
        """Whether to ping now.

        Raises:
            Lost: an earlier ping stays unanswered.
        """
        if self._waiting_since and now - self._waiting_since > self._pace.pong:
            raise Lost(f"no pong within {self._pace.pong:g} s")
        if now < self._next:
            return False
        self._next = now + self._pace.ping
        self._waiting_since = self._waiting_since or now
        return True

    def answered(self) -> None:
        """A pong came."""
        self._waiting_since = 0.0


def _connected(server: Server, seconds: float) -> ssl.SSLSocket:
    """A TLS connection to the server, through the proxy if there is one."""
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
def _troubles_named() -> Iterator[None]:
    try:
        yield
    except websocket.WebSocketBadStatusException as problem:
        raise Lost(f"the server answered {problem.status_code}{_meaning(problem.status_code)}") from None
    except (websocket.WebSocketException, FrameTooLarge, OSError, ValueError) as problem:
        raise Lost(str(problem) or type(problem).__name__) from None


def _meaning(status: int) -> str:
    if status in {401, 403}:
        return ": it does not take this host's identity; is the clock right, and is the instance still registered?"
    return ""


def _chance() -> float:
    return random.random()  # noqa: S311 -- spreads load, no secret
