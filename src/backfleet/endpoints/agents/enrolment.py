"""Registering and deregistering instances."""

import asyncio
import json
import logging

from aiohttp import web

from backfleet import commands, fleet
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.counting import ANSWERED
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.signatures import AgentSignature
from backfleet.fleet import RegistrationRefused
from backfleet.peers import peer_of
from backfleet.storage import Transaction, Unavailable

AT_ONCE = 8  # registrations worked on at once; more wait
REFUSED = 403  # the `code` of a refused registration; with an HTTP status of 403 the agent would hide the text

log = logging.getLogger(__name__)


class Enrolment:
    """Handlers for instances that enrol and leave."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node, self._authenticator = node, authenticator
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def register(self, request: web.Request) -> web.StreamResponse:
        """Enrol an instance with an activation code. Not signed: the agent has no identity yet."""
        try:
            body = json.loads(await read_body(request))
            registration = fleet.read_registration(body if isinstance(body, dict) else {})
            async with self._turns:
                instance = await self._node.in_thread(lambda: self._enrol(registration, peer_of(request).address))
        except (ValueError, RecursionError, RegistrationRefused) as refusal:
            text = str(refusal) if isinstance(refusal, RegistrationRefused) else "the body is not JSON"
            log.info("a registration was refused", extra={"reason": text, "address": peer_of(request).address})
            ANSWERED.labels("/api/instance/register", "refused").inc()
            return web.json_response({"code": REFUSED, "message": text})
        except Unavailable as problem:
            log.warning("%s", problem, extra={"endpoint": "/api/instance/register"})
            ANSWERED.labels("/api/instance/register", 503).inc()
            return web.json_response({"code": 503, "message": "try again"}, status=503)
        ANSWERED.labels("/api/instance/register", 200).inc()
        log.info("an instance enrolled", extra={"instance": instance.id, "hostname": instance.hostname})
        return web.json_response({"code": 200, "instanceId": instance.id})

    def _enrol(self, registration: fleet.Registration, source_ip: str) -> fleet.Instance:
        node = self._node
        now = node.clock()
        with node.database.transaction() as tx:
            unheard = fleet.forget_unheard(tx, registration, source_ip=source_ip, now=now)
            for instance_id in unheard:
                commands.end_gone(tx, instance_id, now=now)
            made = fleet.register(tx, registration, source_ip=source_ip, now=now, draw=node.draw)
        if unheard:
            log.info("instances that were never heard of gave their places up", extra={"instances": unheard})
        return made

    async def confirmed(self, _request: web.Request, signature: AgentSignature) -> web.StreamResponse:
        """Accept our own agent's word that it got its identity: that it was heard of is all that counts."""
        await self._authenticator.spend_alone(signature)
        return web.json_response({"code": 200})

    async def deregister(self, _request: web.Request, signature: AgentSignature) -> web.StreamResponse:
        """Deregister the instance; its key is accepted no more, except to deregister it again."""

        def deregister(tx: Transaction) -> None:
            now = self._node.clock()
            self._authenticator.spend(tx, signature, now)
            if fleet.deregister(tx, signature.instance_id, now=now):
                commands.end_gone(tx, signature.instance_id, now=now)

        await self._node.group_commit.write(signature.instance_id, deregister)
        self._authenticator.forget(signature.instance_id)
        return web.json_response({"code": 200})
