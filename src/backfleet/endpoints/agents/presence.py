"""Handlers of requests that only tell that an agent is there: heartbeat, connection check and region."""

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from aiohttp import web

from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.counting import ANSWERED
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.runs import AgentRuns
from backfleet.endpoints.agents.signatures import NotAuthenticated
from backfleet.fleet import Heartbeat
from backfleet.storage import Unavailable

LONGEST_AGE_BITS = 40  # of an agent's process, in milliseconds: 34 years
ZONE = re.compile(r"(?=.{1,64}\Z)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
APART_SECONDS = 1.0  # between two transactions for heartbeats alone: agents wait 5 s for the answer
MODES = ("restricted", "shell")  # of agents that do not run normally

log = logging.getLogger(__name__)


class Presence:
    """Handlers for agents that report that they are there."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node, self._authenticator = node, authenticator
        self._runs = AgentRuns(node)

    async def heartbeat(self, request: web.Request) -> web.StreamResponse:
        """Note a heartbeat and answer when the next one is due, also to an agent that is not registered."""
        answer = web.json_response({"nextInterval": codec.HEARTBEAT_MS})
        if "x-acs-instance-id" not in request.headers:
            return answer
        try:
            signature = await self._authenticator.authenticate(request)
            await self._authenticator.spend_alone(signature, apart_seconds=APART_SECONDS)
        except NotAuthenticated as problem:
            log.info("a heart-beat was refused", extra={"reason": str(problem)})
            ANSWERED.labels("/api/heart-beat", 401).inc()
            return web.json_response({"code": 401, "message": "unauthorized"}, status=401)
        except Unavailable:  # after a 5xx the agent tries again in 3 s
            ANSWERED.labels("/api/heart-beat", 503).inc()
            return web.json_response({"code": 503}, status=503)
        self._node.heartbeats.add(_reported(signature.instance_id, request.query, self._node.clock()))
        await self._runs.note(signature.instance_id, request)
        ANSWERED.labels("/api/heart-beat", 200).inc()
        return answer

    async def region(self, _request: web.Request) -> web.StreamResponse:
        """Answer the region of this installation, as text."""
        return web.Response(text=self._node.settings.region)


def _reported(instance_id: str, query: Mapping[str, str], now: datetime) -> Heartbeat:
    """Return what a heartbeat reports of its agent. That alone does not mean that the agent can be given work."""
    zone = query.get("zone", "")
    mode, age_ms = query.get("mode"), codec.number(query, "process_uptime", LONGEST_AGE_BITS)
    return Heartbeat(
        instance_id,
        now,
        agent_mode=mode if mode in MODES else None,
        time_zone=zone if ZONE.fullmatch(zone) else None,
        stopping=codec.is_stopping(query),
        agent_started_at=None if age_ms is None else now - timedelta(milliseconds=max(age_ms, 0)),
    )


async def connection_detect(_request: web.Request) -> web.StreamResponse:
    """Answer that the server can be reached."""
    return web.Response(text="ok")
