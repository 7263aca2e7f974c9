"""This host's clock beside its server's: who finds them apart names both times, and says what to do."""

from __future__ import annotations

import email.utils
from datetime import datetime, timezone
from typing import Optional

APART_SECONDS = 60.0  # clocks that differ by more are named
SET_IT = "set the clock that is wrong (`timedatectl set-ntp true`)"


def server_time(date_header: str) -> Optional[datetime]:
    """Return the time in a `Date` header; None if there is none."""
    try:
        found = email.utils.parsedate_to_datetime(date_header)
    except (TypeError, ValueError, IndexError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def clock_trouble(here: datetime, there: Optional[datetime]) -> str:
    """Return a sentence that names both times if this host's clock and the server's are apart; "" if they are not.

    Args:
        here: this host's time.
        there: the server's time; None if it is not known.
    """
    if there is None or abs((here - there).total_seconds()) <= APART_SECONDS:
        return ""
    return f"the clocks differ: this host's shows {_text(here)}, the server's {_text(there)}; {SET_IT}"


def certificate_advice(here: datetime, *, is_clock_right: bool) -> str:
    """Return what to do about a certificate that is not valid now, where the clocks are not known to differ."""
    if is_clock_right:
        return f"the clocks agree, at {_text(here)}; restart `backfleet serve`, which renews its certificate"
    return f"it shows {_text(here)}; if that is wrong, {SET_IT}, else restart `backfleet serve`"


def _text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
