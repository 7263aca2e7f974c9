"""The endpoint in a real server: aiohttp on a free port of the loopback, a real database, real keys."""

import asyncio
import http.client
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from backfleet import identity
from backfleet.endpoints import openapi
from backfleet.operations.catalogue import BACKFLEET, HBR, STS, Call, Services, operation
from backfleet.operations.perform import Performer
from backfleet.short_requests import ShortRequests
from backfleet.wire.credentials import Credentials
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import boolean, json_list, repeat, text
from listening import TURNS_SECONDS, end_of


@dataclass
class SettableClock:
    """A clock that a test may set. Unset, it is the machine's, which official clients use."""

    stopped_at: datetime | None = None

    def __call__(self) -> datetime:
        return self.stopped_at or datetime.now(UTC)


@dataclass
class Server:
    """A running server, with its services."""

    services: Services
    clock: SettableClock
    host: str  # with its port
    root: Credentials
    seen: list[Any] = field(default_factory=list)  # the calls that the operations of the tests received

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send exactly these bytes; return status, headers (lower-case names) and body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode())
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def user(self, name: str, *policies: str, document: str | None = None) -> Credentials:
        """Create a user with these system policies, and with a policy of this document if there is one."""
        services, account = self.services, self.root_caller.account_id
        now = self.clock()
        with services.database.transaction() as tx:
            identity.create_user(tx, account, name, now=now, draw=services.draw)
            for policy in policies:
                identity.attach_policy(tx, account, name, policy, "System", now=now)
            if document is not None:
                identity.create_policy(tx, account, f"of-{name}", document, description="", now=now)
                identity.attach_policy(tx, account, name, f"of-{name}", "Custom", now=now)
            key = identity.create_key(tx, services.vault, account, name, now=now, draw=services.draw)
        return Credentials(key.access_key_id, key.access_key_secret)

    @property
    def root_caller(self) -> identity.Caller:
        with self.services.database.reading() as tx:
            key = identity.find_key(tx, self.services.vault, self.root.access_key_id)
        assert key is not None
        return key.caller


@dataclass(frozen=True, slots=True)
class Anything:
    """Parameters of several kinds."""

    name: str | None = text("Name", longest=100_000, lines=True)
    wrong: bool | None = boolean("Wrong", default=False)
    broken: bool | None = boolean("Broken", default=False)
    ids: tuple[str, ...] | None = json_list("Ids")
    zone: tuple[str, ...] = repeat("Zone")


def enter_operations(seen: list[Any], kept: Path) -> None:
    """Enter small operations of every kind, for the time of a test."""

    @operation(HBR, "Echo", action="hbr:Echo")
    def echo(call: Call, asked: Anything) -> dict[str, Any]:
        seen.append((call, asked))
        if asked.broken:
            raise RuntimeError("the secret thing that broke")
        if asked.wrong:
            raise InvalidParameter("Name is wrong.")
        return {"Code": "200", "Success": True, "Name": asked.name, "Ids": asked.ids, "Zones": {"Zone": asked.zone}}

    @operation(STS, "Whisper", action="sts:Whisper")
    def whisper(call: Call, asked: Anything) -> dict[str, Any]:
        return {}

    @operation(BACKFLEET, "Keep", action="backfleet:Keep", streams=True)
    def keep(call: Call, asked: Anything) -> dict[str, Any]:
        assert call.upload is not None
        seen.append((call, asked))
        if asked.broken:
            raise RuntimeError("no space")
        call.upload.path.rename(kept)
        return {"Size": call.upload.size, "Sha256": call.upload.sha256}


def listen(
    services: Services, clock: SettableClock, tls: ssl.SSLContext | None = None, *, is_short: bool = True
) -> tuple[str, Callable[[], None]]:
    """Serve in a thread, since clients block theirs. Return the address, and a function that stops the server.

    Args:
        services: What operations use.
        clock: The time.
        tls: Of its connections; None for none.
        is_short: Whether short calls are answered without the HTTP server.
    """
    ready: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        app, performer, short = web.Application(), Performer(services), ShortRequests(60, 1)
        short.add_to(app)
        openapi.add_to(app, services, performer, clock, short if is_short else None)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, **openapi.server_limits(services.settings))
        await runner.setup()
        http_server = runner.server
        assert http_server is not None
        loop: Any = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: short.reader(http_server), "127.0.0.1", 0, ssl=tls)
        stopping = asyncio.Event()
        ready.put((f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", loop, stopping))
        await stopping.wait()
        listening.close()
        await end_of(runner)
        for transport in list(loop._transports.values()):  # a client may have stopped reading, or shaking hands
            transport.abort()
        await asyncio.sleep(TURNS_SECONDS)
        performer.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    host, loop, stopping = ready.get(timeout=10)

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)

    return host, stop
