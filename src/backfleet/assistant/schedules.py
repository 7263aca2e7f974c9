"""Schedules of commands: `rate(5m)`, `at(2026-06-06 13:15:30 Asia/Shanghai)`, `0 0 12 ? * WED 2026 UTC`.

A cron expression has the seconds first and may have a year and a time zone. `?`, `L`, `W` and `#` mean what they mean
in Quartz; days of the week count from Sunday = 0 (7 is Sunday too). What becomes of local times that a clock skips or
shows twice: `Cron`, and docs/decisions/0012-commands-of-callers.md.

Source: ECS 2014-05-26, "Start scheduled or automatic Cloud Assistant tasks".
"""

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from backfleet.values import value_object

LEAST_RATE, MOST_RATE = timedelta(seconds=60), timedelta(days=7)
LEAST_GAP = timedelta(seconds=10)  # between two runs by cron
CHECKED_RUNS = 20  # runs by cron whose gaps are checked
LAST_YEAR = 2199
LONGEST = 128  # characters of a frequency

_NUMBER = re.compile(r"[0-9]{1,4}")
_STEPPED = re.compile(r"\*|(?:[0-9]{1,2}|[A-Za-z]{3})(?:-(?:[0-9]{1,2}|[A-Za-z]{3}))?")
_STEPS: Final = {
    "seconds": 59,
    "minutes": 59,
    "hours": 23,
    "days of the month": 31,
    "months": 12,
    "days of the week": 7,
}
_RATE = re.compile(r"rate\((?P<number>[1-9][0-9]{0,6})(?P<unit>[smhd])\)")
_AT = re.compile(r"at\((?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?: (?P<zone>[A-Za-z0-9_+:/-]+))?\)", re.ASCII)
_GMT = re.compile(r"GMT(?P<sign>[+-])(?P<hours>1[0-4]|[0-9]):(?P<minutes>[0-5][0-9])")
_YEARS = re.compile(r"(?P<first>[0-9]{4})(?:-(?P<last>[0-9]{4}))?(?:/(?P<step>[1-9][0-9]{0,2}))?")
_NEAREST = re.compile(r"(?P<day>[1-9]|[12][0-9]|3[01])W")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_TRIES = 800  # days on which the nearest weekday is searched for; times each 10 s that a clock shows twice, for 2 h


class BadFrequency(ValueError):
    """A frequency of no known form, too frequent, or without a time to come; the text says which."""


class Schedule(Protocol):
    """The times at which something runs."""

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time after a moment, in UTC; None if there is none."""


@value_object
class Rate:
    """A fixed interval between starts. The first run is one interval after `since`."""

    every: timedelta
    since: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time after a moment."""
        return self.since + self.every * max(1, (moment - self.since) // self.every + 1)


@value_object
class At:
    """One time."""

    moment: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the time if it is after a moment, else None."""
        return self.moment if moment < self.moment else None


@value_object
class Cron:
    """The times at which the clock of a zone matches the six fields, in these years.

    Every hour means by elapsed time: an hour that a clock skips is skipped, and one that it shows twice counts twice.
    Other hours are times of the day, once each: at the end of the gap if the clock skips them, and the first time if it
    shows them twice.
    """

    fields: str
    zone: tzinfo
    years: frozenset[int] | None  # None: every year
    nearest: int | None  # the weekday nearest to this day of the month
    every_hour: bool

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time after a moment."""
        start = moment.astimezone(self.zone)
        if not self.every_hour:
            start = start.replace(tzinfo=None, fold=0)
        for _ in range(_TRIES):
            found = self._next(start)
            if found is None:
                return None
            at = self._real(found)
            if not self._is_day(found):
                day_after = datetime(found.year, found.month, found.day, tzinfo=found.tzinfo) + timedelta(days=1)
                start = day_after - timedelta(seconds=1)
            elif at > moment:
                return at
            else:
                start = found  # shown twice, and this was the first time
        return None

    def _next(self, start: datetime) -> datetime | None:
        """Return the next time by the fields and the years, without regard to `nearest`."""
        for year in self._years_from(start.year):
            first = datetime(year, 1, 1, tzinfo=start.tzinfo) - timedelta(seconds=1)
            found = next(CronSim(self.fields, max(start, first)), None)
            if found is None or found.year > LAST_YEAR:
                return None
            if self.years is None or found.year in self.years:
                return found
        return None

    def _real(self, found: datetime) -> datetime:
        """Return the moment of a time, in UTC. One that the clock skips is the end of the gap."""
        if found.tzinfo is None:
            found = found.replace(tzinfo=self.zone)
            if _is_skipped(found):
                found = found.replace(second=0)
            while _is_skipped(found):
                found += timedelta(minutes=1)
        return found.astimezone(UTC)

    def _years_from(self, year: int) -> list[int]:
        return [year] if self.years is None else sorted(each for each in self.years if each >= year)

    def _is_day(self, found: datetime) -> bool:
        return self.nearest is None or found.day == _nearest_weekday(found.year, found.month, self.nearest)


@value_object
class Either:
    """The times of two schedules."""

    one: Cron
    other: Cron

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time of either after a moment."""
        return min(filter(None, (self.one.after(moment), self.other.after(moment))), default=None)


def _is_skipped(local: datetime) -> bool:
    """Return whether the clock of a zone never shows a time."""
    shown = local.astimezone(UTC).astimezone(local.tzinfo)
    return shown.replace(tzinfo=None) != local.replace(tzinfo=None)


def read_frequency(text: str, *, since: datetime, timeout: timedelta, is_new: bool = True) -> Schedule:
    """Return the schedule that a frequency stands for, from `since` on.

    Args:
        timeout: of the command; its runs must not be closer than that.
        is_new: Whether it comes from a caller. What an earlier version stored goes on, also if it is refused by now.

    Raises:
        BadFrequency: the frequency has no known form, is too frequent, or has no time to come.
    """
    if len(text) > LONGEST:
        raise BadFrequency(f"a frequency has at most {LONGEST} characters, {len(text)} were found")
    unprintable = next((each for each in text if not each.isprintable() and each != "\t"), None)
    if unprintable is not None:
        raise BadFrequency(f"a frequency has printable characters only, {unprintable!r} was found")
    if text.startswith("rate("):
        return _rate(text, since, timeout)
    if text.startswith("at("):
        return _at(text, since, is_new=is_new)
    if is_new:
        _check_steps(text.split()[:6])
    return _checked_cron(text, since, timeout)


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


def _at(text: str, since: datetime, *, is_new: bool) -> At:
    found = _AT.fullmatch(text)
    if found is None:
        raise BadFrequency("a time is written at(2026-06-06 13:15:30 Asia/Shanghai)")
    try:
        local = datetime.strptime(found["time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone_of(found["zone"] or "UTC"))
    except ValueError as problem:
        raise BadFrequency(str(problem)) from None
    if is_new and not since.year - 1 <= local.year <= LAST_YEAR:  # no zone is reckoned with at the ends of the calendar
        raise BadFrequency(
            "the time has passed" if local.year < since.year else f"a time is not after the year {LAST_YEAR}"
        )
    if is_new and _is_skipped(local):
        raise BadFrequency(f"the clock of {found['zone']} skips {found['time']}; choose a time that it shows")
    if local <= since:
        raise BadFrequency("the time has passed")
    return At(local.astimezone(UTC))


def _checked_cron(text: str, since: datetime, timeout: timedelta) -> Schedule:
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
def read_cron(text: str) -> Schedule:
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
    parts = ["*" if part == "?" else part.upper() for part in parts]
    nearest = _NEAREST.fullmatch(parts[3])
    if nearest is None:
        return _cron(parts, zone, years, None)
    day = int(nearest["day"])
    around = _cron([*parts[:3], f"{max(1, day - 3)}-{min(31, day + 3)}", parts[4], "*"], zone, years, day)
    # A day of the month and one of the week mean both, as in every cron: what is named by either.
    weekday = parts[5]
    return around if weekday == "*" else Either(around, _cron([*parts[:3], "*", *parts[4:]], zone, years, None))


def _cron(parts: list[str], zone: tzinfo, years: frozenset[int] | None, nearest: int | None) -> Cron:
    fields = " ".join(parts)
    try:
        read = CronSim(fields, datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as problem:
        raise BadFrequency(f"the cron expression is wrong: {problem}") from None
    return Cron(fields, zone, years, nearest, every_hour=len(read.hours) == 24)


def _check_steps(parts: list[str]) -> None:
    """Raise BadFrequency for a step that would have no effect: it exceeds its field, or is one of a word."""
    for part, (name, most) in zip(parts, _STEPS.items(), strict=False):
        for term in part.split(","):
            start, slash, step = term.partition("/")
            if slash and (not _NUMBER.fullmatch(step) or not 1 <= int(step) <= most):
                raise BadFrequency(f"{term!r} is not a step of the {name}: a step is from 1 to {most}")
            if slash and not _STEPPED.fullmatch(start):
                raise BadFrequency(f"{term!r} cannot be: a step begins with *, a number or a range")


def _is_years(word: str) -> bool:
    return word == "*" or word[:1] in tuple("0123456789")


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
