"""What time it is, as an argument: whoever decides by the clock is handed one."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present moment, always with a time zone (UTC)."""


def utc_now() -> datetime:
    """The machine's clock. Only app.py, the command line and tests name it; everyone else is handed a Clock."""
    return datetime.now(UTC)
