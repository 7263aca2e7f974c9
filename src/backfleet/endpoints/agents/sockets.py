"""The open sockets of this node: kicking agents, and detecting those that no longer read.

A connected agent does not fetch its tasks by itself. It must be kicked each time there is work, each time it connects
with work waiting, and again if it does not come. The kick is one constant word: a malformed one would make an agent
stop reading for good. Source: agent wire protocol, sections 5 and 9.2.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, web
from prometheus_client import Counter, Gauge

from backfleet.endpoints.agents.channel import Channel, End, open_channel
from backfleet.endpoints.agents.pacing import Pace
from backfleet.values import value_object

KICK = "kick_vm"
PING_SECONDS = 110.0  # of silence; an agent that does not answer does not read kicks either: one reader does both
PONG_SECONDS = 55.0  # that an agent has for its answer
CHECK_EVERY_SECONDS = 5.0  # which agents are silent
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

SOCKETS = Gauge("backfleet_assist_sockets", "Agents connected to this node.")
KICKS = Counter("backfleet_assist_kicks_total", "Kicks sent to agents.")

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Socket:
    """One agent's open socket."""

    instance_id: str
    among: "Sockets" = field(repr=False)
    listener: "Listener" = field(repr=False)
    channel: Channel = field(init=False, repr=False)
    kicks: int = 0  # sent since the agent last fetched; 0: no fetch is expected
    is_asked: bool = False  # whether it is there, and has not answered yet
    again: asyncio.TimerHandle | None = field(default=None, repr=False)
    awaited: asyncio.TimerHandle | None = field(default=None, repr=False)

    def heard(self) -> None:
        """Note that the agent is there."""
        self.is_asked = False
        self.listener.alive(self.instance_id)

    def ended(self, how: End) -> None:
        """Note the end of its channel."""
        self.among.note_end(self, how)


@value_object
class Listener:
    """Who is told of every socket.

    Args:
        alive: Called with the instance when its socket opens, and when it sends something.
        opened: Awaited once with the instance.
        left: Called with the instance when the agent's end closed its socket and there is no newer one here, and with
            the seconds within which that agent may come back. Not called for what this node closed, or found dead.
    """

    alive: Callable[[str], None]
    opened: Callable[[str], Awaitable[None]]
    left: Callable[[str, float], None]


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

    async def open(self, request: web.Request, instance_id: str, listener: Listener) -> web.Response:
        """Answer a request for a socket, and hold that until it ends."""
        socket = Socket(instance_id, self, listener)
        channel, answer = open_channel(request, socket)
        if channel is not None:
            socket.channel = channel
            self._replace(socket)
            SOCKETS.inc()
            await listener.opened(instance_id)
        return answer

    def note_end(self, socket: Socket, how: End) -> None:
        """Forget a socket that has ended, and say so if its agent left."""
        SOCKETS.dec()
        newest = self._open.get(socket.instance_id) is socket
        self._forget(socket)
        if newest and how is not End.OURS:
            socket.listener.left(socket.instance_id, CLOSED_SECONDS if how is End.CLOSED else DROPPED_SECONDS)

    def check_silent(self) -> None:
        """Ping agents that were silent for long, and end the sockets of those that did not answer."""
        now = asyncio.get_running_loop().time()
        for socket in list(self._open.values()):
            silent = now - socket.channel.heard_at
            if socket.is_asked and silent > PING_SECONDS + PONG_SECONDS:
                socket.channel.abort()
            elif not socket.is_asked and silent > PING_SECONDS:
                socket.is_asked = True
                socket.channel.ping()

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
        socket.channel.send(KICK)
        KICKS.inc()
        if socket.channel.has_unsent:
            asyncio.get_running_loop().call_later(SEND_SECONDS, self._end_stalled, socket)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _end_stalled(self, socket: Socket) -> None:
        if socket.channel.has_unsent:
            socket.channel.abort()

    async def _close(self, socket: Socket, code: WSCloseCode, reason: str = "") -> None:
        await socket.channel.close(code, reason, SEND_SECONDS)
