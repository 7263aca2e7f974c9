"""Handlers of requests that only tell that an agent is there: heartbeat, connection check and region."""

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.counting import answered
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.runs import AgentRuns
from backfleet.endpoints.agents.signatures import NotAuthenticated
from backfleet.endpoints.agents.signed import UNAUTHORIZED, UNAVAILABLE
from backfleet.fleet import Heartbeat
from backfleet.short_answers import Answer
from backfleet.short_requests import AnyRequest
from backfleet.storage import Unavailable

LONGEST_AGE_BITS = 40  # of an agent's process, in milliseconds: 34 years
ZONE = re.compile(r"(?=.{1,64}\Z)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
APART_SECONDS = 1.0  # between two transactions for heartbeats alone: agents wait 5 s for the answer
GO_ON: Final = Answer.of({"nextInterval": codec.HEARTBEAT_MS})
MODES = ("restricted", "shell")  # of agents that do not run normally

log = logging.getLogger(__name__)


class Presence:
    """Handlers for agents that report that they are there."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node, self._authenticator = node, authenticator
        self._runs = AgentRuns(node, authenticator)

    async def heartbeat(self, request: AnyRequest) -> Answer:
        """Note a heartbeat and answer when the next one is due, also to an agent that is not registered."""
        if "x-acs-instance-id" not in request.headers:
            return GO_ON
        try:
            signature = await self._authenticator.authenticate(request)
            await self._runs.of_heartbeat(signature, request, apart_seconds=APART_SECONDS)
        except NotAuthenticated as problem:
            log.info("a heart-beat was refused", extra={"reason": str(problem)})
            return _counted(UNAUTHORIZED)
        except Unavailable:
            return _counted(UNAVAILABLE)
        self._node.heartbeats.add(_reported(signature.instance_id, request.query, self._node.clock()))
        return _counted(GO_ON)

    async def region(self, _request: web.Request) -> web.StreamResponse:
        """Answer the region of this installation, as text."""
        return web.Response(text=self._node.settings.region)


def _counted(answer: Answer) -> Answer:
    answered("/api/heart-beat", answer.status).inc()
    return answer


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
