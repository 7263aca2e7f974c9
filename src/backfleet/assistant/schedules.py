"""Schedules of commands: `rate(5m)`, `at(2026-06-06 13:15:30 Asia/Shanghai)`, `0 0 12 ? * WED 2026 UTC`.

A cron expression has the seconds first and may have a year and a time zone. `?`, `L`, `W` and `#` mean what they mean
in Quartz; days of the week count from Sunday = 0 (7 is Sunday too). Local times that a clock skips or shows twice
follow the rules of the zone.

Source: ECS 2014-05-26, "Start scheduled or automatic Cloud Assistant tasks".
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

LEAST_RATE, MOST_RATE = timedelta(seconds=60), timedelta(days=7)
LEAST_GAP = timedelta(seconds=10)  # between two runs by cron
CHECKED_RUNS = 20  # runs by cron whose gaps are checked
LAST_YEAR = 2199
LONGEST = 128  # characters of a frequency

_RATE = re.compile(r"rate\((?P<number>[1-9][0-9]{0,6})(?P<unit>[smhd])\)")
_AT = re.compile(r"at\((?P<time>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(?: (?P<zone>[A-Za-z0-9_+:/-]+))?\)", re.ASCII)
_GMT = re.compile(r"GMT(?P<sign>[+-])(?P<hours>1[0-4]|[0-9]):(?P<minutes>[0-5][0-9])")
_YEARS = re.compile(r"(?P<first>\d{4})(?:-(?P<last>\d{4}))?(?:/(?P<step>[1-9]\d{0,2}))?", re.ASCII)
_NEAREST = re.compile(r"(?P<day>[1-9]|[12][0-9]|3[01])W")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_TRIES = 400  # days on which the nearest weekday is searched for


class BadFrequency(ValueError):
    """A frequency of no known form, too frequent, or without a time to come; the text says which."""


class Schedule(Protocol):
    """The times at which something runs."""

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time after a moment, in UTC; None if there is none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A fixed interval between starts. The first run is one interval after `since`."""

    every: timedelta
    since: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time after a moment."""
        return self.since + self.every * max(1, (moment - self.since) // self.every + 1)


@dataclass(frozen=True, slots=True)
class At:
    """One time."""

    moment: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the time if it is after a moment, else None."""
        return self.moment if moment < self.moment else None


@dataclass(frozen=True, slots=True)
class Cron:
    """The times at which the clock of a zone matches the six fields, in these years."""

    fields: str
    zone: tzinfo
    years: frozenset[int] | None  # None: every year
    nearest: int | None  # the weekday nearest to this day of the month

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time after a moment."""
        start = moment.astimezone(self.zone)
        for _ in range(_TRIES):
            found = self._next(start)
            if found is None:
                return None
            if self._is_day(found):
                return found.astimezone(UTC)
            day_after = datetime(found.year, found.month, found.day, tzinfo=self.zone) + timedelta(days=1)
            start = day_after - timedelta(seconds=1)
        return None

    def _next(self, start: datetime) -> datetime | None:
        """Return the next time by the fields and the years, without regard to `nearest`."""
        for year in self._years_from(start.year):
            first = datetime(year, 1, 1, tzinfo=self.zone) - timedelta(seconds=1)
            found = next(CronSim(self.fields, max(start, first)), None)
            if found is None or found.year > LAST_YEAR:
                return None
            if self.years is None or found.year in self.years:
                return found
        return None

    def _years_from(self, year: int) -> list[int]:
        return [year] if self.years is None else sorted(each for each in self.years if each >= year)

    def _is_day(self, found: datetime) -> bool:
        return self.nearest is None or found.day == _nearest_weekday(found.year, found.month, self.nearest)


def read_frequency(text: str, *, since: datetime, timeout: timedelta) -> Schedule:
    """Return the schedule that a frequency stands for, from `since` on.

    Args:
        timeout: of the command; its runs must not be closer than that.

    Raises:
        BadFrequency: the frequency has no known form, is too frequent, or has no time to come.
    """
    if len(text) > LONGEST or not text.isprintable():
        raise BadFrequency(f"a frequency has at most {LONGEST} printable characters, {len(text)} were found")
    if text.startswith("rate("):
        return _rate(text, since, timeout)
    return _at(text, since) if text.startswith("at(") else _checked_cron(text, since, timeout)


def _rate(text: str, since: datetime, timeout: timedelta) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None:
        raise BadFrequency("a rate is written rate(5m), with s, m, h or d as its unit")
    every = timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
    if not LEAST_RATE <= every <= MOST_RATE:
        raise BadFrequency("a rate is from 60 seconds to 7 days")
    if every <= timeout:
        raise BadFrequency("a rate must be longer than the timeout of its command")
    return Rate(every, since)


def _at(text: str, since: datetime) -> At:
    found = _AT.fullmatch(text)
    if found is None:
        raise BadFrequency("a time is written at(2026-06-06 13:15:30 Asia/Shanghai)")
    try:
        local = datetime.strptime(found["time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone_of(found["zone"] or "UTC"))
    except ValueError as problem:
        raise BadFrequency(str(problem)) from None
    if local <= since:
        raise BadFrequency("the time has passed")
    return At(local.astimezone(UTC))


def _checked_cron(text: str, since: datetime, timeout: timedelta) -> Cron:
    schedule = read_cron(text)
    least, last = max(LEAST_GAP, timeout), None
    for moment in _first(schedule, since, CHECKED_RUNS):
        if last is not None and moment - last < least:
            raise BadFrequency(
                "runs must be at least 10 seconds apart, and not closer than the timeout of their command"
            )
        last = moment
    if last is None:
        raise BadFrequency("the cron expression has no time to come")
    return schedule


def _first(schedule: Schedule, since: datetime, count: int) -> Iterator[datetime]:
    moment: datetime | None = since
    for _ in range(count):
        moment = schedule.after(moment) if moment is not None else None
        if moment is None:
            return
        yield moment


@lru_cache(maxsize=1000)
def read_cron(text: str) -> Cron:
    """Return the schedule of a cron expression.

    Raises:
        BadFrequency: it is not a cron expression, or its time zone is unknown.
    """
    parts = text.split()
    zone: tzinfo = UTC
    if len(parts) in (7, 8) and not (len(parts) == 7 and _is_years(parts[6])):
        zone = zone_of(parts.pop())
    if len(parts) not in (6, 7):
        raise BadFrequency("a cron expression has 6 or 7 fields, seconds first, and may have a time zone")
    years = _years(parts.pop()) if len(parts) == 7 else None
    nearest = _NEAREST.fullmatch(parts[3].upper())
    day = int(nearest["day"]) if nearest else None
    if day is not None:
        parts[3] = f"{max(1, day - 3)}-{min(31, day + 3)}"
    fields = " ".join("*" if part == "?" else part for part in parts)
    try:
        CronSim(fields, datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as problem:
        raise BadFrequency(f"the cron expression is wrong: {problem}") from None
    return Cron(fields, zone, years, day)


def _is_years(word: str) -> bool:
    return word == "*" or word[:1].isdigit()


def _years(text: str) -> frozenset[int] | None:
    if text == "*":
        return None
    found: set[int] = set()
    for part in text.split(","):
        match = _YEARS.fullmatch(part)
        if match is None:
            raise BadFrequency(f"{part!r} is not a year, a range of years or a step")
        last = int(match["last"] or (LAST_YEAR if match["step"] else match["first"]))
        found.update(range(int(match["first"]), min(last, LAST_YEAR) + 1, int(match["step"] or 1)))
    return frozenset(found)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name, as `GMT+8:00`, or as `UTC`.

    Raises:
        BadFrequency: the zone is unknown. Abbreviations other than UTC are ambiguous and count as unknown.
    """
    offset = _GMT.fullmatch(name)
    if offset is not None:
        away = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"]))
        return timezone(away if offset["sign"] == "+" else -away)
    if name == "UTC":
        return UTC
    try:
        if "/" not in name:
            raise ZoneInfoNotFoundError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadFrequency(
            f"the time zone {name[:64]!r} is unknown; use a name such as Asia/Shanghai, GMT+8:00 or UTC"
        ) from None


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """Return the day from Monday to Friday that is nearest to a day, in the same month. Source: Quartz, `15W`."""
    last = calendar.monthrange(year, month)[1]
    day = min(day, last)
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day
