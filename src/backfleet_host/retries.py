"""How long to wait before a request is tried again: growing pauses, and the wait that a server asks for."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Mapping

_MOST_DOUBLINGS = 32  # keeps the power within a float, however long a server is away
_SECONDS_HEADER = re.compile(r"[0-9]{1,9}")
_CLOSE_FRAME = re.compile(rb"retry-after=([0-9]{1,4}(?:\.[0-9]{1,3})?)\Z")


def backoff_seconds(attempt: int, first: float, most: float, chance: float) -> float:
    """Return the pause after failed attempt number `attempt`, in seconds.

    Args:
        attempt: 0 after the first failure.
        first: upper bound of the first pause, in seconds. It doubles with every attempt.
        most: upper bound of every pause, in seconds.
        chance: a number drawn from 0 to 1. It spreads the pause over the upper half of its bound, so that a fleet that
            lost its server at one moment does not come back at one moment. With 1 the pause is the bound.
    """
    bound = min(most, first * 2.0 ** min(attempt, _MOST_DOUBLINGS))
    return bound * (0.5 + chance / 2)


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Return the wait that the headers of an HTTP answer ask for, in seconds; 0 if they ask for none.

    A date is compared with the answer's own `Date`, so that a wrong clock of this host does not matter.
    Source: RFC 9110, section 10.2.3.
    """
    value = headers.get("Retry-After", "").strip()
    if _SECONDS_HEADER.fullmatch(value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return 0.0


def retry_after_of_close_frame(content: bytes) -> float:
    """Return the wait that a WebSocket close frame asks for, in seconds; 0 if it asks for none.

    Our own server ends the reason of the frame with `retry-after=SECONDS`.
    """
    found = _CLOSE_FRAME.search(content)
    return float(found.group(1)) if found else 0.0
