"""What every handler of the agents' endpoint shares on one node."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web

from backfleet.clock import Clock
from backfleet.endpoints.agents.adopters import Adopters
from backfleet.endpoints.agents.group_commit import GroupCommit
from backfleet.endpoints.agents.heartbeats import PendingHeartbeats
from backfleet.endpoints.agents.signatures import AgentSignature
from backfleet.endpoints.agents.sockets import Sockets
from backfleet.ids import Draw
from backfleet.settings import Settings
from backfleet.short_requests import AnyRequest, ShortRequest
from backfleet.storage import Database
from backfleet.threads import in_thread
from backfleet.values import value_object

BODY_SECONDS = 20.0

Result = TypeVar("Result")


@value_object
class Node:
    """The state of one node that its handlers share. Used from the event loop only."""

    database: Database
    settings: Settings
    clock: Clock
    draw: Draw
    threads: Executor
    sockets: Sockets
    heartbeats: PendingHeartbeats
    group_commit: GroupCommit
    publish: Callable[[str], None]  # notifies every node, this one too
    adopters: Adopters | None = None  # None: the server is not known to have been restored

    def covers(self, signature: AgentSignature) -> bool:
        """Return whether a request may be a replay of one from before the server was restored."""
        if self.adopters is None:
            return False
        return self.adopters.watch.covers(datetime.fromtimestamp(signature.milliseconds / 1000, UTC))

    @property
    def window_ms(self) -> int:
        """How far the time of an ordinary request may differ from the server's, either way."""
        return self.settings.time_window_seconds * 1000

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run blocking work in a thread and return its result."""
        return await in_thread(self.threads, work)


async def read_body(request: AnyRequest) -> bytes:
    """Read the body within the application's limit.

    Raises:
        HTTPRequestTimeout: it stopped coming. The agent has given the request up and tries again.
    """
    if isinstance(request, ShortRequest):
        return request.body
    try:
        if request.content.is_eof():  # all of it is here, as of nearly every report
            return await request.read()
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except (TimeoutError, ConnectionError):
        raise web.HTTPRequestTimeout from None
