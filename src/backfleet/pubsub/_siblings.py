"""Publish/subscribe between the processes of one server, over datagram sockets that they got from their parent.

A notification arrives here at once, and at a sibling when its inbox has a place: an inbox of a process that is away
fills up and what does not fit waits here, up to a limit. What is lost is found by polling, as without NATS.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import Counter

from backfleet.pubsub._channels import Callback, InProcessPubSub, Subscription

GATHER_SECONDS: Final = 0.001  # topics published within this time leave as one message
AGAIN_SECONDS: Final = 0.02  # before a full inbox is tried again
MOST_WAITING: Final = 50_000  # topics for one sibling
MOST_IN_MESSAGE: Final = 200  # topics
LONGEST_TOPIC: Final = 128  # characters
LARGEST: Final = 64 * 1024  # bytes of a message
ANSWER_SECONDS: Final = 2.0
TOPICS, FIGURES = b"t", b"f"  # how messages begin

DROPPED = Counter("backfleet_sibling_notifications_dropped_total", "Notifications that a process here did not get.")

log = logging.getLogger(__name__)


class SiblingPubSub:
    """Publish/subscribe that reaches this process and its siblings, and answers their questions for figures."""

    def __init__(
        self, inbox: socket.socket, outboxes: Mapping[int, socket.socket], figures: Callable[[], bytes]
    ) -> None:
        """Begin to receive and to send, each in a thread.

        Args:
            inbox: Where siblings send.
            outboxes: Theirs, by number.
            figures: Makes the answer to a question for figures.
        """
        self._inbox, self._outboxes, self._figures = inbox, dict(outboxes), figures
        self._here = InProcessPubSub()
        self._waiting: dict[int, dict[str, None]] = {number: {} for number in outboxes}
        self._changed, self._closed = threading.Condition(), threading.Event()
        for one in (inbox, *outboxes.values()):
            one.setblocking(False)
        inbox.settimeout(1.0)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def publish(self, topic: str) -> None:
        """Notify every receiver of this topic, here and at the siblings. Never blocks, never fails."""
        self._here.publish(topic)
        with self._changed:
            for waiting in self._waiting.values():
                if len(waiting) < MOST_WAITING:
                    waiting[topic] = None
                else:
                    DROPPED.inc()
            self._changed.notify()

    def subscription(self, *topics: str) -> Subscription:
        """Return a new receiver of exactly these topics."""
        return self._here.subscription(*topics)

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call `callback` for each notification whose topic starts with `prefix`; return a function that ends it."""
        return self._here.subscribe(prefix, callback)

    def ask(self) -> dict[int, bytes]:
        """Return the figures of every sibling that answers in time. Blocks."""
        asked: dict[int, socket.socket] = {}
        until = time.monotonic() + ANSWER_SECONDS
        for number, outbox in self._outboxes.items():
            mine, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(outbox, [FIGURES], [theirs.fileno()])
                except OSError:  # its inbox is full
                    mine.close()
                else:
                    asked[number] = mine
        found = {number: _read_all(answering, until) for number, answering in asked.items()}
        return {number: content for number, content in found.items() if content}

    def close(self) -> None:
        """Send what was published; later notifications reach this process only."""
        self._closed.set()
        with self._changed:
            self._changed.notify()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)

    def _send(self) -> None:
        while True:
            with self._changed:
                while not any(self._waiting.values()) and not self._closed.is_set():
                    self._changed.wait()
            if not self._closed.is_set():
                time.sleep(GATHER_SECONDS)
            went = [self._send_to(number) for number in self._outboxes]  # to each, also after one that is full
            if self._closed.is_set():
                return
            if not all(went):
                self._closed.wait(AGAIN_SECONDS)

    def _send_to(self, number: int) -> bool:
        """Send a sibling what waits for it. Return whether all of it fitted."""
        while True:
            with self._changed:
                some = list(self._waiting[number])[:MOST_IN_MESSAGE]
                for topic in some:
                    del self._waiting[number][topic]
            if not some:
                return True
            try:
                self._outboxes[number].send(TOPICS + "\n".join(some).encode())
            except OSError:
                with self._changed:  # those first: a kick that waits longest is due first
                    waiting = [topic for topic in self._waiting[number] if topic not in some]
                    left = MOST_WAITING - len(some)  # others may have come meanwhile
                    DROPPED.inc(len(waiting[left:]))
                    self._waiting[number] = dict.fromkeys([*some, *waiting[:left]])
                return False

    def _receive(self) -> None:
        while not self._closed.is_set():
            try:
                content, descriptors, _, _ = socket.recv_fds(self._inbox, LARGEST, 1)
            except TimeoutError:
                continue
            except OSError:
                return
            for descriptor in descriptors:
                with socket.socket(fileno=descriptor) as asking, contextlib.suppress(OSError):
                    asking.settimeout(ANSWER_SECONDS)
                    asking.sendall(self._answer())
            if content.startswith(TOPICS):
                for topic in content[1:].decode("utf-8", "replace").split("\n"):
                    if 0 < len(topic) <= LONGEST_TOPIC:
                        self._here.publish(topic)

    def _answer(self) -> bytes:
        try:
            return self._figures()
        except Exception:
            log.exception("the figures of this process could not be made")
            return b""


def _read_all(answering: socket.socket, until: float) -> bytes:
    """Return all that the other end writes before it closes; nothing if it takes too long."""
    parts: list[bytes] = []
    with answering:
        try:
            while True:
                answering.settimeout(max(0.01, until - time.monotonic()))
                part = answering.recv(LARGEST)
                if not part:
                    return b"".join(parts)
                parts.append(part)
        except OSError:
            return b""
