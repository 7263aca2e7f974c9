"""Accept connections: within the limits, with or without the PROXY protocol, with or without TLS."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from typing import Final

from aiohttp import web

from backfleet.connections import Connection, Connections, limits_of, raise_descriptor_limit
from backfleet.library_internals import is_answering
from backfleet.peers import Trust, read_address
from backfleet.proxy_protocol import SECONDS, NotProxied, read_header, trust_of
from backfleet.settings import Settings
from backfleet.short_requests import Reader, ShortRequests
from backfleet.sockets import BACKLOG
from backfleet.values import value_object

ACCEPTED_AT_ONCE: Final = 64  # so that open connections are served in between
TLS_SECONDS: Final = 30.0  # for the handshake
WRITE_BUFFER: Final = 64 * 1024  # bytes; with TLS asyncio's own is 512 KiB, which a reader that stalls would hold
PAUSE_SECONDS: Final = 0.5  # without accepting, when there is no descriptor left
SIBLINGS_SECONDS: Final = 0.2  # for which a full process leaves new connections to its siblings

log = logging.getLogger(__name__)


@value_object
class Rules:
    """What holds for every connection of a listener.

    Args:
        connections: Those of this process.
        trust: Balancers that are believed.
        is_proxied: Whether each connection begins with a header of the PROXY protocol.
        stalled_seconds: After which a connection goes whose other end takes nothing of what is sent.
        has_siblings: Whether other processes accept from the same listener.
    """

    connections: Connections
    trust: Trust
    is_proxied: bool
    stalled_seconds: int
    has_siblings: bool = False


class Site(web.BaseSite):
    """Serves one listener."""

    __slots__ = ("_connecting", "_has_left", "_listener", "_rules", "_short")

    def __init__(
        self,
        runner: web.AppRunner,
        listener: socket.socket,
        rules: Rules,
        ssl_context: ssl.SSLContext | None = None,
        short: ShortRequests | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context)
        self._listener, self._rules, self._short = listener, rules, short
        self._connecting = dict[Connection, asyncio.Task[None]]()
        self._has_left = False  # new connections to its siblings, a moment ago

    @property
    def name(self) -> str:
        """The listener as aiohttp names sites."""
        return f"listener {self._listener.getsockname()!r}"

    async def start(self) -> None:
        """Accept connections from now on."""
        await super().start()
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._listen()

    async def stop(self) -> None:
        """Accept no more, and drop connections whose header or handshake is not complete."""
        asyncio.get_running_loop().remove_reader(self._listener)
        for task in list(self._connecting.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._listener.close()
        await super().stop()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _leave_to_siblings(self) -> None:
        """Accept nothing for a moment, in which the siblings may."""
        self._has_left = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        loop.call_later(SIBLINGS_SECONDS, self._listen)

    def _accept(self) -> None:
        nobody_had_a_place, self._has_left = self._has_left, False  # for what still waits: then the limits decide
        for _ in range(ACCEPTED_AT_ONCE):
            if self._rules.has_siblings and self._rules.connections.is_full and not nobody_had_a_place:
                self._leave_to_siblings()
                return
            try:
                accepted, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:  # no descriptor or no memory is left
                loop = asyncio.get_running_loop()
                self._rules.connections.note("accept", f"no connection can be accepted: {problem.strerror}")
                loop.remove_reader(self._listener)
                loop.call_later(PAUSE_SECONDS, self._listen)
                return
            connection = Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
            connection.setblocking(False)
            self._take(connection, str(peer[0]))

    def _take(self, connection: Connection, address: str) -> None:
        connecting = asyncio.create_task(self._connect(connection, address))
        if not self._rules.connections.add(connection, address, lambda: False, connecting.cancel):
            connecting.cancel()
        self._connecting[connection] = connecting
        connecting.add_done_callback(lambda _: self._connected(connection))

    def _connected(self, connection: Connection) -> None:
        del self._connecting[connection]
        if not connection.has_transport:
            connection.close()

    async def _connect(self, connection: Connection, address: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._rules.stalled_seconds * 1000)
            if self._rules.is_proxied:
                await self._read_header(connection, address)
        except (NotProxied, OSError) as problem:
            log.info("a connection was refused: %s", problem, extra={"address": address})
            return
        connection.has_transport = True  # which closes it, also if the handshake fails
        timeout = TLS_SECONDS if self._ssl_context else None
        with contextlib.suppress(OSError, TimeoutError):  # it is gone, or its handshake failed
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._ssl_context, ssl_handshake_timeout=timeout
            )
            transport.set_write_buffer_limits(WRITE_BUFFER)
            self._rules.connections.opened(connection, lambda: is_busy(transport.get_protocol()), transport.abort)

    def _protocol(self) -> asyncio.Protocol:
        """Return what serves one connection, from its first byte on."""
        return self._http_server() if self._short is None else self._short.reader(self._http_server)

    def _http_server(self) -> asyncio.Protocol:
        if self._runner.server is None:
            raise RuntimeError("the runner was not set up")
        return self._runner.server()

    async def _read_header(self, connection: Connection, address: str) -> None:
        """Read what a balancer says of the other end. Raises NotProxied."""
        if not self._rules.trust.includes(read_address(address)):
            raise NotProxied("it is not a trusted proxy")
        try:
            async with asyncio.timeout(SECONDS):
                connection.source = await read_header(connection)
        except TimeoutError:
            raise NotProxied("no header in time") from None
        if connection.source and not self._rules.connections.rename(connection, connection.source[0]):
            raise NotProxied(f"there are too many connections from {connection.source[0]}")


def is_busy(protocol: object) -> bool:
    """Return whether a request is being answered on a connection, or it is a WebSocket."""
    return protocol.is_answering if isinstance(protocol, Reader) else is_answering(protocol)


async def start_sites(
    runner: web.AppRunner,
    settings: Settings,
    http: socket.socket,
    https: socket.socket,
    tls: ssl.SSLContext,
    short: ShortRequests | None,
) -> None:
    """Serve both listeners, each with or without the PROXY protocol."""
    trust, proxied = trust_of(settings)
    limits = limits_of(raise_descriptor_limit(), settings.most_connections, settings.most_connections_per_address)
    log.info("at most %d connections, and %d of one address", limits.most, limits.most_per_address)
    connections = Connections(limits, lambda address: trust.includes(read_address(address)), time.monotonic)
    for name, listener, context in (("http", http, None), ("https", https, tls)):
        rules = Rules(connections, trust, name in proxied, settings.stalled_seconds, settings.processes > 1)
        await Site(runner, listener, rules, context, short).start()
