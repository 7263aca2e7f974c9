"""Limit how many calls an account makes of one operation: a token bucket, shared by all replicas.

A replica takes several calls out of the shared bucket at a time and spends them by itself, so most calls need no
database. After a refusal it refuses by itself, too, until the bucket holds a call again.
Why: docs/decisions/0017-throttling.md.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backfleet.operations import _store
from backfleet.storage import Database

SHARES: Final = 20  # a replica takes this fraction of a burst at once, so that 20 replicas can each have some
KEPT: Final = timedelta(seconds=10)  # calls that a replica took and did not spend by then are lost
MOST_KNOWN: Final = 20_000  # buckets that one process remembers; the least recently used is forgotten first


class Throttled(Exception):
    """No call is left; the next one will be after `wait`."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"ask again in {wait}")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How fast a bucket fills, in calls per second, and how many calls it holds."""

    per_second: int
    burst: int

    @property
    def batch(self) -> int:
        """Return how many calls a replica takes at once."""
        return max(1, self.burst // SHARES)


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many calls were left at a moment."""

    left: float
    at: datetime


def fill(bucket: Bucket, rate: RateLimit, now: datetime) -> Bucket:
    """Return the bucket at a later moment. A clock that went back adds nothing. Pure."""
    elapsed = max(0.0, (now - bucket.at).total_seconds())
    return Bucket(min(float(rate.burst), bucket.left + elapsed * rate.per_second), max(now, bucket.at))


def take(bucket: Bucket, rate: RateLimit, now: datetime, wanted: int) -> tuple[Bucket, int]:
    """Take up to `wanted` whole calls out. Return what is left, and how many were taken. Pure."""
    full = fill(bucket, rate, now)
    taken = min(wanted, int(full.left))
    return Bucket(full.left - taken, full.at), taken


def wait_for(bucket: Bucket, rate: RateLimit) -> timedelta:
    """Return how long it takes until the bucket holds a whole call, at least a millisecond. Pure."""
    missing = max(0.0, 1 - bucket.left)
    return max(timedelta(milliseconds=1), timedelta(seconds=missing / rate.per_second))


@dataclass(slots=True)
class _Held:
    """What this process knows about one bucket."""

    calls: int = 0
    until: datetime | None = None  # the calls are lost then
    refused_until: datetime | None = None
    own: Bucket | None = None  # for callers without an account, who have a bucket in each process


class Throttle:
    """Limits the calls of one process. Safe to use from many threads."""

    def __init__(self, database: Database, rate: RateLimit) -> None:
        self._database, self._rate = database, rate
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Held] = OrderedDict()

    def spend(self, who: str, action: str, now: datetime, *, shared: bool = True) -> None:
        """Spend one call of an operation.

        Args:
            who: The account; the caller's address if there is no account.
            action: The operation.
            now: The time of the call.
            shared: Whether the bucket is shared by all replicas; an address's is not.

        Raises:
            Throttled: no call is left.
        """
        with self._lock:
            held = self._held((who, action))
            if held.until is None or now >= held.until:
                held.calls = 0
            if held.calls:
                held.calls -= 1
                return
            if held.refused_until is not None and now < held.refused_until:
                raise Throttled(held.refused_until - now)
        taken, left = self._take(who, action, now) if shared else self._take_own(held, now)
        with self._lock:
            self._put(held, taken, left, now)

    def _put(self, held: _Held, taken: int, left: Bucket, now: datetime) -> None:
        """Add the taken calls and spend one. Another thread may have added some at the same time."""
        held.calls += taken
        if taken:
            held.until, held.refused_until = now + KEPT, None
        if not held.calls:
            wait = wait_for(left, self._rate)
            held.refused_until = now + wait
            raise Throttled(wait)
        held.calls -= 1

    def _held(self, key: tuple[str, str]) -> _Held:
        held = self._known.setdefault(key, _Held())
        self._known.move_to_end(key)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return held

    def _take(self, who: str, action: str, now: datetime) -> tuple[int, Bucket]:
        with self._database.transaction() as tx:
            bucket = Bucket(*_store.bucket_for_update(tx, who, action, full=float(self._rate.burst), now=now))
            left, taken = take(bucket, self._rate, now, self._rate.batch)
            _store.put_bucket(tx, who, action, left.left, left.at)
        return taken, left

    def _take_own(self, held: _Held, now: datetime) -> tuple[int, Bucket]:
        with self._lock:
            left, taken = take(held.own or Bucket(float(self._rate.burst), now), self._rate, now, 1)
            held.own = left
        return taken, left
