"""Handlers of task lists and of the reports on tasks."""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from aiohttp import web

from backfleet import commands, fleet
from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator, has_own_agent
from backfleet.endpoints.agents.group_commit import Kind
from backfleet.endpoints.agents.listed import note_list
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.reports import Reports
from backfleet.endpoints.agents.signatures import AgentSignature
from backfleet.failpoints import failpoint
from backfleet.fleet import Heartbeat
from backfleet.short_answers import Answer
from backfleet.short_requests import AnyRequest
from backfleet.storage import Transaction, Unavailable

ASKING: Final = 8  # unsigned questions looked up at once; more wait, so that threads are left for agents
ACCEPTED: Final = Answer.of({})  # the answer to a report
_NOTHING: Final = commands.Handout([], [])
_NAME_OF_ORDER: Final = re.compile(r"[!-~]{1,128}")  # a topic, or a reference


class Tasks:
    """Handlers for agents that fetch tasks and report on them."""

    def __init__(self, node: Node, authenticator: Authenticator, reports: Reports) -> None:
        self._node, self._authenticator, self._reports = node, authenticator, reports
        self._lease = timedelta(seconds=node.settings.handed_seconds)
        self._asking = asyncio.Semaphore(ASKING)

    async def list_tasks(self, request: AnyRequest, signature: AgentSignature) -> Answer:
        """Hand out the instance's waiting tasks, each once while its lease lasts."""
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        self._node.sockets.fetched(signature.instance_id)
        try:
            return await self._list_tasks(request, signature)
        finally:
            note_list(self._node, signature.instance_id, clock() - asked_at)

    async def _list_tasks(self, request: AnyRequest, signature: AgentSignature) -> Answer:
        node, instance_id = self._node, signature.instance_id
        asked_at = node.clock()
        node.heartbeats.add(Heartbeat(instance_id, asked_at, reachable_at=asked_at))
        if codec.has_booted(request.query):
            await node.in_thread(lambda: self._note_boot(instance_id))
        forgets_tasks = codec.has_started(request.query) and not has_own_agent(request)
        try:
            handout = await node.group_commit.write_together(
                Kind.LIST,
                instance_id,
                self._hand_out,
                (instance_id, forgets_tasks),
                self._authenticator.permit(signature),
            )
        except Unavailable:
            if forgets_tasks or await node.in_thread(lambda: is_work_waiting(node, instance_id)):
                raise
            handout = _NOTHING
            self._authenticator.spend_later(signature)
        if handout.run:
            failpoint("command claimed")
        return Answer.of(codec.task_list(instance_id, handout))

    def _hand_out(self, tx: Transaction, asking: Sequence[tuple[str, bool]]) -> list[commands.Handout]:
        """Give each agent that asks its tasks. Of each: its instance, and whether it forgets the tasks that it had."""
        started = {instance_id for instance_id, forgets in asking if forgets}
        ids = list(dict.fromkeys(instance_id for instance_id, _ in asking))
        found = commands.claim_for_each(tx, ids, now=self._node.clock(), lease=self._lease, started=started)
        # Of two requests of one agent, the first is given what waits.
        return [found.pop(instance_id, _NOTHING) for instance_id, _ in asking]

    async def running(self, request: AnyRequest, signature: AgentSignature) -> Answer:
        """Store a piece of output, and renew the lease."""
        await self._reports.receive(request, signature, "running")
        return ACCEPTED

    async def ended(self, request: AnyRequest, signature: AgentSignature) -> Answer:
        """Store a final report. The last part of the path says which kind it is."""
        if await self._reports.receive(request, signature, request.path.rsplit("/", 1)[-1]):
            failpoint("outcome stored")
        return ACCEPTED

    async def withdrawn(self, request: web.Request) -> web.StreamResponse:
        """Answer a host that got an order through another agent whether the order is to be stopped.

        Not signed: that host has no key of its own. It must know the order's reference, which nobody can guess, and
        learns one bit.
        """
        topic, reference = request.query.get("topic", ""), request.query.get("reference", "")
        if not (_NAME_OF_ORDER.fullmatch(topic) and _NAME_OF_ORDER.fullmatch(reference)):
            return web.json_response({"withdrawn": False})

        def read() -> bool:
            with self._node.database.reading() as tx:
                return commands.is_withdrawn(tx, topic, reference)

        try:
            async with self._asking:
                return web.json_response({"withdrawn": await self._node.in_thread(read)})
        except Unavailable:
            return web.json_response({"code": 503}, status=503)

    async def verified(self, _request: AnyRequest, signature: AgentSignature) -> Answer:
        """Accept a report that changes nothing."""
        await self._authenticator.spend_alone(signature)
        return ACCEPTED

    def _note_boot(self, instance_id: str) -> None:
        with self._node.database.transaction() as tx:
            fleet.note_boot(tx, instance_id, now=self._node.clock())


def is_work_waiting(node: Node, instance_id: str) -> bool:
    """Return whether an instance has tasks to fetch or to stop. Blocks."""
    with node.database.reading() as tx:
        return commands.oldest_work_for(tx, instance_id) is not None
