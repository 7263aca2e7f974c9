"""Schedules of commands: every form, in every time zone, and what is refused."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.assistant.schedules import BadFrequency, Rate, read_cron, read_frequency

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)  # a Friday
MINUTE = timedelta(seconds=60)


def times(frequency: str, count: int = 3, since: datetime = NOW, timeout: timedelta = MINUTE) -> list[str]:
    schedule = read_frequency(frequency, since=since, timeout=timeout)
    found, moment = [], schedule.after(since)
    while moment is not None and len(found) < count:
        assert moment.tzinfo is UTC
        found.append(moment.strftime("%Y-%m-%d %H:%M:%S"))
        moment = schedule.after(moment)
    return found


@pytest.mark.parametrize(
    ("frequency", "wanted"),
    [
        pytest.param("rate(90s)", ["2026-01-02 03:05:35", "2026-01-02 03:07:05"], id="seconds"),
        pytest.param("rate(5m)", ["2026-01-02 03:09:05", "2026-01-02 03:14:05"], id="minutes"),
        pytest.param("rate(7d)", ["2026-01-09 03:04:05", "2026-01-16 03:04:05"], id="days"),
        pytest.param("at(2026-06-06 13:15:30)", ["2026-06-06 13:15:30"], id="a time, in UTC"),
        pytest.param("at(2026-06-06 13:15:30 Asia/Shanghai)", ["2026-06-06 05:15:30"], id="a time of a zone"),
        pytest.param("at(2026-06-06 13:15:30 GMT-7:00)", ["2026-06-06 20:15:30"], id="a time of an offset"),
        pytest.param("0 0 12 * * ?", ["2026-01-02 12:00:00", "2026-01-03 12:00:00"], id="each noon"),
        pytest.param("0 0/20 * * * ?", ["2026-01-02 03:20:00", "2026-01-02 03:40:00"], id="every 20 minutes"),
        pytest.param("0 0 12 ? * WED", ["2026-01-07 12:00:00", "2026-01-14 12:00:00"], id="Wednesdays"),
        pytest.param("0 0 12 ? * 0", ["2026-01-04 12:00:00", "2026-01-11 12:00:00"], id="Sundays are 0"),
        pytest.param("0 0 12 ? * 7", ["2026-01-04 12:00:00", "2026-01-11 12:00:00"], id="and 7"),
        pytest.param("0 0 12 ? * MON-FRI Asia/Shanghai", ["2026-01-02 04:00:00", "2026-01-05 04:00:00"], id="workdays"),
        pytest.param("0 0 12 L * ?", ["2026-01-31 12:00:00", "2026-02-28 12:00:00"], id="the last day"),
        pytest.param("0 0 12 ? * 5L", ["2026-01-30 12:00:00", "2026-02-27 12:00:00"], id="the last Friday"),
        pytest.param("0 0 12 ? * 2#1", ["2026-01-06 12:00:00", "2026-02-03 12:00:00"], id="the first Tuesday"),
        pytest.param("0 0 12 15W * ?", ["2026-01-15 12:00:00", "2026-02-16 12:00:00"], id="the nearest weekday"),
        pytest.param("0 0 12 1W 8 ?", ["2026-08-03 12:00:00", "2027-08-02 12:00:00"], id="within its month"),
        pytest.param("0 0 12 1W 1 MON", ["2026-01-05 12:00:00", "2026-01-12 12:00:00"], id="that day, and Mondays"),
        pytest.param("0 0 12 1W 3 TUE", ["2026-03-02 12:00:00", "2026-03-03 12:00:00"], id="W or a weekday"),
        pytest.param("0 0 12 5 1 WED", ["2026-01-05 12:00:00", "2026-01-07 12:00:00"], id="a day or a weekday"),
        pytest.param("0\t0 12\t* *  ?", ["2026-01-02 12:00:00", "2026-01-03 12:00:00"], id="tabs between fields"),
        pytest.param("0 0 12 1 1 ? 2027", ["2027-01-01 12:00:00"], id="one year"),
        pytest.param("0 0 12 1 1 ? 2027-2028 GMT+8:00", ["2027-01-01 04:00:00", "2028-01-01 04:00:00"], id="years"),
        pytest.param("0 0 12 1 1 ? 2027/5 UTC", ["2027-01-01 12:00:00", "2032-01-01 12:00:00"], id="every fifth year"),
    ],
)
def test_the_first_times_of_every_form(frequency: str, wanted: list[str]) -> None:
    """In UTC, after now."""
    assert times(frequency, len(wanted)) == wanted


@pytest.mark.parametrize(
    "frequency",
    [
        "", "rate", "rate()", "rate(5)", "rate(0m)", "rate(05m)", "rate(5w)", "rate(-5m)", "rate(59s)", "rate(8d)",
        "rate(60s)", "at()", "at(2026-01-02)", "at(2026-01-02 03:04:05)", "at(2026-13-01 00:00:00)",
        "at(2027-01-01 00:00:00 Mars/Base)", "at(2027-01-01 00:00:00 CST)", "at(2027-01-01 00:00:00 GMT+08:00)",
        "* * * * *", "* * * * * ?", "0/5 * * * * ?", "0,5 0 12 * * ?", "0 0/1 * * * ? x", "0 0 12 * * ? 1999",
        "0 0 12 30 2 ?", "0 0 25 * * ?", "60 0 12 * * ?", "0 0 12 32 * ?", "0 0 12 * 13 ?", "0 0 12 * * ? CST",
        "0 0 12 * * ? ../../etc/passwd", "0 0 12 * * ? 2027 UTC UTC", "0 0 12 0W * ?", "0 0 12 ? * 8", "x" * 200,
        "0 0 12 * * ? 2027-x", "\0 0 12 * * ?", "0 0 12\n* * ?", "rate(5m)\t", "at(9999-12-31 23:59:59 GMT-7:00)",
        "at(9999-12-31 23:59:59 America/New_York)", "at(0001-01-01 00:00:00 GMT+14:00)", "at(2200-01-01 00:00:00)",
        "at(2026-03-29 02:30:00 Europe/Berlin)", "0 0/60 * * * ?", "0 0 */24 * * ?", "0 0 12 L/2 * ?",
        "0 0 12 15W/2 * ?", "0 0 12 ? * MON#1/2", "0 0 12 ? 1/13 *", "0 0 12 1W,15W * ?", "rate(\uff15m)",
        "at(\uff12\uff10\uff12\uff17-01-01 00:00:00)", "0 0 12 * * ? \uff12\uff10\uff12\uff17",
    ],
)  # fmt: skip
def test_a_bad_frequency_is_refused(frequency: str) -> None:
    """It is malformed, too often, too rare, in the past, never, or in an unknown time zone."""
    with pytest.raises(BadFrequency):
        read_frequency(frequency, since=NOW, timeout=MINUTE)


@pytest.mark.parametrize(
    ("frequency", "words"),
    [
        ("\0 0 12 * * ?", "printable characters only, '\\x00'"),
        ("0 0 12 * * ?" + " " * 120, "at most 128 characters, 132 were found"),
        ("at(9999-12-31 23:59:59 Asia/Shanghai)", "not after the year 2199"),
        ("at(2026-03-29 02:30:00 Europe/Berlin)", "the clock of Europe/Berlin skips 2026-03-29 02:30:00"),
        ("0 0/90 * * * ?", "'0/90' is not a step of the minutes: a step is from 1 to 59"),
    ],
)
def test_a_refusal_says_what_is_wrong(frequency: str, words: str) -> None:
    """With what was found."""
    with pytest.raises(BadFrequency, match=re.escape(words)):
        read_frequency(frequency, since=NOW, timeout=MINUTE)


@pytest.mark.parametrize(
    "frequency",
    ["0 0/90 * * * ?", "0 0 12 L/2 * ?", "at(2026-03-29 02:30:00 Europe/Berlin)", "at(9000-01-01 00:00:00)"],
)
def test_what_an_earlier_version_accepted_goes_on(frequency: str) -> None:
    """Rules that were added later are for new commands."""
    assert read_frequency(frequency, since=NOW, timeout=MINUTE, is_new=False).after(NOW) is not None


def test_runs_are_at_least_a_timeout_apart() -> None:
    """By cron a run each minute with a timeout of a minute is fine; a rate must be longer."""
    assert times("0 * * * * ?", 1)
    with pytest.raises(BadFrequency):
        times("0 * * * * ?", timeout=timedelta(seconds=61))
    with pytest.raises(BadFrequency):
        times("rate(5m)", timeout=timedelta(minutes=5))


@given(
    every=st.integers(60, 7 * 86_400),
    after=st.integers(-1000, 10**8),
    since=st.integers(0, 10**9),
)
def test_a_rate_never_drifts(every: int, after: int, since: int) -> None:
    """The next time is a whole number of intervals after the start, and at most one interval away."""
    start = NOW + timedelta(seconds=since)
    schedule, moment = Rate(timedelta(seconds=every), start), start + timedelta(seconds=after)
    found = schedule.after(moment)
    assert found is not None
    assert found > moment or found == start + schedule.every
    assert found - max(moment, start) <= schedule.every
    assert (found - start) % schedule.every == timedelta(0)
    assert found > start


@given(minute=st.integers(0, 59), hour=st.integers(0, 23), day=st.integers(1, 28), after=st.integers(0, 10**8))
def test_the_next_cron_time_is_in_the_future(minute: int, hour: int, day: int, after: int) -> None:
    """It matches its fields."""
    moment = NOW + timedelta(seconds=after)
    found = read_cron(f"0 {minute} {hour} {day} * ?").after(moment)
    assert found is not None
    assert moment < found <= moment + timedelta(days=32)
    assert (found.minute, found.hour, found.day, found.second) == (minute, hour, day, 0)
