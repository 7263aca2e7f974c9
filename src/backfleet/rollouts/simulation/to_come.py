"""What will become known of simulated hosts, by the moment."""

import heapq
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

_STEP: Final = timedelta(seconds=1)


class Change(NamedTuple):
    """New facts of one member; of two at the same moment the one that was added first comes first."""

    at: datetime
    number: int
    client_id: str
    facts: Mapping[str, Any]


class ToCome:
    """A queue of changes, sorted a second at a time: one heap of all of them would take most of a simulation's time."""

    def __init__(self, begin: datetime) -> None:
        """Name the moment from which seconds are counted."""
        self._begin, self._added = begin, 0
        self._seconds: list[int] = []  # a heap; each second for which there are changes, once
        self._by_second: dict[int, list[Change]] = {}

    def add(self, at: datetime, client_id: str, facts: Mapping[str, Any]) -> None:
        """Change facts of a member then."""
        self._added += 1
        second = (at - self._begin) // _STEP
        change = Change(at, self._added, client_id, facts)
        found = self._by_second.get(second)
        if found is None:
            self._by_second[second] = [change]
            heapq.heappush(self._seconds, second)
        else:
            found.append(change)

    @property
    def next_at(self) -> datetime | None:
        """When the next change is due; None if there is none."""
        return min(self._by_second[self._seconds[0]]).at if self._seconds else None

    def take(self, now: datetime) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the changes that are due, in their order; they are taken out."""
        this_second = (now - self._begin) // _STEP
        while self._seconds and self._seconds[0] <= this_second:
            changes = sorted(self._by_second.pop(heapq.heappop(self._seconds)))
            later = [change for change in changes if change.at > now]
            for change in changes[: len(changes) - len(later)]:
                yield change.client_id, change.facts
            if later:
                second = this_second
                self._by_second[second] = later
                heapq.heappush(self._seconds, second)
                return
