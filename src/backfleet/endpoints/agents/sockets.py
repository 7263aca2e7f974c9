"""The open sockets of this node: kicking agents, and noticing the deaf.

An agent does not ask by itself: it must be kicked each time there is work, each time it connects with work waiting, and
again if it does not come. The kick is one constant word, so a malformed one, which would deafen an agent for good,
cannot be built. Source: agent wire protocol, sections 5 and 9.2.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client import Counter, Gauge

KICK = "kick_vm"
PING_SECONDS = 110.0  # a missing pong shows a deaf agent: its reader answers pings and reads kicks alike
KICK_AGAIN_SECONDS = 4.0  # without a list request the agent is kicked again
MOST_AWAITED = 32  # kicked agents that have not asked yet; more wait for their kick, oldest news first
AWAITED_SECONDS = 2.0  # for so long an agent that does not come keeps others waiting
MOST_KICKS = 4  # for one piece of news; after that the regular look at the table does it
SEND_SECONDS = 5.0  # a socket that does not take a word for so long is closed
LEAVING_A_SECOND = 2000  # sockets closed when the node stops; all of them within LONGEST_LEAVING
LONGEST_LEAVING = 2.0  # seconds
COMING_BACK_A_SECOND = 500  # for so many agents a second the farewell asks, so that they do not come back together
LONGEST_MESSAGE = 64 * 1024  # bytes an agent may send at once

SOCKETS = Gauge("backfleet_assist_sockets", "Agents connected to this node.")
KICKS = Counter("backfleet_assist_kicks_total", "Kicks sent to agents.")

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Socket:
    """One agent's open channel."""

    instance_id: str
    channel: web.WebSocketResponse
    kicks: int = 0  # sent since the agent last asked; 0: nothing is expected of it
    again: asyncio.TimerHandle | None = field(default=None, repr=False)
    awaited: asyncio.TimerHandle | None = field(default=None, repr=False)


class Sockets:
    """Every agent connected to this node. Used from the event loop only."""

    def __init__(self) -> None:
        self._open: dict[str, Socket] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._next: dict[str, None] = {}  # instances to be kicked, in order
        self._awaited = 0

    def __len__(self) -> int:
        return len(self._open)

    def holds(self, instance_id: str) -> bool:
        """Whether this node has the instance's socket."""
        return instance_id in self._open

    async def serve(
        self, request: web.Request, instance_id: str, alive: Callable[[], None], opened: Callable[[], Awaitable[None]]
    ) -> web.WebSocketResponse:
        """Hold one agent's socket until it ends. `alive` is called at each sign of life, `opened` once at first."""
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
            async for message in channel:
                alive()
                if message.type is WSMsgType.PING:
                    await channel.pong(message.data)
        finally:
            SOCKETS.dec()
            self._forget(socket)
        return channel

    def kick(self, instance_id: str) -> None:
        """Tell an agent to ask, if its socket is here; and again until it does, a few times.

        Of a wave of news only so many agents are told at once: all of them together would wait for their answers
        until they gave up and asked again.
        """
        socket = self._open.get(instance_id)
        if socket is not None and socket.kicks == 0:
            self._next[instance_id] = None
            self._kick_next()

    def _kick_next(self) -> None:
        while self._next and self._awaited < MOST_AWAITED:
            instance_id = next(iter(self._next))
            del self._next[instance_id]
            socket = self._open.get(instance_id)
            if socket is not None and socket.kicks == 0:
                self._awaited += 1
                socket.awaited = asyncio.get_running_loop().call_later(AWAITED_SECONDS, self._await_no_more, socket)
                self._kick(socket)

    def _await_no_more(self, socket: Socket) -> None:
        if socket.awaited is not None:
            socket.awaited.cancel()
            socket.awaited = None
            self._awaited -= 1
            self._kick_next()

    def asked(self, instance_id: str) -> None:
        """The agent has asked: the kick arrived."""
        socket = self._open.get(instance_id)
        if socket is not None:
            self._expect_nothing(socket)

    def end(self, instance_id: str) -> None:
        """The instance is enrolled no more: its socket ends, if it is here."""
        socket = self._open.get(instance_id)
        if socket is not None:
            self._do_aside(self._close(socket, WSCloseCode.POLICY_VIOLATION))

    async def close(self) -> None:
        """End every socket with a word of farewell that says in how many seconds to come back, each another."""
        open_now = list(self._open.values())
        apart = min(1 / LEAVING_A_SECOND, LONGEST_LEAVING / max(1, len(open_now)))
        spread = max(1.0, len(open_now) / COMING_BACK_A_SECOND)

        async def leave(number: int, socket: Socket) -> None:
            await asyncio.sleep(number * apart)
            later = 0.5 + spread * number / len(open_now)
            await self._close(socket, WSCloseCode.GOING_AWAY, f"retry-after={later:.1f}")

        await asyncio.gather(*(leave(*each) for each in enumerate(open_now)), *self._aside)

    def _replace(self, socket: Socket) -> None:
        """An agent has one socket. An older one is a connection not yet dead, or a copied disk."""
        older = self._open.get(socket.instance_id)
        self._open[socket.instance_id] = socket
        if older is not None:
            log.info("a second socket replaces the first", extra={"instance": socket.instance_id})
            self._do_aside(self._close(older, WSCloseCode.POLICY_VIOLATION))  # dead, it would keep the newer waiting

    def _forget(self, socket: Socket) -> None:
        self._expect_nothing(socket)
        if self._open.get(socket.instance_id) is socket:
            del self._open[socket.instance_id]

    def _expect_nothing(self, socket: Socket) -> None:
        socket.kicks = 0
        if socket.again is not None:
            socket.again.cancel()
            socket.again = None
        self._await_no_more(socket)

    def _kick(self, socket: Socket) -> None:
        if socket.kicks >= MOST_KICKS or self._open.get(socket.instance_id) is not socket:
            self._expect_nothing(socket)
            return
        socket.kicks += 1
        socket.again = asyncio.get_running_loop().call_later(KICK_AGAIN_SECONDS, self._kick, socket)
        self._do_aside(self._send(socket))

    def _do_aside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _send(self, socket: Socket) -> None:
        try:
            await asyncio.wait_for(socket.channel.send_str(KICK), SEND_SECONDS)
            KICKS.inc()
        except (ConnectionError, TimeoutError, RuntimeError):
            await self._close(socket, WSCloseCode.GOING_AWAY)

    async def _close(self, socket: Socket, code: int, reason: str = "") -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
            await asyncio.wait_for(socket.channel.close(code=code, message=reason.encode()), SEND_SECONDS)
