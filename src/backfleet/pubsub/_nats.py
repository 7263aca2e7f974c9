"""PubSub between processes, over NATS. A ring is heard here at once, and elsewhere if NATS is there.

One message carries the name of its node and the topics that rang since the last one, a line each. It carries no facts:
a forged or repeated one costs a look at a table. Without NATS every worker and every door still looks by itself.
"""

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from prometheus_client import Counter, Gauge

from backfleet.pubsub._channels import InProcessPubSub, Subscription

SUBJECT: Final = "backfleet.wakeups"  # on the wire: replicas of older builds use it too
GATHER_SECONDS = 0.002  # rings of this long leave as one message
MOST_GATHERED = 50_000  # topics; more are dropped, the table tells
MOST_IN_MESSAGE = 1_000  # topics: far below NATS's limit of 1 MiB a message
LONGEST_TOPIC = 128  # characters
CONNECT_SECONDS = 2
AGAIN_SECONDS = 1  # between two tries to reach a server that is away
CLOSE_SECONDS = 2.0

CONNECTED = Gauge("backfleet_wakeups_connected", "1 while NATS carries wakeups between processes.")
RUNG = Counter("backfleet_wakeups_sent_total", "Wakeups sent to other processes.")
HEARD = Counter("backfleet_wakeups_heard_total", "Wakeups heard from other processes.")
LOST = Counter("backfleet_wakeups_dropped_total", "Wakeups that could not be sent: others learn at their next look.")

log = logging.getLogger(__name__)


class NatsPubSub:
    """PubSub that are heard in this process and in every other one on the same NATS."""

    def __init__(self, url: str, *, subject: str = SUBJECT) -> None:
        """Begin to connect, in a thread of its own; never waits for it."""
        self._url, self._subject = url, subject
        self._here = InProcessPubSub()
        self._node = secrets.token_hex(8)
        self._lock, self._gathered = threading.Lock(), dict[str, None]()
        self._loop = asyncio.new_event_loop()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._live, name="wakeups", daemon=True)
        self._thread.start()

    # --- For the services ------------------------------------------------------------------------------------------

    def publish(self, topic: str) -> None:
        """Wake whoever listens to this topic, here and elsewhere. Never blocks, never fails."""
        self._here.publish(topic)
        with self._lock:
            first = not self._gathered
            if len(self._gathered) < MOST_GATHERED:
                self._gathered[topic] = None
            else:
                LOST.inc()
        if first:
            with contextlib.suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(self._loop.call_later, GATHER_SECONDS, self._send_gathered)

    def listen(self, topic: str) -> Subscription:
        """A new ear for exactly this topic."""
        return self._here.listen(topic)

    def subscribe(self, prefix: str, heard: Callable[[str], None]) -> Callable[[], None]:
        """As `PubSub.subscribe`."""
        return self._here.subscribe(prefix, heard)

    @property
    def is_connected(self) -> bool:
        """Whether wakeups reach other processes now."""
        return self._client is not None and self._client.is_connected

    def close(self) -> None:
        """Send what was rung, and end. Rings after this are heard in this process only."""
        with contextlib.suppress(RuntimeError, TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CLOSE_SECONDS)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)

    # --- In its own thread --------------------------------------------------------------------------------------

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        connecting = self._loop.create_task(self._connect())
        self._loop.run_forever()
        connecting.cancel()
        self._loop.run_until_complete(asyncio.gather(connecting, return_exceptions=True))
        self._loop.close()

    async def _connect(self) -> None:
        """The first connection; later ones are the client's own work. Tried for ever."""
        told = False
        while self._client is None:
            client = Client()
            try:
                await client.connect(
                    [one.strip() for one in self._url.split(",")],
                    name=f"backfleet {self._node}",
                    connect_timeout=CONNECT_SECONDS,
                    reconnect_time_wait=AGAIN_SECONDS,
                    max_reconnect_attempts=-1,
                    allow_reconnect=True,
                    pending_size=0,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    no_echo=True,
                    error_cb=self._troubled,
                    disconnected_cb=self._lost,
                    reconnected_cb=self._found,
                )
                await client.subscribe(self._subject, cb=self._heard)
            except (NatsError, OSError, TimeoutError) as problem:
                if not told:
                    log.warning("NATS is away: %s; wakeups take up to 15 s meanwhile", _named(problem))
                    told = True
                with contextlib.suppress(Exception):
                    await client.close()
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._client = client
            await self._found()

    async def _end(self) -> None:
        self._send_gathered()
        if self._client is not None:
            with contextlib.suppress(Exception):  # it is left in any case
                await self._client.flush(timeout=1)
            with contextlib.suppress(Exception):
                await self._client.close()

    def _send_gathered(self) -> None:
        with self._lock:
            topics, self._gathered = list(self._gathered), {}
        if not self.is_connected:
            LOST.inc(len(topics))
            return
        for start in range(0, len(topics), MOST_IN_MESSAGE):
            some = topics[start : start + MOST_IN_MESSAGE]
            content = "\n".join([self._node, *some]).encode()
            self._loop.create_task(self._publish(content, len(some)))

    async def _publish(self, content: bytes, count: int) -> None:
        client = self._client
        try:
            if client is None:
                raise ConnectionError
            await client.publish(self._subject, content)
            RUNG.inc(count)
        except (NatsError, OSError):
            LOST.inc(count)

    async def _heard(self, message: Msg) -> None:
        node, *topics = message.data.decode("utf-8", "replace").split("\n")
        if node == self._node:
            return
        for topic in topics[:MOST_IN_MESSAGE]:
            if 0 < len(topic) <= LONGEST_TOPIC and topic.isascii() and topic.isprintable():
                HEARD.inc()
                self._here.publish(topic)

    async def _found(self) -> None:
        CONNECTED.set(1)
        log.info("NATS carries wakeups")
        self._here.publish_all()  # what rang while it was away may have been for somebody here

    async def _lost(self) -> None:
        CONNECTED.set(0)
        log.warning("NATS is away; wakeups take up to 15 s meanwhile")

    async def _troubled(self, problem: Any) -> None:
        log.debug("NATS: %s", _named(problem))


def check_address(url: str) -> None:
    """Whether it is an address of NATS servers, several with commas between.

    Raises:
        ValueError: it is not; the text does not show it, for it may hold a password.
    """
    schemes = {one.strip().partition("://")[0] for one in url.split(",")}
    if not schemes <= {"nats", "tls"}:
        raise ValueError("the address of NATS must be nats://HOST:PORT or tls://HOST:PORT")


def _named(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__
