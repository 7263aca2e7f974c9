"""The replay cache of one node: signatures that must not be accepted again."""

from collections import OrderedDict
from datetime import datetime

from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated

MOST_REMEMBERED = 1_000_000  # signatures; with 1,000 agents at one request a second this is the whole window


class ReplayCache:
    """Accepts each signature once within the window. Bounded: the oldest is forgotten first."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._seen: OrderedDict[int, int] = OrderedDict()
        self._most = most

    def accept(self, signature: AgentSignature, *, now: datetime, window_ms: int) -> None:
        """Remember the signature. Raise NotAuthenticated if it was used before."""
        key = signature.fingerprint
        oldest = round(now.timestamp() * 1000) - 2 * window_ms
        while self._seen and (len(self._seen) >= self._most or next(iter(self._seen.values())) < oldest):
            self._seen.popitem(last=False)
        if key in self._seen:
            raise NotAuthenticated("its signature was used before")
        self._seen[key] = round(now.timestamp() * 1000)
