"""The roof: the only file that knows every part. Picks doors and workers for this process and runs them.

A start, in order:
 1. bind the listeners, or take those that systemd holds: a taken port is known before anything is written
 2. open the database and bring it to this version's schema
 3. open the keys and the releases; make what a first start makes: account, authority, certificate, signing keys
 4. open the doors and start the workers
 5. write where we listen, and say that we are ready
"""

import asyncio
import hashlib
import json
import logging
import os
import signal
import socket
import threading
from asyncio import sslproto
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from backfleet import assistant, commands, identity, operations, releases, upgrades
from backfleet.certificates import Certificates, authority_file, names_of_this_machine, prepare_certificates
from backfleet.clock import Clock
from backfleet.endpoints import agents, downloads, health, openapi
from backfleet.ids import Draw
from backfleet.operations.backfleet.server import agent_address
from backfleet.operations.catalogue import Services
from backfleet.operations.perform import Performer
from backfleet.pubsub import LONGEST_WAIT, PubSub, open_pubsub, poll_until_stopped
from backfleet.settings import Settings
from backfleet.sockets import inherited_sockets, tell_systemd
from backfleet.storage import Database, migrate, open_database
from backfleet_host.files import make_folder, sync_folder, write_file

GRACE_SECONDS = 6.0  # for requests in flight when we are told to stop; the whole stop takes at most 10
WORKER_GRACE_SECONDS = 2.0
SCHEDULES = timedelta(seconds=1)  # between two looks at commands whose time has come
LEASES = timedelta(seconds=5)  # between two looks at leases that ran out
HOUSEKEEPING = timedelta(minutes=10)  # between two rounds of forgetting what is over
KEEP_ALIVE_SECONDS = 120  # agents keep idle connections for 90 s; ours must live longer
BACKLOG = 4096  # connections that wait while we are busy or away: agents that are refused stay away for long
TLS_READ_BYTES = 16 * 1024  # one TLS record
ACCEPTED_AT_ONCE = 64  # connections taken from there in one go, so that those we have are served in between

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The server cannot start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The two bound sockets."""

    http: socket.socket
    https: socket.socket


@dataclass(frozen=True, slots=True)
class Worker:
    """One loop of this process: what it looks at, and the topic that wakes it."""

    topic: str
    look: Callable[[], bool]
    nap: timedelta = LONGEST_WAIT


def serve(settings: Settings, *, clock: Clock, draw: Draw, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; then finish what is in flight.

    `announce` is told one JSON line when every listener accepts.

    Raises:
        CannotStart: a taken port, an unusable data folder or database.
    """
    os.umask(0o077)  # whatever we write is nobody else's to read, the database's own files included
    listeners = bind(settings)
    settings = replace(settings, http=_address(listeners.http), https=_address(listeners.https))
    try:
        pubsub = open_pubsub(settings.nats)
    except ValueError as problem:
        raise CannotStart(f"--nats cannot be used: {problem}") from None
    try:
        services, certificates = open_services(settings, pubsub, clock=clock, draw=draw)
        try:
            asyncio.run(_Serving(services, pubsub, certificates, clock, announce).run(listeners))
        finally:
            services.database.close()
    finally:
        pubsub.close()


def bind(settings: Settings) -> Listeners:
    """Bind both listeners without accepting yet. One that systemd hands us is used as it is, whatever the settings say.

    Raises:
        CannotStart: an address is malformed or taken.
    """
    given = inherited_sockets()
    if given:
        return Listeners(
            http=given.get("http") or _bind("http", settings.http),
            https=given.get("https") or _bind("https", settings.https),
        )
    return Listeners(http=_bind("http", settings.http), https=_bind("https", settings.https))


def open_services(settings: Settings, pubsub: PubSub, *, clock: Clock, draw: Draw) -> tuple[Services, Certificates]:
    """Open everything a process needs, making at first start what does not exist yet.

    Raises:
        CannotStart: the data folder or the database cannot be used.
    """
    try:
        make_folder(settings.data)
        database = open_database(settings.database, pubsub.publish)
        migrate(database)
        vault = identity.Vault.open(settings.data)
        repository = releases.Repository.open(settings.data)
        names = [*names_of_this_machine(), *filter(None, settings.public_host.split(","))]
        certificates = prepare_certificates(settings.data, names, now=clock())
        sync_folder(settings.data)  # an earlier process may have made folders in it and ended before that
        _first_start(settings, database, vault, repository, certificates, clock(), draw)
    except OSError as problem:
        raise CannotStart(f"the data folder {settings.data} cannot be used: {problem}") from problem
    except (sa.exc.SQLAlchemyError, ValueError) as problem:
        raise CannotStart(f"the database cannot be used: {_first_line(problem)}") from problem
    services = Services(database=database, settings=settings, vault=vault, repository=repository, draw=draw)
    return services, certificates


def _first_start(
    settings: Settings,
    database: Database,
    vault: identity.Vault,
    repository: releases.Repository,
    certificates: Certificates,
    now: datetime,
    draw: Draw,
) -> None:
    """Make the first account and the first release metadata, once; keep the key where its owner finds it."""
    with database.transaction() as tx:
        releases.refresh(tx, repository, now=now)
        key = identity.first_account(tx, vault, now=now, draw=draw)
        if key is not None:
            # Inside the transaction: if the file cannot be written, the account is not made either.
            facts = {
                "account_id": key.account_id,
                "access_key_id": key.access_key_id,
                "access_key_secret": key.access_key_secret,
            }
            _write_json(settings.data / "admin.json", facts | where(settings, certificates))


def where(settings: Settings, certificates: Certificates) -> dict[str, str]:
    """How a client on this machine reaches the server."""
    return {
        "http_endpoint": f"http://{_reachable(settings.http)}",
        "https_endpoint": f"https://{_reachable(settings.https)}",
        "ca_file": str(certificates.authority),
    }


class _Serving:
    """One process at work."""

    def __init__(
        self,
        services: Services,
        pubsub: PubSub,
        certificates: Certificates,
        clock: Clock,
        announce: Callable[[str], None],
    ) -> None:
        self._services, self._pubsub, self._certificates = services, pubsub, certificates
        self._clock, self._announce = clock, announce
        self._settings, self._performer = services.settings, Performer(services)
        self._stopping = threading.Event()
        self._gateway: agents.Gateway | None = None

    async def run(self, listeners: Listeners) -> None:
        """Open the doors, work until told to stop, close them."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        runner = web.AppRunner(
            self._doors(),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=GRACE_SECONDS,
            **openapi.server_limits(self._settings),
        )
        await runner.setup()
        threads = self._start_workers()
        try:
            await web.SockSite(runner, listeners.http, backlog=ACCEPTED_AT_ONCE).start()
            tls = self._certificates.context()
            # The library's own buffer is 256 KiB for each connection, ten times what else an agent's socket takes.
            sslproto.SSLProtocol.max_size = TLS_READ_BYTES
            await web.SockSite(runner, listeners.https, ssl_context=tls, backlog=ACCEPTED_AT_ONCE).start()
            for listener in (listeners.http, listeners.https):
                listener.listen(BACKLOG)  # again: what the kernel holds for us is more than we take in one go
            self._say_ready()
            await stop.wait()
            log.info("stopping")
            tell_systemd("STOPPING=1")
        finally:
            await self._close(runner, threads)

    def _doors(self) -> web.Application:
        services, only = self._services, self._settings.only
        app = web.Application(client_max_size=self._settings.body_limit)
        health.add_to(app, {"database": self._database_answers})
        if "openapi" in only:
            openapi.add_to(app, services, self._performer, self._clock)
        if "downloads" in only:
            downloads.add_to(
                app,
                services.database,
                services.repository,
                host_program=host_program(),
                ca_file=self._certificates.authority,
            )
        if "agents" in only:
            self._gateway = agents.add_to(
                app, services.database, self._settings, self._pubsub, clock=self._clock, draw=services.draw
            )
        return app

    def _start_workers(self) -> list[threading.Thread]:
        if "workers" not in self._settings.only:
            return []
        threads = [
            threading.Thread(
                target=poll_until_stopped,
                args=(worker.look, self._pubsub.subscription(worker.topic), self._stopping.is_set, worker.nap),
                name=f"worker-{worker.topic}",
                daemon=True,
            )
            for worker in workers(self._services, self._clock)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _say_ready(self) -> None:
        found = where(self._settings, self._certificates)
        _write_json(self._settings.data / "serving.json", found)
        self._announce(json.dumps({"event": "ready", "http": found["http_endpoint"], "https": found["https_endpoint"]}))
        tell_systemd("READY=1")

    async def _close(self, runner: web.AppRunner, threads: list[threading.Thread]) -> None:
        self._stopping.set()
        for worker in workers(self._services, self._clock):
            self._pubsub.publish(worker.topic)
        if self._gateway is not None:
            await self._gateway.drain()
        await runner.cleanup()
        self._performer.close()
        for thread in threads:
            await asyncio.to_thread(thread.join, WORKER_GRACE_SECONDS)

    def _database_answers(self) -> None:
        with self._services.database.reading() as tx:
            tx.scalar(sa.select(sa.literal(1)))


def workers(services: Services, clock: Clock) -> list[Worker]:
    """Every loop of the services."""
    brings = bringing(services.settings)
    return [
        Worker(
            "upgrades",
            lambda: upgrades.run_once(
                services.database,
                now=clock(),
                draw=services.draw,
                bringing=brings,
                most_per_second=services.settings.host_bytes_per_second,
            ),
        ),
        Worker(
            upgrades.CHECKUPS,
            lambda: upgrades.run_checkups_once(
                services.database,
                now=clock(),
                draw=services.draw,
                every=timedelta(seconds=services.settings.checkup_seconds),
                fit_within=timedelta(seconds=services.settings.fit_seconds),
                bringing=brings,
            ),
        ),
        Worker(
            assistant.TOPIC,
            lambda: assistant.run_once(
                services.database,
                now=clock(),
                draw=services.draw,
                reachable_within=timedelta(seconds=services.settings.fit_seconds),
            ),
            SCHEDULES,
        ),
        Worker("commands", lambda: commands.run_once(services.database, now=clock()), LEASES),
        Worker("releases", lambda: releases.look(services.database, services.repository, now=clock())),
        Worker("housekeeping", lambda: operations.run_housekeeping(services, now=clock()), HOUSEKEEPING),
    ]


def bringing(settings: Settings) -> upgrades.Bootstrap:
    """What an order for a host with another agent holds of this server."""
    program, authority = host_program(), authority_file(settings.data)
    return upgrades.Bootstrap(
        address=agent_address(settings),
        authority=authority.read_text() if authority.exists() else "",
        program_sha256=hashlib.sha256(program.read_bytes()).hexdigest() if program else "",
    )


def host_program() -> Path | None:
    """The host program that was built with this control plane, if it was."""
    built = Path(__file__).parent / "backfleet-host.pyz"
    return built if built.exists() else None


def _bind(name: str, address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", int(port), type=socket.SOCK_STREAM)[0]  # noqa: S104
    except (ValueError, OSError):
        raise CannotStart(f"--{name} takes HOST:PORT, not {address!r}") from None
    bound = socket.socket(found[0], found[1])
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(found[4])
    except OSError as problem:
        bound.close()
        raise CannotStart(f"--{name} {address} cannot be used: {problem.strerror}; choose another port") from problem
    return bound


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reachable(address: str) -> str:
    """An address of a listener as a client on this machine writes it."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else address  # noqa: S104


def _write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write a file that only its owner can read."""
    write_file(path, json.dumps(facts, indent=2).encode() + b"\n")


def _first_line(problem: Exception) -> str:
    return str(problem).strip().split("\n", 1)[0]
