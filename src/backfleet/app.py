"""The composition root: the only file that knows every part. It runs the endpoints and workers of this process.

A start, in order:
 1. Bind the listeners, or take those that systemd holds, so that a taken port is reported before anything is written.
 2. Open the database and bring it to this version's schema.
 3. Open keys, releases and certificates. A first start makes the account, the authority and the signing keys.
 4. Open the endpoints and start the workers.
 5. Write down where the server listens, and report that it is ready.
"""

import asyncio
import functools
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from backfleet import (
    host_program,
    identity,
    installation,
    operations,
    sockets,
    tracing,
)
from backfleet.certificate_names import complete_certificate
from backfleet.certificates import Certificates
from backfleet.clock import Clock
from backfleet.clock_measuring import measure
from backfleet.connections import GRACE_SECONDS, KEEP_ALIVE_SECONDS
from backfleet.endpoints import agents, console, downloads, health, openapi
from backfleet.ids import Draw
from backfleet.library_internals import limit_tls_buffers
from backfleet.links import Links
from backfleet.opening import CannotStart, data_folder_taken, endpoints_of, open_services, write_json
from backfleet.operations.catalogue import Services
from backfleet.operations.perform import Performer
from backfleet.proxy_protocol import middlewares_of, trust_of
from backfleet.pubsub import poll_until_stopped
from backfleet.settings import Settings
from backfleet.short_requests import ShortRequests
from backfleet.siblings import Siblings, inherited_siblings
from backfleet.sites import start_sites
from backfleet.sockets import tell_parent_ready, tell_systemd
from backfleet.storage import Database, DatabaseClock, Unavailable, check_writing
from backfleet.values import value_object
from backfleet.workers import Worker, workers

WORKER_GRACE_SECONDS = 2.0  # for all of them together
WORKER = "worker-"  # how the names of their threads begin, before their topics
LOG_TOPIC = "storage"
MEASURE_SECONDS = 5.0  # between two questions for the database's time
TLS_READ_BYTES = 16 * 1024  # one TLS record

log = logging.getLogger(__name__)


@value_object
class Listeners:
    """The two bound sockets."""

    http: socket.socket
    https: socket.socket


def serve(settings: Settings, *, clock: Clock, draw: Draw, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; then finish the requests that are under way.

    Args:
        settings: What to serve, and where.
        clock: The time.
        draw: The source of random ids.
        announce: Called with one line of JSON when every listener accepts connections.

    Raises:
        CannotStart: a taken port, an unusable data folder or database, or no host program where a part needs it.
    """
    if host_program.NEEDED_BY & set(settings.only) and host_program.find() is None:
        raise CannotStart(host_program.MISSING)
    try:
        trust_of(settings)
    except ValueError as problem:
        raise CannotStart(str(problem)) from None
    os.umask(0o077)  # no other user may read what the server writes, the database's own files included
    listeners, siblings = bind(settings), inherited_siblings()
    settings = replace(settings, http=sockets.address_of(listeners.http), https=sockets.address_of(listeners.https))
    try:
        tracing.start(settings)
    except ImportError as problem:
        raise CannotStart(str(problem)) from None
    try:
        with data_folder_taken(settings, is_sibling=siblings is not None):
            _serve(settings, listeners, siblings, clock, draw, announce)
    finally:
        if siblings is not None:
            siblings.close()
        tracing.stop()


def _serve(
    settings: Settings,
    listeners: Listeners,
    siblings: Siblings | None,
    clock: Clock,
    draw: Draw,
    announce: Callable[[str], None],
) -> None:
    try:
        links = Links.open(settings.nats, siblings)
    except ValueError as problem:
        raise CannotStart(f"--nats cannot be used: {problem}") from None
    try:
        services, certificates = open_services(settings, links.pubsub, clock=clock, draw=draw, turns=links.turns)
        shared = DatabaseClock(services.database, clock, time.monotonic)
        services = replace(services, skew=shared.skew)
        try:
            measure(shared)
            asyncio.run(_Server(services, links, certificates, shared, announce).run(listeners))
        finally:
            services.database.close()
    finally:
        links.close()


def bind(settings: Settings) -> Listeners:
    """Bind both listeners without accepting connections yet. A listener that systemd holds is used as it is.

    Raises:
        CannotStart: an address is malformed or taken.
    """
    given = sockets.inherited_sockets()
    try:
        return Listeners(
            http=given.get("http") or sockets.bind("http", settings.http),
            https=given.get("https") or sockets.bind("https", settings.https),
        )
    except sockets.CannotListen as problem:
        raise CannotStart(str(problem)) from problem


class _Server:
    """One process while it serves."""

    def __init__(
        self,
        services: Services,
        links: Links,
        certificates: Certificates,
        clock: DatabaseClock,
        announce: Callable[[str], None],
    ) -> None:
        self._services, self._links, self._certificates = services, links, certificates
        self._pubsub = links.pubsub
        self._clock, self._announce = clock, announce
        self._settings, self._performer = services.settings, Performer(services)
        self._stopping = threading.Event()
        self._tls = certificates.context()
        self._gateway: agents.Gateway | None = None
        self._short = ShortRequests(KEEP_ALIVE_SECONDS, GRACE_SECONDS, line_limit=self._settings.line_limit)

    async def run(self, listeners: Listeners) -> None:
        """Open the endpoints, serve until a signal to stop, and close them."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # whoever supervises it starts it again
            loop.add_signal_handler(number, stop.set)
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=GRACE_SECONDS,
            **openapi.server_limits(self._settings),
        )
        await runner.setup()
        threads = self._start_workers()
        keeping_time = asyncio.create_task(self._keep_time())
        try:
            await self._listen(runner, listeners)
            self._complete_certificate(loop)
            self._report_ready()
            await stop.wait()
            log.info("stopping")
            tell_systemd("STOPPING=1")
        finally:
            keeping_time.cancel()
            await self._close(runner, threads)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            await asyncio.to_thread(measure, self._clock)

    async def _listen(self, runner: web.AppRunner, listeners: Listeners) -> None:
        limit_tls_buffers(TLS_READ_BYTES)
        await start_sites(runner, self._settings, listeners.http, listeners.https, self._tls, self._short)

    def _complete_certificate(self, loop: asyncio.AbstractEventLoop) -> None:
        known = self._settings, self._certificates, self._tls, loop, self._clock
        completing = functools.partial(complete_certificate, *known)
        threading.Thread(target=completing, daemon=True).start()

    def _application(self) -> web.Application:
        services, only = self._services, self._settings.only
        middlewares = middlewares_of(self._settings)
        app = web.Application(client_max_size=self._settings.body_limit, middlewares=middlewares)
        self._short.add_to(app)
        health.add_to(app, {"database": self._check_database}, self._links.figures)
        if "openapi" in only:
            # With trusted proxies a call's peer may be another than the connection's: the middleware finds it.
            openapi.add_to(app, services, self._performer, self._clock, None if middlewares else self._short)
        if "console" in only:
            try:
                console.add_to(app, services, self._performer, self._pubsub, self._clock)
            except (OSError, ValueError) as problem:
                raise CannotStart(f"console_oidc_file, outbound_allowed or outbound_authority: {problem}") from None
        if "downloads" in only:
            downloads.add_to(
                app,
                services.database,
                services.repository,
                host_program=host_program.find(),
                host_binaries=functools.partial(host_program.find_binaries, self._settings.data),
                ca_file=self._certificates.authority,
                clock=self._clock,
            )
        if "agents" in only:
            self._gateway = agents.add_to(
                app,
                services.database,
                self._settings,
                self._pubsub,
                clock=self._clock,
                draw=services.draw,
                adopters=adopters_of(services),
                number=self._links.number,
                short=self._short,
            )
        return app

    def _start_workers(self) -> list[threading.Thread]:
        threads = [
            threading.Thread(
                target=poll_until_stopped,
                args=(
                    worker.run_once,
                    self._pubsub.subscription(*worker.topics),
                    self._stopping.is_set,
                    worker.interval,
                    Unavailable,
                    self._pubsub.subscription(*worker.urgent) if worker.urgent else None,
                ),
                name=f"{WORKER}{worker.topic}",
                daemon=True,
            )
            for worker in self._workers()
        ]
        for thread in threads:
            thread.start()
        return threads

    def _workers(self) -> list[Worker]:
        """Return the workers of this process; the log is moved by all that may write it."""
        database = self._services.database
        return [
            Worker(LOG_TOPIC, lambda: move_log(database), database.until_log_is_moved),
            *(workers(self._services, self._clock) if self._has_workers else ()),
        ]

    @property
    def _has_workers(self) -> bool:
        return "workers" in self._settings.only and self._links.number == 0

    def _report_ready(self) -> None:
        if self._links.number:  # the first process has said so, for all of them
            tell_parent_ready()
            return
        found = endpoints_of(self._settings, self._certificates)
        write_json(installation.serving_file(self._settings), found)
        tell_parent_ready()  # first: whoever reads the line may kill this process, and it is to be started again
        tell_systemd("READY=1")
        self._announce(json.dumps({"event": "ready", "http": found["http_endpoint"], "https": found["https_endpoint"]}))

    async def _close(self, runner: web.AppRunner, threads: list[threading.Thread]) -> None:
        self._stopping.set()
        for thread in threads:
            self._pubsub.publish(thread.name.removeprefix(WORKER))
        if self._gateway is not None:
            await self._gateway.drain()
        await runner.cleanup()
        self._performer.close()
        until = time.monotonic() + WORKER_GRACE_SECONDS
        for thread in threads:
            await asyncio.to_thread(thread.join, max(until - time.monotonic(), 0.0))

    def _check_database(self) -> None:
        try:
            check_writing(self._services.database, self._clock())
        except Unavailable as problem:
            raise health.NotReady(str(problem)) from problem


def adopters_of(services: Services) -> agents.Adopters | None:
    """Return who takes hosts in after a restore: they become the administrator account's."""
    if services.hold is None:
        return None
    return agents.Adopters(
        watch=services.hold,
        account_of=lambda tx: identity.list_accounts(tx)[0].id,
        note=lambda tx, made, fingerprint, now: operations.note_adoption(tx, made, fingerprint, now, services.draw),
    )


def move_log(database: Database) -> bool:
    """Move SQLite's log into its file, off the path of every call. Return False: there is no more to do at once."""
    database.move_log()
    return False
