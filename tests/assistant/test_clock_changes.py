"""Schedules where clocks change: real zones, two years, each day and each hour compared with the zone itself."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from backfleet.assistant.schedules import read_frequency

FIRST, DAYS = date(2026, 1, 1), 731
ZONES = [
    "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca",
    "Antarctica/Troll", "Asia/Beirut", "Asia/Shanghai", "Asia/Kolkata", "Pacific/Chatham",
]  # fmt: skip
MINUTE = timedelta(minutes=1)


def runs(frequency: str, zone: str, timeout: timedelta = MINUTE) -> list[datetime]:
    """Return every run of two years of the zone, in UTC."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(seconds=1)
    end = start + timedelta(days=DAYS)
    schedule = read_frequency(f"{frequency} {zone}", since=start, timeout=timeout)
    found, moment = [], schedule.after(start)
    while moment is not None and moment <= end:
        found.append(moment)
        moment = schedule.after(moment)
    assert found == sorted({*found})
    return found


def end_of_gap(day: date, hour: int, minute: int, zone: ZoneInfo) -> datetime:
    """Return the first time from this one on that the clock shows, in UTC, by looking at each minute."""
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    while local.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != local.replace(tzinfo=None):
        local += MINUTE
    return local.astimezone(UTC)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("hour", "minute"), [(0, 15), (2, 30)])
def test_a_time_of_the_day_runs_once_on_every_day(zone: str, hour: int, minute: int) -> None:
    """On the day on which the clock skips it when the gap ends; where the clock shows it twice, the first time."""
    days = [FIRST + timedelta(days=number) for number in range(DAYS)]
    wanted = [end_of_gap(day, hour, minute, ZoneInfo(zone)) for day in days]
    assert runs(f"0 {minute} {hour} * * ?", zone) == wanted


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("Europe/Berlin", "*"), ("America/Santiago", "0-23"), ("Africa/Cairo", "0/1"), ("Australia/Lord_Howe", "?")],
)
def test_every_hour_is_by_elapsed_time(zone: str, hours: str) -> None:
    """Neither a gap nor a second run where the clock changes by whole hours; by half an hour, what the clock shows."""
    found = runs(f"0 0 {hours} * * ?", zone, timedelta(seconds=10))
    gaps = Counter(later - earlier for earlier, later in pairwise(found))
    hour = timedelta(hours=1)
    odd = {hour * 3 / 2} if zone == "Australia/Lord_Howe" else set()
    assert gaps.keys() - {hour} == odd
    assert sum(gaps[each] for each in odd) <= 4


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Antarctica/Troll", "Asia/Beirut"])
def test_several_times_of_the_day_are_never_doubled(zone: str) -> None:
    """Those that fall into one gap are one run; those that the clock shows twice run the first time only."""
    local = Counter(moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in runs("0 0/20 0-4 * * ?", zone))
    assert set(local.values()) == {1}
    by_day = Counter(moment.date() for moment in local)
    assert len(by_day) == DAYS
    assert min(by_day.values()) >= 15 - 6
    assert max(by_day.values()) == 15


def test_seconds_do_not_change_it() -> None:
    """A time with seconds in the gap runs when the gap ends, once."""
    spring = [moment for moment in runs("0/20 30 2 ? 3 SUN", "Europe/Berlin", timedelta(seconds=10))
              if moment.date() == date(2026, 3, 29)]  # fmt: skip
    assert spring == [datetime(2026, 3, 29, 1, tzinfo=UTC)]
    autumn = [moment for moment in runs("20 30 2 * * ?", "Europe/Berlin") if moment.date() == date(2026, 10, 25)]
    assert autumn == [datetime(2026, 10, 25, 0, 30, 20, tzinfo=UTC)]
