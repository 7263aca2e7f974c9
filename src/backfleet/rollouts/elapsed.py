"""Time that passed while somebody looked: what waits of a length are measured by. Pure.

A moment that is stored tells a length only if the clock went on evenly. It did not where a rollout was not decided for
longer than it ever waits: then no server ran, or the clock was set forward, and nobody can tell which. Such a gap is no
part of a wait that has to be long enough (a soak, the wait for a first backup, an hour of the pace): the wait ends
later, and never too early. Deadlines and windows are of the calendar, and go with the clock.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

LONGEST_ROUND: Final = timedelta(minutes=10)  # between two decisions of a rollout; the longest pause is 5 minutes
MOST_GAPS: Final = 100  # of one rollout; the oldest ones become one

Gap = tuple[datetime, datetime]
"""The last decision before a gap, and the first one after it."""


def with_gap(gaps: Sequence[Gap], last: datetime | None, now: datetime) -> tuple[Gap, ...]:
    """Return the gaps of a rollout that is decided now.

    Args:
        gaps: those that are known, in their order.
        last: when it was decided before; None if it never was.
        now: the time. If it is before `last`, the clock was set back: what it had skipped is still to come.
    """
    if last is None:
        return tuple(gaps)
    if now < last:
        return tuple((begin, min(end, now)) for begin, end in gaps if begin < now)
    if now - last <= LONGEST_ROUND:
        return tuple(gaps)
    found = [*gaps, (last, now)]
    while len(found) > MOST_GAPS:
        found[:2] = [(found[0][0], found[1][1])]
    return tuple(found)


def end_of(since: datetime, span: timedelta, gaps: Sequence[Gap]) -> datetime:
    """Return when so much time will have passed since a moment, if no gap comes."""
    end = since + span
    for begin, until in gaps:
        if until > since and begin < end:
            end += until - max(begin, since)
    return end


def begin_of(now: datetime, span: timedelta, gaps: Sequence[Gap]) -> datetime:
    """Return since when so much time has passed."""
    begin = now - span
    for since, until in reversed(gaps):
        if until > begin:
            begin -= until - since
    return begin


def write_gaps(gaps: Sequence[Gap]) -> str:
    """Return gaps as JSON."""
    return json.dumps([[begin.isoformat(), end.isoformat()] for begin, end in gaps])


def read_gaps(text: str) -> tuple[Gap, ...]:
    """Return what `write_gaps` wrote."""
    return tuple((datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in json.loads(text))
