"""The gateway of one node: what it consists of, and the loops that run beside the requests."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from backfleet import commands, fleet
from backfleet.clock import Clock
from backfleet.connections import GRACE_SECONDS, KEEP_ALIVE_SECONDS
from backfleet.endpoints.agents import heartbeats, kicking, routes, sockets
from backfleet.endpoints.agents.adopters import Adopters
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.group_commit import GroupCommit
from backfleet.endpoints.agents.kicking import Kicking
from backfleet.endpoints.agents.listed import LISTED
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.reports import Reports
from backfleet.endpoints.agents.sockets import Sockets
from backfleet.ids import Draw
from backfleet.pubsub import PubSub
from backfleet.settings import Settings
from backfleet.short_requests import ShortRequests
from backfleet.storage import Database, Unavailable
from backfleet.threads import ToLoop

THREADS = 16  # requests of agents worked on at once; more wait
FORGET_EVERY_SECONDS = 60.0  # request ids whose time is over
DELIVER_EVERY_SECONDS = 1.0  # reports on the disk

log = logging.getLogger(__name__)


def add_to(
    app: web.Application,
    database: Database,
    settings: Settings,
    pubsub: PubSub,
    *,
    clock: Clock,
    draw: Draw,
    adopters: Adopters | None = None,
    number: int = 0,
    short: ShortRequests | None = None,
) -> "Gateway":
    """Add the agent protocol to an application. The gateway's loops start and stop with it."""
    gateway = Gateway(database, settings, pubsub, clock, draw, adopters, number, short)
    gateway.add_routes(app.router)
    app.on_shutdown.append(gateway.begin_closing)
    app.cleanup_ctx.append(gateway.run_loops)
    return gateway


class Gateway:
    """The agents of this node."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        pubsub: PubSub,
        clock: Clock,
        draw: Draw,
        adopters: Adopters | None = None,
        number: int = 0,
        short: ShortRequests | None = None,
    ) -> None:
        """Open the gateway of one process; `number` is its place among those of this server."""
        self._pubsub = pubsub
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="assist")
        self._node = Node(
            database,
            settings,
            clock,
            draw,
            self._threads,
            Sockets(),
            heartbeats.PendingHeartbeats(),
            GroupCommit(database, self._threads),
            pubsub.publish,
            adopters,
        )
        self._authenticator = Authenticator(self._node)
        self._reports = Reports(self._node, self._authenticator, number)
        self._kicking = Kicking(self._node, self._authenticator)
        self.short_requests = short or ShortRequests(KEEP_ALIVE_SECONDS, GRACE_SECONDS)
        """Those of agents, by the connections that are given to its readers."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every address of the protocol."""
        routes.add_to(router, self.short_requests, self._node, self._authenticator, self._reports, self._kicking)

    async def run_loops(self, _app: web.Application) -> AsyncIterator[None]:
        """While the application runs: receive notifications, write heartbeats, poll for work, deliver the spool."""
        notified = ToLoop(asyncio.get_running_loop(), self._kicking.notified)
        topics = (commands.WORK, fleet.GONE, LISTED)
        unsubscribe = [self._pubsub.subscribe(prefix, notified.hand) for prefix in topics]
        await self._reports.open()
        loops = [
            asyncio.create_task(_every(seconds, trouble, work))
            for seconds, trouble, work in (
                (heartbeats.WRITE_EVERY_SECONDS, "heartbeats could not be written", self._write_heartbeats),
                (kicking.POLL_EVERY_SECONDS, "waiting work could not be looked up", self._kicking.poll),
                (DELIVER_EVERY_SECONDS, "reports on the disk could not be stored", self._reports.deliver),
                (sockets.CHECK_EVERY_SECONDS, "silent agents could not be pinged", self._kicking.check_silent),
                (FORGET_EVERY_SECONDS, "used request ids could not be forgotten", self._forget_requests),
            )
        ]
        yield
        for end in unsubscribe:
            end()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self.short_requests.closed()
        await self.drain()
        self._threads.shutdown(wait=True)

    async def begin_closing(self, _app: web.Application) -> None:
        """Accept no more short requests; those that are being answered have as long as any other request."""
        self.short_requests.begin_closing()

    async def drain(self) -> None:
        """Close every socket, accept no new one, and write the heartbeats. Reports are still answered."""
        await self._kicking.drain()
        with contextlib.suppress(Exception):  # lost heartbeats come again at another node within a minute
            batch = self._node.heartbeats.take()
            await self._node.in_thread(lambda: heartbeats.write(self._node.database, batch))

    async def _write_heartbeats(self) -> None:
        batch = self._node.heartbeats.take()
        try:
            write = functools.partial(heartbeats.write, self._node.database, batch)
            for instance_id in await self._node.in_thread(write):
                self._authenticator.forget(instance_id)
        except Exception:
            self._node.heartbeats.put_back(batch)
            raise

    async def _forget_requests(self) -> None:
        def forget() -> bool:
            with self._node.database.transaction() as tx:
                return fleet.forget_requests(tx, now=self._node.clock())

        while await self._node.in_thread(forget):
            pass


async def _every(seconds: float, trouble: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do this again and again. A failure is logged as `trouble`, and the work is tried again the next time."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Unavailable as problem:
            log.warning("%s: %s", trouble, problem)
        except Exception:
            log.exception(trouble)
