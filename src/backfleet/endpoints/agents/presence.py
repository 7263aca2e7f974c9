"""Handlers of requests that only tell that an agent is there: heartbeat, connection check and region."""

import logging

from aiohttp import web

from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.counting import ANSWERED
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.signatures import NotAuthenticated
from backfleet.fleet import Heartbeat
from backfleet.storage import AWAY

MODES = ("restricted", "shell")  # of agents that do not run normally

log = logging.getLogger(__name__)


class Presence:
    """Handlers for agents that report that they are there."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node, self._authenticator = node, authenticator

    async def heartbeat(self, request: web.Request) -> web.StreamResponse:
        """Note a heartbeat and answer when the next one is due, also to an agent that is not registered."""
        answer = web.json_response({"nextInterval": codec.HEARTBEAT_MS})
        if "x-acs-instance-id" not in request.headers:
            return answer
        try:
            signature = await self._authenticator.authenticate(request)
            await self._authenticator.spend_alone(signature)
        except NotAuthenticated as problem:
            log.info("a heart-beat was refused", extra={"reason": str(problem)})
            ANSWERED.labels("/api/heart-beat", 401).inc()
            return web.json_response({"code": 401, "message": "unauthorized"}, status=401)
        except AWAY:  # after a 5xx the agent tries again in 3 s
            ANSWERED.labels("/api/heart-beat", 503).inc()
            return web.json_response({"code": 503}, status=503)
        mode = request.query.get("mode")
        stopping = codec.is_stopping(request.query)
        if mode in MODES or stopping:
            mode = mode if mode in MODES else None
            self._node.heartbeats.add(
                Heartbeat(signature.instance_id, self._node.clock(), agent_mode=mode, stopping=stopping)
            )
        ANSWERED.labels("/api/heart-beat", 200).inc()
        return answer

    async def region(self, _request: web.Request) -> web.StreamResponse:
        """Answer the region of this installation, as text."""
        return web.Response(text=self._node.settings.region)


async def connection_detect(_request: web.Request) -> web.StreamResponse:
    """Answer that the server can be reached."""
    return web.Response(text="ok")
