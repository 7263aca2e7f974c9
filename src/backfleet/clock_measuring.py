"""Measuring the database's clock, and saying if this machine's differs from it."""

import logging
from datetime import timedelta
from typing import Final

from backfleet.storage import DatabaseClock, Unavailable

SHOWN: Final = timedelta(seconds=1)  # a smaller difference is not logged

log = logging.getLogger(__name__)


def measure(clock: DatabaseClock) -> None:
    """Measure the database's clock, and log if the machine's has come to differ from it. Blocks."""
    before = clock.skew()
    try:
        clock.measure()
    except Unavailable as problem:
        log.warning("the database's clock could not be read", extra={"reason": type(problem).__name__})
    if abs(clock.skew() - before) > SHOWN and abs(clock.skew()) > SHOWN:
        ahead = round(clock.skew().total_seconds(), 1)
        log.warning("this machine's clock differs from the database's, which decides", extra={"seconds_ahead": ahead})
