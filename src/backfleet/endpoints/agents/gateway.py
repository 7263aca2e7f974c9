"""The gateway of one node: its routes, and the loops behind them."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from backfleet import commands, fleet
from backfleet.clock import Clock
from backfleet.endpoints.agents import codec, heartbeats, kicking, presence, self_reports
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.enrolment import Enrolment
from backfleet.endpoints.agents.group_commit import GroupCommit
from backfleet.endpoints.agents.kicking import Kicking
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.presence import Presence
from backfleet.endpoints.agents.reports import Reports
from backfleet.endpoints.agents.signed import PlainHandler, signed
from backfleet.endpoints.agents.sockets import Sockets
from backfleet.endpoints.agents.tasks import Tasks
from backfleet.ids import Draw
from backfleet.pubsub import PubSub
from backfleet.settings import Settings
from backfleet.storage import AWAY, Database

THREADS = 16  # requests of agents worked on at once; more wait
FORGET_EVERY_SECONDS = 60.0  # request ids whose time is over
DELIVER_EVERY_SECONDS = 1.0  # reports on the disk
PREFIX = r"/{prefix:(?:.+/)?}luban"  # any path before it: the agent appends to its server address as it is written

log = logging.getLogger(__name__)


def add_to(
    app: web.Application,
    database: Database,
    settings: Settings,
    pubsub: PubSub,
    *,
    clock: Clock,
    draw: Draw,
) -> "Gateway":
    """Add the agent protocol to an application. The gateway's loops start and stop with it."""
    gateway = Gateway(database, settings, pubsub, clock, draw)
    gateway.add_routes(app.router)
    app.cleanup_ctx.append(gateway.run_loops)
    return gateway


class Gateway:
    """The agents of this node."""

    def __init__(self, database: Database, settings: Settings, pubsub: PubSub, clock: Clock, draw: Draw) -> None:
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
        )
        self._authenticator = Authenticator(self._node)
        self._reports = Reports(self._node, self._authenticator)
        self._kicking = Kicking(self._node, self._authenticator)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every address of the protocol. Source: agent wire protocol, section 1."""
        node, authenticator, kicks = self._node, self._authenticator, self._kicking
        enrolment, present = Enrolment(node, authenticator), Presence(node, authenticator)
        tasks = Tasks(node, authenticator, self._reports)
        router.add_post(f"{PREFIX}/api/instance/register", enrolment.register)
        router.add_get(f"{PREFIX}/api/heart-beat", present.heartbeat)
        router.add_get(f"{PREFIX}/api/connection_detect", presence.connection_detect)
        router.add_get(f"{PREFIX}/api/classic/region-id", present.region)
        for path, handler in (
            ("/api/instance/deregister", enrolment.deregister),
            ("/api/v1/task/list", tasks.list_tasks),
            ("/api/v1/task/running", tasks.running),
            ("/api/v1/task/verified", tasks.verified),
            *((f"/api/v1/task/{kind}", tasks.ended) for kind in commands.FINAL_REPORTS),
        ):
            router.add_post(PREFIX + path, signed(authenticator, path, handler))
        for path, store in self_reports.ENDPOINTS.items():
            answer = signed(authenticator, path, self_reports.handler(node, authenticator, store))
            router.add_post(PREFIX + path, self_reports.quiet_unless_signed(answer))
        socket = signed(authenticator, "/notify_server", kicks.notify, kicks.entering)
        router.add_get(f"{PREFIX}/notify_server", socket)
        for path, constant in codec.BENIGN.items():
            router.add_post(PREFIX + path, _constant(path, constant))

    async def run_loops(self, _app: web.Application) -> AsyncIterator[None]:
        """While the application runs: receive notifications, write heartbeats, poll for work, deliver the spool."""
        loop = asyncio.get_running_loop()

        def notified(topic: str) -> None:
            loop.call_soon_threadsafe(self._kicking.notified, topic)

        unsubscribe = [self._pubsub.subscribe(prefix, notified) for prefix in (kicking.WORK, kicking.GONE)]
        await self._reports.open()
        loops = [
            asyncio.create_task(_every(seconds, trouble, work))
            for seconds, trouble, work in (
                (heartbeats.WRITE_EVERY_SECONDS, "heartbeats could not be written", self._write_heartbeats),
                (kicking.POLL_EVERY_SECONDS, "waiting work could not be looked up", self._kicking.poll),
                (DELIVER_EVERY_SECONDS, "reports on the disk could not be stored", self._reports.deliver),
                (FORGET_EVERY_SECONDS, "used request ids could not be forgotten", self._forget_requests),
            )
        ]
        yield
        for end in unsubscribe:
            end()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self.drain()
        self._threads.shutdown(wait=True)

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
        except AWAY as problem:
            log.warning("%s: the database does not answer", trouble, extra={"reason": type(problem).__name__})
        except Exception:
            log.exception(trouble)


def _constant(path: str, answer: Any) -> PlainHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await read_body(request)  # to its end: an earlier answer would break the connection
        self_reports.note(path, body, request.headers.get("x-acs-instance-id", ""))
        return web.json_response(answer)

    return handler
