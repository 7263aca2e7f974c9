"""Limit how many calls an account makes of one operation: a token bucket, shared by all replicas.

A replica takes several calls out of the shared bucket at a time and spends them by itself, so most calls need no
database. Once the bucket is empty it takes calls that the bucket does not hold yet, and promises one to each caller
whom it refuses: whoever comes back after the stated wait finds a call that nobody else has taken.
Why: docs/decisions/0017-throttling.md, docs/decisions/0036-promised-calls.md.
"""

import bisect
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from backfleet.operations import _store
from backfleet.storage import Database
from backfleet.values import value_object

SHARES: Final = 20  # a replica takes this fraction of a burst at once, so that 20 replicas can each have some
KEPT: Final = timedelta(seconds=10)  # calls that a replica took and did not spend by then are lost
GRACE: Final = timedelta(seconds=2)  # a promised call that is not used for longer is anybody's
HANDOVER: Final = timedelta(seconds=0.5)  # a marked retry has so long before the caller's new calls get its call
CREDIT: Final = timedelta(seconds=0.25)  # how much too early a marked retry may use a call
MOST_MARKING: Final = 1000  # callers of one bucket who are known to mark retries
FLOOR: Final = timedelta(milliseconds=100)  # the shortest wait; official clients wait as long without a header
JITTER: Final = timedelta(milliseconds=50)  # up to this is added to each wait, so that not all come back at once
SECONDS_AHEAD, LEAST_AHEAD, MOST_AHEAD = 10, 20, 1000  # how many calls a bucket promises: those of so many seconds
MOST_KNOWN: Final = 20_000  # buckets that one process remembers; the least recently used is forgotten first


class Throttled(Exception):
    """No call is left; the next one will be after `wait`."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"ask again in {wait}")
        self.wait = wait


@value_object
class RateLimit:
    """How fast a bucket fills, in calls per second, and how many calls it holds."""

    per_second: float
    burst: int

    @property
    def batch(self) -> int:
        """Return how many calls a replica takes at once."""
        return max(1, self.burst // SHARES)

    @property
    def ahead(self) -> int:
        """Return how many calls are promised before the bucket holds them."""
        return int(min(MOST_AHEAD, max(LEAST_AHEAD, SECONDS_AHEAD * self.per_second)))


@value_object
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
    taken = max(0, min(wanted, int(full.left)))
    return Bucket(full.left - taken, full.at), taken


def take_ahead(bucket: Bucket, rate: RateLimit, now: datetime, wanted: int) -> tuple[Bucket, list[datetime]]:
    """Take up to `wanted` calls that the bucket does not hold yet, at most `rate.ahead` in all.

    Return what is left, less than nothing, and when each of these calls will have been added. Pure.
    """
    full = fill(bucket, rate, now)
    taken = max(0, min(wanted, int(rate.ahead + full.left)))
    added = [full.at + timedelta(seconds=max(0.0, n - full.left) / rate.per_second) for n in range(1, taken + 1)]
    return Bucket(full.left - taken, full.at), added


@dataclass(slots=True)
class _Held:
    """What this process knows about one bucket."""

    calls: int = 0
    until: datetime | None = None  # the calls are lost then
    ahead: deque[datetime] = field(default_factory=deque)  # calls taken before they were added, and when each will be
    promised: dict[str, list[datetime]] = field(default_factory=dict)  # by caller: from when on, in order
    marking: set[str] = field(default_factory=set)  # callers whose client says of a retry that it is one
    refused_until: datetime | None = None
    own: Bucket | None = None  # for callers without an account, who have a bucket in each process

    def use(self, caller: str, now: datetime, *, is_retry: bool) -> bool:
        """Use a call that this caller was promised for now if it says so, or one that nobody was promised."""
        if is_retry and len(self.marking) < MOST_MARKING:
            self.marking.add(caller)
        if caller in self.marking and self.use_promised(caller, now, is_retry=is_retry):
            return True
        if self.until is None or now >= self.until:
            self.calls = 0
        if not self.calls:
            self._add_unused(now)
        if not self.calls:
            return False
        self.calls -= 1
        return True

    def is_promised(self, caller: str, now: datetime, *, is_retry: bool) -> bool:
        """Return whether this caller has a promised call that it may use now."""
        # Where retries are marked, a new call does not get what a refused one was promised a moment ago.
        handover = HANDOVER if caller in self.marking and not is_retry else timedelta(0)
        promised = self.promised.get(caller)
        return promised is not None and promised[0] + handover <= now

    def use_promised(self, caller: str, now: datetime, *, is_retry: bool) -> bool:
        """Use a call that this caller was promised for now."""
        if not self.is_promised(caller, now, is_retry=is_retry):
            return False
        self._drop_promise(caller)
        return True

    def _add_unused(self, now: datetime) -> None:
        """Let anybody have the calls that were added by now, and those promised to callers who did not come back."""
        while self.ahead and self.ahead[0] <= now:
            self._add_if_fresh(self.ahead.popleft(), now)
        for caller in list(self.promised):
            while self.promised.get(caller) and self.promised[caller][0] + GRACE <= now:
                self._add_if_fresh(self._drop_promise(caller), now)

    def _drop_promise(self, caller: str) -> datetime:
        moment = self.promised[caller].pop(0)
        if not self.promised[caller]:
            del self.promised[caller]
        return moment

    def _add_if_fresh(self, added_at: datetime, now: datetime) -> None:
        if now < added_at + KEPT:
            self.calls += 1
            self.until = max(self.until or now, added_at + KEPT)

    def most_promised(self, rate: RateLimit, caller: str) -> int:
        """Return how many calls one caller may be promised: a share, so that another one finds some."""
        return max(1, rate.ahead // (len(self.promised.keys() | {caller}) + 1))


class Throttle:
    """Limits the calls of one process. Safe to use from many threads."""

    def __init__(
        self,
        database: Database,
        rate: RateLimit,
        draw_fraction: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
        processes: int = 1,
    ) -> None:
        """Limit calls to a rate.

        Args:
            database: Where shared buckets are.
            rate: What each bucket allows.
            draw_fraction: Scatters waits.
            monotonic: Gives seconds that only grow.
            processes: Of this server: each has its share of a bucket that is not in the database.
        """
        share = RateLimit(rate.per_second / processes, max(1, rate.burst // processes))
        self._own_rate = share if processes > 1 else rate
        self._database, self._rate, self._draw_fraction = database, rate, draw_fraction
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Held] = OrderedDict()

    def spend(
        self, who: str, action: str, now: datetime, *, caller: str = "", is_retry: bool = False, shared: bool = True
    ) -> None:
        """Spend one call of an operation.

        Args:
            who: The account; the caller's address if there is no account.
            action: The operation.
            now: The time.
            caller: Who of the account calls, for fairness between callers.
            is_retry: Whether the caller comes back after the wait it was given.
            shared: Whether the bucket is shared by all replicas; an address's is not.

        Raises:
            Throttled: no call is left. A caller of an account who comes back after the stated wait finds one.
        """
        with self._lock:
            held = self._held((who, action))
            if held.use(caller, now, is_retry=is_retry):
                return
            # An unmarked call may be a new one: it uses what a refused one was promised only if nothing else is left.
            is_promised = held.is_promised(caller, now, is_retry=is_retry)
            if not is_promised:
                self._refuse(held, caller, now)
            if held.ahead and not is_promised:
                self._use_ahead(held, caller, now, is_retry=is_retry)
                return
        taken, added, now = self._take(who, action, now) if shared else self._take_own(held, now)
        with self._lock:
            self._put(held, taken, added, caller, now, is_retry=is_retry)

    def _put(
        self, held: _Held, taken: int, added: list[datetime], caller: str, now: datetime, *, is_retry: bool = False
    ) -> None:
        """Add the taken calls and spend or promise one. Another thread may have added some at the same time."""
        held.calls += taken
        held.ahead.extend(added)
        if taken:
            held.until = now + KEPT
        if held.calls:
            held.calls -= 1
        elif not held.use_promised(caller, now, is_retry=is_retry):
            self._use_ahead(held, caller, now, is_retry=is_retry)

    def _refuse(self, held: _Held, caller: str, now: datetime) -> None:
        """Refuse without a question to the database what it would refuse."""
        if held.refused_until is not None and now < held.refused_until:
            raise Throttled(self._wait(held.refused_until - now))
        promised = held.promised.get(caller, [])
        if len(promised) >= held.most_promised(self._rate, caller):
            raise Throttled(self._wait(promised[-1] - now))

    def _use_ahead(self, held: _Held, caller: str, now: datetime, *, is_retry: bool) -> None:
        """Promise the next call that will be added, or let a retry have it that comes a little too early."""
        if not held.ahead:
            held.refused_until = now + timedelta(seconds=1 / self._rate.per_second)
            raise Throttled(self._wait(held.refused_until - now))
        added_at = held.ahead.popleft()
        if is_retry and added_at - now <= CREDIT:
            return  # what it was promised went to another call: it does not lose its turn again
        wait = self._wait(added_at - now)
        bisect.insort(held.promised.setdefault(caller, []), now + wait)
        raise Throttled(wait)

    def _wait(self, least: timedelta) -> timedelta:
        """Return what a refused caller is asked to wait: not less than FLOOR, and not the same for all of them."""
        return max(least, FLOOR) + JITTER * self._draw_fraction()

    def _held(self, key: tuple[str, str]) -> _Held:
        held = self._known.setdefault(key, _Held())
        self._known.move_to_end(key)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return held

    def _take(self, who: str, action: str, now: datetime) -> tuple[int, list[datetime], datetime]:
        """Take a batch, now or ahead. Return it with the time at which the bucket was ours.

        The bucket goes on being filled while others have it: a caller who waited for it is not refused for the past.
        """
        added: list[datetime] = []
        asked = self._monotonic()
        with self._database.transaction() as tx:
            bucket = Bucket(*_store.bucket_for_update(tx, who, action, full=float(self._rate.burst), now=now))
            now += timedelta(seconds=self._monotonic() - asked)
            left, taken = take(bucket, self._rate, now, self._rate.batch)
            if not taken:
                left, added = take_ahead(left, self._rate, now, self._rate.batch)
            _store.put_bucket(tx, who, action, left.left, left.at)
        return taken, added, now

    def _take_own(self, held: _Held, now: datetime) -> tuple[int, list[datetime], datetime]:
        with self._lock:
            left, taken = take(held.own or Bucket(float(self._own_rate.burst), now), self._own_rate, now, 1)
            held.own = left
        return taken, [], now
