"""Bound what refused calls leave in the audit trail.

A key without any permission could fill the disk: every refusal is a row that is kept for more than a year. The first
refusals of a key within a while have rows of their own; the others are counted, and the next row of that key after the
while says how many there were. Why: docs/decisions/0062-refused-calls.md.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Counter

WHILE: Final = timedelta(minutes=10)
MOST_KEYS: Final = 10_000  # that one process remembers; the one that was refused longest ago is forgotten first
COUNTED: Final = "RefusalsBeforeWithoutRow"
"""The name under which a row's parameters have the number of refusals without a row."""

NOT_RECORDED = Counter("backfleet_refusals_not_recorded_total", "Refused calls without a row in the audit trail.")


@dataclass(slots=True)
class _Key:
    """The refusals of one access key since `since`."""

    since: datetime
    recorded: int = 0
    counted: int = 0


class Refusals:
    """The refusals of this process, by access key."""

    def __init__(self, most: int) -> None:
        """Begin with none. `most` is how many of one key have a row within ten minutes."""
        self._most, self._lock = most, threading.Lock()
        self._keys: OrderedDict[str, _Key] = OrderedDict()

    def is_recorded(self, key: str, now: datetime) -> bool:
        """Note a refusal; return whether it gets a row."""
        with self._lock:
            known = self._keys.setdefault(key, _Key(now))
            self._keys.move_to_end(key)
            if len(self._keys) > MOST_KEYS:
                self._keys.popitem(last=False)
            if not timedelta(0) <= now - known.since < WHILE:
                known.since, known.recorded = now, 0
            if known.recorded < self._most:
                known.recorded += 1
                return True
            known.counted += 1
        NOT_RECORDED.inc()
        return False

    def counted_before(self, key: str, now: datetime) -> int:
        """Return how many refusals had no row in a while that is over, and begin to count anew."""
        with self._lock:
            known = self._keys.get(key)
            if known is None or not known.counted or timedelta(0) <= now - known.since < WHILE:
                return 0
            counted, known.counted = known.counted, 0
            return counted
