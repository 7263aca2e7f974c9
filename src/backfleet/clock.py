"""The clock, as an argument of everything that decides by time."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time, always with a time zone (UTC)."""


def utc_now() -> datetime:
    """Return the machine's time. Only the command line and tests use it; everything else gets a `Clock`."""
    return datetime.now(UTC)
