"""Publish/subscribe within one process."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

Callback = Callable[[str], None]
"""Called with the topic of a notification, from any thread. Must not block."""


class Subscription:
    """One receiver of a topic, or of several. Notifications that arrive while nobody waits count as one."""

    def __init__(self) -> None:
        self._notified = threading.Event()

    def notify(self) -> None:
        """End the current wait, or the next one if nobody waits now."""
        self._notified.set()

    def wait(self, at_most: timedelta) -> bool:
        """Wait for a notification. Return False if none arrived within `at_most`."""
        notified = self._notified.wait(at_most.total_seconds())
        self._notified.clear()
        return notified


class PubSub(Protocol):
    """What modules and endpoints use of publish/subscribe."""

    def publish(self, topic: str) -> None:
        """Notify every receiver of this topic. Never blocks, never fails."""

    def subscription(self, *topics: str) -> Subscription:
        """Return a new receiver of exactly these topics."""

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call `callback` for each notification whose topic starts with `prefix`.

        Returns:
            A function that ends the subscription.
        """

    def close(self) -> None:
        """Stop exchanging notifications with other processes."""


class InProcessPubSub:
    """Publish/subscribe that reaches this process only: enough for one node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._callbacks: list[tuple[str, Callback]] = []

    def publish(self, topic: str) -> None:
        with self._lock:
            subscriptions = list(self._subscriptions.get(topic, ()))
            callbacks = [callback for prefix, callback in self._callbacks if topic.startswith(prefix)]
        for subscription in subscriptions:
            subscription.notify()
        for callback in callbacks:
            callback(topic)

    def notify_all(self) -> None:
        """Notify every subscription, whatever its topic: some notifications may have been lost."""
        with self._lock:
            subscriptions = [one for every in self._subscriptions.values() for one in every]
        for subscription in subscriptions:
            subscription.notify()

    def subscription(self, *topics: str) -> Subscription:
        subscription = Subscription()
        with self._lock:
            for topic in topics:
                self._subscriptions.setdefault(topic, []).append(subscription)
        return subscription

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        entry = (prefix, callback)
        with self._lock:
            self._callbacks.append(entry)

        def unsubscribe() -> None:
            with self._lock:
                if entry in self._callbacks:
                    self._callbacks.remove(entry)

        return unsubscribe

    def close(self) -> None:
        """Do nothing: there is no connection to close."""
