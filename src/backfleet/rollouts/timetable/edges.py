"""From wall-clock time to moments: what an edge in a gap of the clock means, and one that comes twice."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

Named = tuple[datetime, datetime, str]
"""Begin, end, and what people call it."""


def moment_of(wall: datetime, zone: tzinfo, *, is_later: bool = False) -> datetime:
    """Return the moment of a wall-clock time.

    Args:
        wall: a time without a zone.
        zone: the zone whose clocks show it.
        is_later: whether a time that comes twice means its second coming.

    Returns:
        The moment in UTC; for a time that the clocks skip, the end of the gap.
    """
    before = wall.replace(tzinfo=zone, fold=0).utcoffset() or timedelta(0)
    after = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
    if before < after:
        return _end_of_gap(zone, (wall - after).replace(tzinfo=UTC), (wall - before).replace(tzinfo=UTC))
    return (wall - (after if is_later else before)).replace(tzinfo=UTC)


def _end_of_gap(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """Return the first moment after `low` whose offset is that of `high`."""
    offset = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high


def window_span(begin: datetime, end: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the shorter of what a window can mean: after the second coming of its begin, until the first of its end.

    One that lies in the doubled hour as a whole is open the first time only.
    """
    first, last = moment_of(begin, zone, is_later=True), moment_of(end, zone)
    if first >= last and begin < end:
        first = moment_of(begin, zone)
    return first, last


def freeze_span(begin: datetime, end: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the longer of what a freeze can mean."""
    return moment_of(begin, zone), moment_of(end, zone, is_later=True)


def merged(spans: Iterable[Named]) -> list[Named]:
    """Return spans that do not touch each other, in their order; each has the name of the first of its parts."""
    found: list[Named] = []
    for begin, end, name in sorted(span for span in spans if span[0] < span[1]):
        if found and begin <= found[-1][1]:
            before = found[-1]
            found[-1] = (before[0], max(before[1], end), before[2])
        else:
            found.append((begin, end, name))
    return found
