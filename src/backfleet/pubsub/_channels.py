"""PubSub within one process."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol


class Subscription:
    """One listener's ear. Rings that come while nobody waits are one ring when somebody does."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def publish(self) -> None:
        self._rung.set()

    def wait(self, at_most: timedelta) -> bool:
        """Wait for a ring, or until the time is over. True if it rang."""
        rang = self._rung.wait(at_most.total_seconds())
        self._rung.clear()
        return rang


class PubSub(Protocol):
    """What the rest of the services knows of wakeups."""

    def publish(self, topic: str) -> None:
        """Wake whoever listens to this topic. Never blocks, never fails."""

    def listen(self, topic: str) -> Subscription:
        """A new ear for exactly this topic."""

    def subscribe(self, prefix: str, heard: Callable[[str], None]) -> Callable[[], None]:
        """Call `heard(topic)` for each ring of a topic that starts with `prefix`, from any thread; it must not block.

        Returns a function that ends the subscription.
        """

    def close(self) -> None:
        """Nothing crosses to other processes any more."""


class InProcessPubSub:
    """PubSub that are heard in this process only: enough for one node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pubsub: dict[str, list[Subscription]] = {}
        self._subscribers: list[tuple[str, Callable[[str], None]]] = []

    def publish(self, topic: str) -> None:
        with self._lock:
            pubsub = list(self._pubsub.get(topic, ()))
            heard = [heard for prefix, heard in self._subscribers if topic.startswith(prefix)]
        for bell in pubsub:
            bell.publish()
        for tell in heard:
            tell(topic)

    def publish_all(self) -> None:
        """Wake every listener: something may have rung that was not heard."""
        with self._lock:
            pubsub = [bell for pubsub in self._pubsub.values() for bell in pubsub]
        for bell in pubsub:
            bell.publish()

    def listen(self, topic: str) -> Subscription:
        bell = Subscription()
        with self._lock:
            self._pubsub.setdefault(topic, []).append(bell)
        return bell

    def subscribe(self, prefix: str, heard: Callable[[str], None]) -> Callable[[], None]:
        entry = (prefix, heard)
        with self._lock:
            self._subscribers.append(entry)

        def unsubscribe() -> None:
            with self._lock:
                if entry in self._subscribers:
                    self._subscribers.remove(entry)

        return unsubscribe

    def close(self) -> None:
        """There is nothing to end."""
