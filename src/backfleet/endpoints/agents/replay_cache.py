"""The replay cache of one node: signatures that must not be accepted again."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated

MOST_REMEMBERED = 1_000_000  # signatures; with 1,000 agents at one request a second this is half the window
PARTS: Final = 8  # of the time for which signatures are remembered, and of their number


@dataclass(slots=True)
class _Part:
    """The signatures of an eighth of the time, or fewer."""

    begun: int  # Unix milliseconds
    seen: dict[int, int] = field(default_factory=dict)  # fingerprint -> Unix milliseconds


class ReplayCache:
    """Accepts each signature once within the window. Bounded: the oldest are forgotten first, an eighth at a time.

    One dictionary from which the oldest was deleted for each one that comes would be made anew now and then, with three
    times the place it needs, and fill that for hours.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._parts: deque[_Part] = deque()
        self._most, self._most_of_part = most, max(1, most // PARTS)

    def accept(self, signature: AgentSignature, *, now: datetime, window_ms: int) -> None:
        """Remember the signature. Raise NotAuthenticated if it was used before."""
        key, at = signature.fingerprint, round(now.timestamp() * 1000)
        oldest, span = at - 2 * window_ms, 2 * window_ms // PARTS
        parts = self._parts
        while parts and parts[0].begun + span < oldest:
            parts.popleft()
        for part in parts:
            if part.seen.get(key, oldest - 1) >= oldest:
                raise NotAuthenticated("its signature was used before")
        if not parts or at > parts[-1].begun + span or len(parts[-1].seen) >= self._most_of_part:
            self._begin(at)
        parts[-1].seen[key] = at

    def _begin(self, at: int) -> None:
        while self._parts and sum(len(part.seen) for part in self._parts) + self._most_of_part > self._most:
            self._parts.popleft()
        self._parts.append(_Part(at))
