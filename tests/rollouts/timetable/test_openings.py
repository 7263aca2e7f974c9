"""Windows and freezes in real time zones, beside an independent reading of the clocks."""

# ruff: noqa: DTZ001 - times as walls show them are what this is about

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfleet.rollouts.policy import Window
from backfleet.rollouts.timetable import Timetable, as_calendar, read_calendar

MINUTE = timedelta(minutes=1)
STEP = 15 * MINUTE  # all offsets of the zones are whole quarters of an hour
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "America/St_Johns",
    "Pacific/Chatham", "Africa/Casablanca", "Asia/Tokyo",
)  # fmt: skip


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def timetable(
    *times: str, zone: str = "UTC", freezes: tuple[tuple[str, str, str], ...] = (), default: str = "UTC"
) -> Timetable:
    calendars = {"holidays": read_calendar(as_calendar(freezes))} if freezes else {}
    window = Window(times=times, time_zone=zone, default_time_zone=default, calendars=tuple(calendars))
    return Timetable(window, calendars)


def open_minutes(
    found: Timetable, zone: str, first: datetime, last: datetime, step: timedelta = MINUTE
) -> Iterator[datetime]:
    """Yield the minutes at which it is open, by walking from change to change."""
    now = first
    while now < last:
        opening = found.opening(zone, now)
        until = min(opening.until or last, last)
        assert until > now, "the walk goes on"
        if opening.is_open:
            while now < until:
                yield now
                now += step
        now = until


def clock_reads(zone: str, shows: Callable[[datetime], bool], first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the minutes at which the clocks of a zone show such a time."""
    place, now = ZoneInfo(zone), first
    while now < last:
        if shows(now.astimezone(place)):
            yield now
        now += STEP


@pytest.mark.parametrize("zone", ZONES)
def test_a_night_window_is_what_the_clocks_show_for_two_years(zone: str) -> None:
    """Its edges lie in no changed hour of these zones, so that clocks alone tell; midnight and year ends are in it."""
    first, last = at("2027-01-01"), at("2029-01-01")  # with 29 February 2028
    found = timetable("Mon-Thu 22:00-05:00", zone="host")

    def shows(here: datetime) -> bool:
        return (here.weekday() < 4 and here.hour >= 22) or (0 < here.weekday() < 5 and here.hour < 5)

    assert list(open_minutes(found, zone, first, last, STEP)) == list(clock_reads(zone, shows, first, last))


@pytest.mark.parametrize(
    ("zone", "times", "first", "last"),
    [
        # The clocks go from 02:00 to 03:00, and from 03:00 back to 02:00.
        ("Europe/Berlin", "02:30-05:00", "2027-03-28T01:00", "2027-03-28T03:00"),
        ("Europe/Berlin", "00:00-02:30", "2027-03-27T23:00", "2027-03-28T01:00"),
        ("Europe/Berlin", "02:15-02:45", None, None),  # in the gap as a whole
        ("Europe/Berlin", "01:00-02:30", "2027-10-30T23:00", "2027-10-31T00:30"),  # the first 02:30
        ("Europe/Berlin", "02:30-05:00", "2027-10-31T01:30", "2027-10-31T04:00"),  # the second 02:30
        ("Europe/Berlin", "02:15-02:45", "2027-10-31T00:15", "2027-10-31T00:45"),  # one of two, not both
        ("Europe/Berlin", "02:00-03:00", "2027-10-31T01:00", "2027-10-31T02:00"),
        ("America/New_York", "01:30-04:00", "2027-11-07T06:30", "2027-11-07T09:00"),
        # Half an hour: from 02:00 to 02:30, and back to 01:30.
        ("Australia/Lord_Howe", "02:15-05:00", "2027-10-02T15:30", "2027-10-02T18:00"),
        ("Australia/Lord_Howe", "01:45-05:00", "2027-04-03T15:15", "2027-04-03T18:30"),
        # Samoa had no 30 December 2011.
        ("Pacific/Apia", "Fri 10:00-12:00", None, None),
        ("Pacific/Apia", "Thu 22:00-05:00", "2011-12-30T08:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "Fri 22:00-05:00", "2011-12-30T10:00", "2011-12-30T15:00"),
    ],
)
def test_an_edge_in_a_changed_hour_gives_the_shorter_window(
    zone: str, times: str, first: str | None, last: str | None
) -> None:
    """An edge in the gap moves to its end; one that comes twice counts so that the window is the shorter."""
    middle = at(first) if first else at("2027-03-28T00:30" if zone == "Europe/Berlin" else "2011-12-30T10:00")
    found = timetable(times, zone=zone)
    around = list(open_minutes(found, "", middle - timedelta(hours=3), middle + timedelta(hours=8)))
    if first is None or last is None:
        assert around == []
        return
    assert (around[0], around[-1] + MINUTE) == (at(first), at(last))
    assert len(around) == (at(last) - at(first)) // MINUTE


@pytest.mark.parametrize(
    ("zone", "begin", "end", "first", "last"),
    [
        ("Europe/Berlin", "2027-10-31T02:30", "2027-10-31T05:00", "2027-10-31T00:30", "2027-10-31T04:00"),
        ("Europe/Berlin", "2027-10-31T00:00", "2027-10-31T02:30", "2027-10-30T22:00", "2027-10-31T01:30"),
        ("Europe/Berlin", "2027-03-28T02:30", "2027-03-28T05:00", "2027-03-28T01:00", "2027-03-28T03:00"),
        ("Europe/Berlin", "2027-10-31", "2027-11-01", "2027-10-30T22:00", "2027-10-31T23:00"),  # 25 hours
        ("America/New_York", "2027-12-31", "2028-01-02", "2027-12-31T05:00", "2028-01-02T05:00"),
        ("Asia/Kolkata", "2028-02-29", "2028-03-01", "2028-02-28T18:30", "2028-02-29T18:30"),
        ("Asia/Kolkata", "2027-06-01T10:00+02:00", "2027-06-01T12:00+02:00", "2027-06-01T08:00", "2027-06-01T10:00"),
    ],
)
def test_a_freeze_is_the_longer_of_what_it_can_mean(zone: str, begin: str, end: str, first: str, last: str) -> None:
    """Days and times without a zone are those of each host; the policy's own zone does not matter."""
    found = timetable(zone="UTC", freezes=(("stocktaking", begin, end),))
    before, during = found.opening(zone, at(first) - MINUTE), found.opening(zone, at(first))
    assert (before.is_open, before.until) == (True, at(first))
    assert (during.is_open, during.kind, during.since, during.until) == (False, "freeze", at(first), at(last))
    assert "stocktaking" in during.why
    assert found.opening(zone, at(last)).is_open


def test_a_host_without_a_zone_has_the_policys() -> None:
    """Also one whose agent reports a zone that nobody knows."""
    found = timetable("09:00-10:00", zone="host", default="Asia/Tokyo")
    for zone in ("", "Mars/Olympus"):
        assert found.opening(zone, at("2027-06-01T00:30")).is_open
    assert not found.opening("Europe/Berlin", at("2027-06-01T00:30")).is_open
    assert found.opening("Europe/Berlin", at("2027-06-01T07:30")).is_open


def test_a_named_zone_is_that_of_every_host() -> None:
    """Whatever their agents report."""
    found = timetable("09:00-10:00", zone="Asia/Tokyo")
    assert found.opening("Europe/Berlin", at("2027-06-01T00:30")).is_open


def test_no_window_and_no_calendar_is_always_open() -> None:
    """For good."""
    assert timetable().opening("Europe/Berlin", at("2027-06-01")).until is None


def test_windows_that_touch_are_one() -> None:
    """What fits into both together fits."""
    found = timetable("Mon 22:00-24:00", "Tue 00:00-05:00", "Tue 04:00-06:00")
    opening = found.opening("", at("2027-06-08T01:00"))  # a Tuesday
    assert (opening.since, opening.until) == (at("2027-06-07T22:00"), at("2027-06-08T06:00"))


def test_a_closed_window_says_when_it_opens() -> None:
    """Past a freeze as well."""
    found = timetable("Mon-Fri 22:00-23:00", freezes=(("audit", "2027-06-08", "2027-06-09"),))
    opening = found.opening("", at("2027-06-07T23:30"))
    assert (opening.is_open, opening.kind, opening.until) == (False, "window", at("2027-06-09T22:00"))
    assert "it opens 2027-06-09 22:00 UTC" in opening.why
    assert found.opening("", at("2027-06-08T12:00")).kind == "freeze"


@pytest.mark.parametrize(
    ("times", "first", "last"),
    [
        ("FREQ=MONTHLY;BYDAY=2TU 22:00-05:00", "2027-06-08T22:00", "2027-06-09T05:00"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=-1 22:00-23:00", "2027-02-28T22:00", "2027-02-28T23:00"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29 10:00-12:00", "2028-02-29T10:00", "2028-02-29T12:00"),
        ("DTSTART:20270104 FREQ=WEEKLY;INTERVAL=2 10:00-12:00", "2027-06-07T10:00", "2027-06-07T12:00"),
        ("Fri-Mon 10:00-12:00, 14:00-15:00", "2027-06-07T14:00", "2027-06-07T15:00"),
        ("saturday 00:00-24:00", "2027-06-05T00:00", "2027-06-06T00:00"),
        ("daily 23:30-00:30", "2027-12-31T23:30", "2028-01-01T00:30"),
    ],
)
def test_times_can_be_recurrences_and_lists(times: str, first: str, last: str) -> None:
    """As RFC 5545 writes them, or short."""
    opening = timetable(times).opening("", at(first))
    assert (opening.is_open, opening.since, opening.until) == (True, at(first), at(last))


def test_a_fortnightly_window_is_closed_in_the_week_between() -> None:
    """However long ago it began."""
    found = timetable("DTSTART:19700105 FREQ=WEEKLY;INTERVAL=2 10:00-12:00")
    opens = [found.opening("", at("2027-06-07T10:00") + timedelta(weeks=week)).is_open for week in range(6)]
    assert opens in ([True, False] * 3, [False, True] * 3)


def test_a_window_that_never_opens_long_enough_is_found() -> None:
    """In one piece, and before the deadline."""
    begin, end = at("2027-06-07"), at("2027-06-10")
    for times, needs, expected in (
        (("Tue 10:00-10:30",), 30, True),
        (("Tue 10:00-10:30",), 31, False),
        (("Sat 10:00-18:00",), 1, False),
        (("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30 10:00-12:00",), 1, False),
    ):
        assert timetable(*times).opens_for("", timedelta(minutes=needs), begin, end) is expected, times


def test_a_calendar_that_is_missing_freezes_everything() -> None:
    """Nobody can know what it held."""
    found = Timetable(Window(calendars=("gone",)), {"gone": None}).opening("", at("2027-06-07"))
    assert (found.is_open, found.kind) == (False, "freeze")


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


TIMES = st.builds(
    lambda day, begin, length: f"{day} {_clock(begin)}-{_clock(begin + length)}",
    st.sampled_from(["Mon", "Tue-Thu", "Fri-Sun", "daily"]),
    st.integers(0, 1439),
    st.integers(1, 1439),
)
MOMENTS = st.datetimes(datetime(2027, 3, 20), datetime(2027, 4, 5))
FREEZES = st.builds(
    lambda begin, length: ("x", begin.isoformat(), (begin + timedelta(minutes=length)).isoformat()),
    MOMENTS.map(lambda each: each.replace(second=0, microsecond=0)),
    st.integers(1, 5000),
)


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(TIMES, max_size=3),
    freezes=st.lists(FREEZES, max_size=3),
    zone=st.sampled_from(ZONES),
    now=st.datetimes(datetime(2027, 3, 22), datetime(2027, 4, 3), timezones=st.just(UTC)),
)
def test_an_opening_holds_from_its_begin_to_its_end(
    times: list[str], freezes: list[tuple[str, str, str]], zone: str, now: datetime
) -> None:
    """It is the same within, and another after it; a second timetable that is asked elsewhere first agrees."""
    found = timetable(*times, zone="host", freezes=tuple(freezes))
    opening = found.opening(zone, now)
    if opening.until is None:
        return
    assert opening.until > now
    assert opening.since is None or opening.since <= now
    middle = now + (opening.until - now) / 2
    other = timetable(*times, zone="host", freezes=tuple(freezes))
    if opening.is_open:
        assert other.opening(zone, middle).is_open
        assert not other.opening(zone, opening.until).is_open or opening.until > now + timedelta(days=100)
    else:
        assert not other.opening(zone, middle).is_open
        assert other.opening(zone, opening.until).is_open or opening.until > now + timedelta(days=100)
