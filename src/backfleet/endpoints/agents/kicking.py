"""The notify sockets of one node: who is let in, and when an agent is kicked."""

import asyncio
import logging

from aiohttp import web

from backfleet import commands
from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.departures import Departures
from backfleet.endpoints.agents.listed import LISTED, note_listed_elsewhere
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.runs import AgentRuns
from backfleet.endpoints.agents.signatures import AgentSignature
from backfleet.endpoints.agents.sockets import Listener
from backfleet.endpoints.agents.tasks import is_work_waiting
from backfleet.failpoints import failpoint
from backfleet.fleet import GONE, Heartbeat

POLL_EVERY_SECONDS = 15.0  # for work of agents whose notification was lost
MOST_KICKED = 20_000  # agents, by one such poll
ENTERING = 64  # sockets being opened at once; more wait in the order in which they came

log = logging.getLogger(__name__)


class Kicking:
    """Holds agents' sockets, and kicks an agent when it has work."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node, self._authenticator, self._runs = node, authenticator, AgentRuns(node, authenticator)
        self.entering = asyncio.Semaphore(ENTERING)
        self._departures = Departures(node)
        self._listener = Listener(self._alive, self._kick_if_work_waits, self._departures.expect)
        self._draining = False

    async def notify(self, request: web.Request, signature: AgentSignature) -> web.StreamResponse:
        """Open one agent's socket, which is held until it ends.

        It is refused only if the node is full or stops: an agent whose connection is refused may stay away for half an
        hour.
        """
        node, instance_id = self._node, signature.instance_id
        if not self._is_full():
            await self._runs.of_socket(signature, request)
        if self._is_full():  # by now
            return web.json_response({"code": 503}, status=503, headers={"Retry-After": str(codec.RETRY_SECONDS)})
        return await node.sockets.open(request, instance_id, self._listener)

    def _is_full(self) -> bool:
        return self._draining or len(self._node.sockets) >= self._node.settings.most_sockets

    def _alive(self, instance_id: str) -> None:
        now = self._node.clock()
        self._node.heartbeats.add(Heartbeat(instance_id, now, reachable_at=now))

    def notified(self, topic: str) -> None:
        """Act on a notification: kick an agent, stop to await one, or forget one that was deregistered."""
        if topic.startswith(LISTED):
            note_listed_elsewhere(self._node, topic)
            return
        if topic.startswith(GONE):
            self._authenticator.forget(topic.removeprefix(GONE))
            return
        self._node.sockets.kick(topic.removeprefix(commands.WORK))
        failpoint("agent kicked")

    async def poll(self) -> None:
        """Kick every agent with work: notifications may be lost."""
        for instance_id in await self._node.in_thread(self._instances_with_work):
            self._node.sockets.kick(instance_id)

    async def check_silent(self) -> None:
        """Find the agents that do not answer any more."""
        self._node.sockets.check_silent()

    async def drain(self) -> None:
        """Close every socket, and accept no new one."""
        self._draining = True
        self._departures.forget_all()
        await self._node.sockets.close()

    async def _kick_if_work_waits(self, instance_id: str) -> None:
        try:
            async with self.entering:
                waits = await self._node.in_thread(lambda: is_work_waiting(self._node, instance_id))
            if waits:
                self._node.sockets.kick(instance_id)
        except Exception:  # the socket stays open: an agent that has to connect again may stay away for long
            log.exception("a new socket's work could not be looked up", extra={"instance": instance_id})

    def _instances_with_work(self) -> list[str]:
        with self._node.database.reading() as tx:
            return commands.instances_with_work(tx, limit=MOST_KICKED)
