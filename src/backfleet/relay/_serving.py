"""A relay while it serves: listeners, limits and signals."""

import asyncio
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from backfleet.clock import Clock
from backfleet.connections import Connections, limits_of, raise_descriptor_limit
from backfleet.peers import Trust
from backfleet.relay._cache import Cache
from backfleet.relay._endpoint import Relay, add_to
from backfleet.relay._upstream import Upstream
from backfleet.sites import Rules, Site
from backfleet.sockets import tell_systemd
from backfleet.values import value_object

GRACE_SECONDS: Final = 5.0  # for answers that are under way when it stops
KEEP_ALIVE_SECONDS: Final = 75.0
STALLED_SECONDS: Final = 60
MOST_BODY: Final = 1024  # bytes: nobody has anything to send here

log = logging.getLogger(__name__)


@value_object
class Place:
    """Where a relay stands.

    Args:
        upstream: The server's address, without a last slash.
        trusted: What the server's certificate is checked with.
        listener: Bound, and not listening yet.
        tls: The relay's own certificate; None serves without TLS.
    """

    upstream: str
    trusted: ssl.SSLContext
    listener: socket.socket
    tls: ssl.SSLContext | None = None


async def run(place: Place, cache: Cache, clock: Clock, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then end what is under way. Calls `ready` once hosts are answered."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    relay = Relay(Upstream(place.upstream, place.trusted), cache, clock=clock)
    app = web.Application(client_max_size=MOST_BODY)
    add_to(app, relay)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, shutdown_timeout=GRACE_SECONDS,
        handler_cancellation=True,
    )  # fmt: skip
    await runner.setup()
    limits = limits_of(raise_descriptor_limit(), 0, 0)
    rules = Rules(Connections(limits, lambda _: False, time.monotonic), Trust(), False, STALLED_SECONDS)
    try:
        await Site(runner, place.listener, rules, ssl_context=place.tls).start()
        ready()
        tell_systemd("READY=1")
        checking = asyncio.create_task(relay.check_server())
        await stop.wait()
        checking.cancel()
        tell_systemd("STOPPING=1")
    finally:
        await relay.close()
        await runner.cleanup()
