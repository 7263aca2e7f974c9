"""Deleting what is too old: nonces, logins, tasks, rollouts, results, expired pins and the audit trail.

A clock that jumped ahead must not empty them, and nobody can see from the clock that it did. So what was there before
this process ages by the time that has passed for certain: from the newest call that was recorded before the start, by
a clock that nobody sets. After an idle time, or a jump, things are kept for longer, never for less.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from backfleet import assistant, fleet, identity, logins, notifications, rollouts, upgrades
from backfleet.operations import _store
from backfleet.operations.catalogue import Services

EXPIRED_PINS_STAY: Final = timedelta(days=30)


class Housekeeping:
    """The rounds of one process. Any number of replicas may have theirs at once."""

    def __init__(self, services: Services, started: datetime, passed: Callable[[], float] = time.monotonic) -> None:
        """Begin to count.

        Args:
            services: What it works on.
            started: The time now.
            passed: Seconds since any fixed moment, which no change of the machine's clock moves.
        """
        self._services, self._started, self._passed = services, started, passed
        self._began = passed()
        self._newest: datetime | None = None  # the newest call from before the start

    def run_once(self, now: datetime) -> bool:
        """Delete what is too old; return whether there may be more."""
        settings, running = self._services.settings, timedelta(seconds=self._passed() - self._began)
        with self._services.database.transaction() as tx:
            if running >= timedelta(seconds=settings.nonce_seconds):  # those of before the start are over, too
                identity.purge_nonces(tx, now=min(now, self._started + running))
            if self._newest is None:
                self._newest = _store.newest_before(tx, self._started) or self._started
            logins.purge(tx, now=now, idle=timedelta(seconds=settings.console_idle_seconds))
            proven = min(now, self._newest + running)
            rollouts.purge(tx, before=proven - timedelta(days=settings.task_days), now=proven)
            upgrades.purge(tx, before=proven - timedelta(days=settings.task_days))
            assistant.purge(tx, now=proven)
            notifications.purge(tx, before=proven - timedelta(days=settings.task_days))
            fleet.purge_pins(tx, before=proven - EXPIRED_PINS_STAY)
            return _store.delete_before(tx, proven - timedelta(days=settings.audit_days))
