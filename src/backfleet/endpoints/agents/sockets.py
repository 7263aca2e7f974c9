"""The open sockets of this node: kicking agents, and detecting those that no longer read.

A connected agent does not fetch its tasks by itself. It must be kicked each time there is work, each time it connects
with work waiting, and again if it does not come. The kick is one constant word: a malformed one would make an agent
stop reading for good. Source: agent wire protocol, sections 5 and 9.2.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client import Counter, Gauge

from backfleet.endpoints.agents.pacing import Pace

KICK = "kick_vm"
PING_SECONDS = 110.0  # an agent that does not answer does not read kicks either: one reader does both
KICK_AGAIN_SECONDS = 4.0  # without a list request the agent is kicked again
MOST_AWAITED = 32  # kicked agents that have no list yet; more wait for their kick, in order
AWAITED_SECONDS = 2.0  # after this time an agent that does not fetch keeps others waiting no more
MOST_KICKS = 4  # in a row without an answer; after that the regular poll kicks it
SEND_SECONDS = 5.0  # a socket that accepts nothing for this long is closed
CLOSED_A_SECOND = 2000  # sockets, when the node stops; all of them within LONGEST_CLOSING_SECONDS
LONGEST_CLOSING_SECONDS = 2.0
RETURNING_A_SECOND = 500  # agents; the close frame spreads their return over time
# An agent that closes its socket itself, as ours does when it is stopped, has 5 s to come back, and 3 s more until
# another process has written that it is there. A connection that ended without a word may be a balancer's that was
# restarted, or the official agent's, which dials for about 20 s. Source: agent wire protocol, section 5.5.
CLOSED_SECONDS = 8.0
DROPPED_SECONDS = 30.0
LONGEST_MESSAGE = 64 * 1024  # bytes of one message of an agent

SOCKETS = Gauge("backfleet_assist_sockets", "Agents connected to this node.")
KICKS = Counter("backfleet_assist_kicks_total", "Kicks sent to agents.")

_BY_THE_AGENT: Final = (WSMsgType.CLOSE, WSMsgType.CLOSED)  # a close frame, and an end without one
_ENDS: Final = (*_BY_THE_AGENT, WSMsgType.CLOSING, WSMsgType.ERROR)

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Socket:
    """One agent's open socket."""

    instance_id: str
    channel: web.WebSocketResponse
    kicks: int = 0  # sent since the agent last fetched; 0: no fetch is expected
    ended_by_us: bool = False
    again: asyncio.TimerHandle | None = field(default=None, repr=False)
    awaited: asyncio.TimerHandle | None = field(default=None, repr=False)


class Sockets:
    """The sockets of every agent connected to this node. Used from the event loop only."""

    def __init__(self) -> None:
        self._open: dict[str, Socket] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._next: dict[str, None] = {}  # instances to kick, in order
        self._awaited, self._pace = 0, Pace(MOST_AWAITED)

    def __len__(self) -> int:
        return len(self._open)

    def holds(self, instance_id: str) -> bool:
        """Return whether this node has the instance's socket."""
        return instance_id in self._open

    async def serve(
        self,
        request: web.Request,
        instance_id: str,
        *,
        alive: Callable[[], None],
        opened: Callable[[], Awaitable[None]],
        ended: Callable[[float], None],
    ) -> web.WebSocketResponse:
        """Hold one agent's socket until it ends.

        Args:
            request: The upgrade request.
            instance_id: Whose socket it is.
            alive: Called when it opens and for each message.
            opened: Awaited once, before the first message is read.
            ended: Called when the agent's end closed it and there is no newer one here, with the seconds within which
                that agent may come back. Not called for what we closed, or found to be dead.
        """
        channel = web.WebSocketResponse(
            autoping=False, heartbeat=PING_SECONDS, compress=False, max_msg_size=LONGEST_MESSAGE
        )
        await channel.prepare(request)
        socket = Socket(instance_id, channel)
        self._replace(socket)
        SOCKETS.inc()
        try:
            alive()
            await opened()
            while (message := await channel.receive()).type not in _ENDS:
                alive()
                if message.type is WSMsgType.PING:
                    await channel.pong(message.data)
            if not socket.ended_by_us and self._open.get(instance_id) is socket and message.type in _BY_THE_AGENT:
                says_so = message.type is WSMsgType.CLOSE and message.data == WSCloseCode.OK
                ended(CLOSED_SECONDS if says_so else DROPPED_SECONDS)
        finally:
            SOCKETS.dec()
            self._forget(socket)
        return channel

    def kick(self, instance_id: str) -> None:
        """Tell an agent to fetch its tasks if its socket is here, and again until it does, a few times.

        Only a few agents are awaited at once, as many as get their lists soon: all agents of a large task together
        would time out and fetch again.
        """
        socket = self._open.get(instance_id)
        if socket is not None and socket.kicks == 0:
            self._next[instance_id] = None
            self._kick_next()

    def _kick_next(self) -> None:
        while self._next and self._awaited < min(MOST_AWAITED, self._pace.allowed):
            instance_id = next(iter(self._next))
            del self._next[instance_id]
            socket = self._open.get(instance_id)
            if socket is not None and socket.kicks == 0:
                self._await(socket)
                self._kick(socket)

    def _await(self, socket: Socket) -> None:
        if socket.awaited is None:
            self._awaited += 1
        else:  # its list is still being made: this kick is for what comes after that
            socket.awaited.cancel()
        socket.awaited = asyncio.get_running_loop().call_later(AWAITED_SECONDS, self._stop_awaiting, socket)

    def _stop_awaiting(self, socket: Socket) -> None:
        if socket.awaited is not None:
            socket.awaited.cancel()
            socket.awaited = None
            self._awaited -= 1
            self._kick_next()

    def fetched(self, instance_id: str) -> None:
        """Note that the agent asks for its tasks: the kick arrived."""
        socket = self._open.get(instance_id)
        if socket is not None:
            self._expect_no_fetch(socket)

    def answered(self, instance_id: str, seconds: float) -> None:
        """Note that the agent gets its list now, so many seconds after it asked: another one may be kicked."""
        socket = self._open.get(instance_id)
        if socket is not None and socket.awaited is not None:
            self._pace.answered(seconds)
            self._stop_awaiting(socket)

    def end(self, instance_id: str) -> None:
        """Close the socket of an instance that was deregistered, if it is here."""
        socket = self._open.get(instance_id)
        if socket is not None:
            self._in_background(self._close(socket, WSCloseCode.POLICY_VIOLATION))

    async def close(self) -> None:
        """Close every socket; the close frame says after how many seconds to come back, each agent at another time."""
        open_now = list(self._open.values())
        apart = min(1 / CLOSED_A_SECOND, LONGEST_CLOSING_SECONDS / max(1, len(open_now)))
        spread = max(1.0, len(open_now) / RETURNING_A_SECOND)

        async def close(number: int, socket: Socket) -> None:
            await asyncio.sleep(number * apart)
            later = 0.5 + spread * number / len(open_now)
            await self._close(socket, WSCloseCode.GOING_AWAY, f"retry-after={later:.1f}")

        await asyncio.gather(*(close(*each) for each in enumerate(open_now)), *self._background)

    def _replace(self, socket: Socket) -> None:
        """Register a socket and close an older one of the instance: a connection not yet dead, or a copied disk."""
        older = self._open.get(socket.instance_id)
        self._open[socket.instance_id] = socket
        if older is not None:
            log.info("a second socket replaces the first", extra={"instance": socket.instance_id})
            self._in_background(
                self._close(older, WSCloseCode.POLICY_VIOLATION)
            )  # awaited, a dead one would delay the newer

    def _forget(self, socket: Socket) -> None:
        self._expect_no_fetch(socket)
        self._stop_awaiting(socket)
        if self._open.get(socket.instance_id) is socket:
            del self._open[socket.instance_id]

    def _expect_no_fetch(self, socket: Socket) -> None:
        socket.kicks = 0
        if socket.again is not None:
            socket.again.cancel()
            socket.again = None

    def _kick(self, socket: Socket) -> None:
        if socket.kicks >= MOST_KICKS or self._open.get(socket.instance_id) is not socket:
            self._expect_no_fetch(socket)
            self._stop_awaiting(socket)
            return
        socket.kicks += 1
        socket.again = asyncio.get_running_loop().call_later(KICK_AGAIN_SECONDS, self._kick, socket)
        self._in_background(self._send(socket))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _send(self, socket: Socket) -> None:
        try:
            await asyncio.wait_for(socket.channel.send_str(KICK), SEND_SECONDS)
            KICKS.inc()
        except (ConnectionError, TimeoutError, RuntimeError):
            await self._close(socket, WSCloseCode.GOING_AWAY)

    async def _close(self, socket: Socket, code: int, reason: str = "") -> None:
        socket.ended_by_us = True
        with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
            await asyncio.wait_for(socket.channel.close(code=code, message=reason.encode()), SEND_SECONDS)
