"""Which calls of pages that update themselves the audit trail has already.

An open page asks the same again at each change. The trail is to say who looked at what, and not how often a tab
refreshed itself: each such call has a row once in RECORDED_EVERY. What a person asks for has a row each time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

RECORDED_EVERY: Final = timedelta(minutes=15)
MOST: Final = 20_000  # calls that are remembered; forgetting one costs a row more


class Recorded:
    """What sessions asked lately, in this process."""

    def __init__(self) -> None:
        self._at: OrderedDict[str, datetime] = OrderedDict()

    def has(self, key: str, now: datetime) -> bool:
        """Return whether the trail has had a row of this call for less than RECORDED_EVERY."""
        at = self._at.get(key)
        return at is not None and at <= now < at + RECORDED_EVERY

    def note(self, key: str, now: datetime) -> None:
        """Remember that the trail got a row of this call."""
        self._at[key] = now
        self._at.move_to_end(key)
        while len(self._at) > MOST:
            self._at.popitem(last=False)


def key_of(session: str, operation: str, flat: Mapping[str, str]) -> str:
    """Return what stands for a call: whose session, what, and with which parameters. Pure."""
    parts = (session, operation, *(part for item in sorted(flat.items()) for part in item))
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
