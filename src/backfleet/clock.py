"""The clock, as an argument of everything that decides by time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the current time, always with a time zone (UTC)."""


def shifted(clock: Clock, seconds: str) -> Clock:
    """Return a clock that is ahead of this one by a text of seconds, as that of a machine whose clock is off.

    For tests only: `BACKFLEET_CLOCK_SHIFT` in the environment of a server.
    """
    shift = timedelta(seconds=float(seconds or 0))
    return (lambda: clock() + shift) if shift else clock


def utc_now() -> datetime:
    """Return the machine's time. Only the command line and tests use it; everything else gets a `Clock`."""
    return datetime.now(UTC)
