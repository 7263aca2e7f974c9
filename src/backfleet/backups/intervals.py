"""When the next backup of a client is expected, learned from its last ones."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Final

LEARNS_FROM: Final = 20  # backups
LEAST: Final = 4  # backups; from fewer nothing is learned


def learned(starts: Sequence[datetime]) -> tuple[timedelta, datetime] | None:
    """Return the usual time between two backups and when the next one has begun at the latest; None if not known.

    Twice the usual time may pass, and a quarter more than the longest pause there was: a client that rests on weekends
    is not overdue on Sundays.

    Args:
        starts: when its last backups began, in any order.
    """
    last = sorted(starts)[-LEARNS_FROM:]
    if len(last) < LEAST:
        return None
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(last)]
    usual = median(gaps)
    return timedelta(seconds=usual), last[-1] + timedelta(seconds=max(2 * usual, 1.25 * max(gaps), 60.0))
