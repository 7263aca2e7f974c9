"""Bells within one process."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol


class Bell:
    """One listener's ear. Rings that come while nobody waits are one ring when somebody does."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def wait(self, at_most: timedelta) -> bool:
        """Wait for a ring, or until the time is over. True if it rang."""
        rang = self._rung.wait(at_most.total_seconds())
        self._rung.clear()
        return rang


class Bells(Protocol):
    """What the rest of the house knows of wakeups."""

    def ring(self, topic: str) -> None:
        """Wake whoever listens to this topic. Never blocks, never fails."""

    def listen(self, topic: str) -> Bell:
        """A new ear for exactly this topic."""

    def subscribe(self, prefix: str, heard: Callable[[str], None]) -> Callable[[], None]:
        """Call `heard(topic)` for each ring of a topic that starts with `prefix`, from any thread; it must not block.

        Returns a function that ends the subscription.
        """

    def close(self) -> None:
        """Nothing crosses to other processes any more."""


class InProcessBells:
    """Bells that are heard in this process only: enough for one node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: dict[str, list[Bell]] = {}
        self._subscribers: list[tuple[str, Callable[[str], None]]] = []

    def ring(self, topic: str) -> None:
        with self._lock:
            bells = list(self._bells.get(topic, ()))
            heard = [heard for prefix, heard in self._subscribers if topic.startswith(prefix)]
        for bell in bells:
            bell.ring()
        for tell in heard:
            tell(topic)

    def ring_all(self) -> None:
        """Wake every listener: something may have rung that was not heard."""
        with self._lock:
            bells = [bell for bells in self._bells.values() for bell in bells]
        for bell in bells:
            bell.ring()

    def listen(self, topic: str) -> Bell:
        bell = Bell()
        with self._lock:
            self._bells.setdefault(topic, []).append(bell)
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
