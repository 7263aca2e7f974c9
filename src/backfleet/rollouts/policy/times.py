"""The times of a window: `Mon-Thu 22:00-05:00`, or a recurrence of days and a span of each."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from backfleet.rollouts.policy.recurrences import Malformed, Recurrence, read_recurrence
from backfleet.values import value_object

WANTED: Final = (
    'give days and times, such as "Mon-Thu 22:00-05:00" or "Sat,Sun 00:00-24:00", or a recurrence of RFC 5545 and '
    'times, such as "FREQ=MONTHLY;BYDAY=2TU 22:00-05:00"'
)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}"
)
_NO_DATES: Final = (
    "windows come again every week; dates belong to calendars: put the days on which nothing may move into one "
    "(`backfleet calendar put NAME FILE.ics`) and name it in `calendars`"
)
_EPOCH: Final = datetime(2001, 1, 1)  # noqa: DTZ001 - wall-clock; a Monday: recurrences without DTSTART count from there
_LONGEST: Final = 200  # characters

Span = tuple[datetime, datetime]


@value_object
class Times:
    """Spans of wall-clock time, each on some days. One that ends before it begins ends on the next day."""

    spans: tuple[tuple[timedelta, timedelta], ...]  # begin and end, from the day's midnight
    days: frozenset[int] | None = None  # Monday is 0
    rule: Recurrence | None = None

    def between(self, first: datetime, last: datetime) -> Iterator[Span]:
        """Yield the spans that begin on the days from `first` to `last`, in wall-clock time."""
        for day in self._days(first, last):
            for begin, end in self.spans:
                yield day + begin, day + end

    def _days(self, first: datetime, last: datetime) -> Iterator[datetime]:
        if self.rule is not None:
            yield from self.rule.between(first, last)
            return
        day = first.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= last:
            if self.days is None or day.weekday() in self.days:
                yield day
            day += timedelta(days=1)


@lru_cache(maxsize=500)
def read_times(text: str) -> Times:
    """Read one entry of `times`.

    Raises:
        Malformed: it cannot be read.
    """
    if len(text) > _LONGEST:
        raise Malformed(f"give at most {_LONGEST} characters")
    if not text.isascii():
        raise Malformed(WANTED)  # strptime takes the digits of every script
    if _DATE.search(text):
        raise Malformed(_NO_DATES)
    words = re.sub(r"\s*([,-])\s*", r"\1", text.strip()).split()
    if not words:
        raise Malformed(WANTED)
    spans = tuple(_span(each) for each in words[-1].split(","))
    before = words[:-1]
    if any("=" in word for word in before):
        return Times(spans, rule=_rule(before))
    if len(before) > 1:
        raise Malformed(WANTED)
    if not before or before[0].lower() == "daily":
        return Times(spans)
    return Times(spans, days=frozenset(day for part in before[0].split(",") for day in _part(part)))


def _span(text: str) -> tuple[timedelta, timedelta]:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise Malformed(WANTED)
    begin = timedelta(hours=int(found[1]), minutes=int(found[2]))
    end = timedelta(hours=int(found[3] or found[5]), minutes=int(found[4] or found[6]))
    if begin == end:
        raise Malformed("it ends when it begins; write 00:00-24:00 for a whole day")
    return begin, end if end > begin else end + timedelta(days=1)


def _part(text: str) -> list[int]:
    """Return the days of `Mon` or of `Fri-Mon`."""
    first, dash, last = text.partition("-")
    begin = _day(first)
    end = _day(last) if dash else begin
    return [(begin + number) % 7 for number in range((end - begin) % 7 + 1)]


def _day(name: str) -> int:
    for names in (_DAYS, _NAMES):
        if name.lower() in names:
            return names.index(name.lower())
    raise Malformed(WANTED)


def _rule(words: list[str]) -> Recurrence:
    begin = _EPOCH
    if words[0].upper().startswith("DTSTART"):
        try:
            begin = datetime.strptime(words[0][len("DTSTART") :].lstrip(":="), "%Y%m%d")  # noqa: DTZ007 - wall-clock
        except ValueError:
            raise Malformed("give DTSTART a day, such as DTSTART:20260105") from None
        words = words[1:]
    elif re.search(r"INTERVAL=0*([2-9]|1[0-9])|COUNT=", " ".join(words).upper()):
        raise Malformed("say from which day it counts: DTSTART:20260105 before the recurrence")
    if len(words) != 1:
        raise Malformed(WANTED)
    return read_recurrence(words[0], begin)
