"""Publish/subscribe between processes, over NATS. A notification arrives here at once, elsewhere while NATS answers.

One message holds the name of its node and the topics published since the last message, a line each. It carries no
facts: a forged or repeated one costs one look at a table. Without NATS every worker and endpoint still polls.
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

from backfleet.pubsub._channels import Callback, InProcessPubSub, Subscription

SUBJECT: Final = "backfleet.wakeups"  # replicas of older builds use this name
GATHER_SECONDS = 0.002  # topics published within this time leave as one message
MOST_GATHERED = 50_000  # topics; more are dropped, and their receivers find the work when they poll
MOST_IN_MESSAGE = 1_000  # topics: far below NATS's limit of 1 MiB a message
LONGEST_TOPIC = 128  # characters
CONNECT_SECONDS = 2
AGAIN_SECONDS = 1  # between two attempts to connect
CLOSE_SECONDS = 2.0

CONNECTED = Gauge("backfleet_wakeups_connected", "1 while NATS carries notifications between processes.")
SENT = Counter("backfleet_wakeups_sent_total", "Notifications sent to other processes.")
RECEIVED = Counter("backfleet_wakeups_heard_total", "Notifications received from other processes.")
DROPPED = Counter(
    "backfleet_wakeups_dropped_total",
    "Notifications that were not sent: others find the work by polling.",
)

log = logging.getLogger(__name__)


class NatsPubSub:
    """Publish/subscribe that reaches this process and every other one on the same NATS."""

    def __init__(self, url: str, *, subject: str = SUBJECT) -> None:
        """Begin to connect in a thread, and return without waiting for it."""
        self._url, self._subject = url, subject
        self._here = InProcessPubSub()
        self._node = secrets.token_hex(8)
        self._lock, self._gathered = threading.Lock(), dict[str, None]()
        self._loop = asyncio.new_event_loop()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._run_loop, name="pubsub", daemon=True)
        self._thread.start()

    # --- Called from any thread -----------------------------------------------------------------------------------

    def publish(self, topic: str) -> None:
        """Notify every receiver of this topic, here and elsewhere. Never blocks, never fails."""
        self._here.publish(topic)
        with self._lock:
            first = not self._gathered
            if len(self._gathered) < MOST_GATHERED:
                self._gathered[topic] = None
            else:
                DROPPED.inc()
        if first:
            with contextlib.suppress(RuntimeError):  # the loop is closed: only this process is notified
                self._loop.call_soon_threadsafe(self._loop.call_later, GATHER_SECONDS, self._send_gathered)

    def subscription(self, *topics: str) -> Subscription:
        """Return a new receiver of exactly these topics."""
        return self._here.subscription(*topics)

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call `callback` for each notification whose topic starts with `prefix`; return a function that ends it."""
        return self._here.subscribe(prefix, callback)

    @property
    def is_connected(self) -> bool:
        """Return whether notifications reach other processes now."""
        return self._client is not None and self._client.is_connected

    def close(self) -> None:
        """Send what was published and disconnect. Later notifications reach this process only."""
        with contextlib.suppress(RuntimeError, TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CLOSE_SECONDS)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)

    # --- In its own thread --------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        connecting = self._loop.create_task(self._connect())
        self._loop.run_forever()
        connecting.cancel()
        self._loop.run_until_complete(asyncio.gather(connecting, return_exceptions=True))
        self._loop.close()

    async def _connect(self) -> None:
        """Connect for the first time, trying until it works. The client reconnects by itself afterwards."""
        warned = False
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
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnect,
                    reconnected_cb=self._on_connect,
                )
                await client.subscribe(self._subject, cb=self._on_message)
            except (NatsError, OSError, TimeoutError) as problem:
                if not warned:
                    log.warning("NATS does not answer: %s; notifications take up to 15 s meanwhile", _describe(problem))
                    warned = True
                with contextlib.suppress(Exception):
                    await client.close()
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._client = client
            await self._on_connect()

    async def _end(self) -> None:
        self._send_gathered()
        if self._client is not None:
            with contextlib.suppress(Exception):  # the connection is closed in any case
                await self._client.flush(timeout=1)
            with contextlib.suppress(Exception):
                await self._client.close()

    def _send_gathered(self) -> None:
        with self._lock:
            topics, self._gathered = list(self._gathered), {}
        if not self.is_connected:
            DROPPED.inc(len(topics))
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
            SENT.inc(count)
        except (NatsError, OSError):
            DROPPED.inc(count)

    async def _on_message(self, message: Msg) -> None:
        node, *topics = message.data.decode("utf-8", "replace").split("\n")
        if node == self._node:
            return
        for topic in topics[:MOST_IN_MESSAGE]:
            if 0 < len(topic) <= LONGEST_TOPIC and topic.isascii() and topic.isprintable():
                RECEIVED.inc()
                self._here.publish(topic)

    async def _on_connect(self) -> None:
        CONNECTED.set(1)
        log.info("NATS carries notifications")
        self._here.notify_all()  # what other processes published meanwhile was lost

    async def _on_disconnect(self) -> None:
        CONNECTED.set(0)
        log.warning("NATS does not answer; notifications take up to 15 s meanwhile")

    async def _on_error(self, problem: Any) -> None:
        log.debug("NATS: %s", _describe(problem))


def check_address(url: str) -> None:
    """Check that `url` names NATS servers, with commas between several.

    Raises:
        ValueError: it does not. The text does not repeat it, because it may hold a password.
    """
    schemes = {one.strip().partition("://")[0] for one in url.split(",")}
    if not schemes <= {"nats", "tls"}:
        raise ValueError("the address of NATS must be nats://HOST:PORT or tls://HOST:PORT")


def _describe(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__
