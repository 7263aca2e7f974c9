"""When a notification is sent: quiet hours by the clock of their zone, and the pauses between tries."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.notifications.timing import PAUSES, next_try, read_quiet_hours

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("hours", "now", "sent"),
    [
        pytest.param("22:00-07:00", "2026-03-01T21:59", "2026-03-01T21:59", id="before they begin"),
        pytest.param("22:00-07:00", "2026-03-01T22:00", "2026-03-02T07:00", id="when they begin"),
        pytest.param("22:00-07:00", "2026-03-01T23:30", "2026-03-02T07:00", id="before midnight"),
        pytest.param("22:00-07:00", "2026-03-02T06:59", "2026-03-02T07:00", id="after midnight"),
        pytest.param("22:00-07:00", "2026-03-02T07:00", "2026-03-02T07:00", id="when they end"),
        pytest.param("12:00-13:00", "2026-03-01T12:30", "2026-03-01T13:00", id="within one day"),
        pytest.param("22:00-07:00 Europe/Berlin", "2026-03-01T21:30", "2026-03-02T06:00", id="in a zone"),
        pytest.param("01:00-02:30 Europe/Berlin", "2026-03-29T00:30", "2026-03-29T01:30", id="an end that DST skips"),
        pytest.param("01:00-02:30 Europe/Berlin", "2026-10-24T23:30", "2026-10-25T00:30", id="an end that comes twice"),
        pytest.param("00:00-23:59 Asia/Kathmandu", "2026-02-28T18:20", "2026-03-01T18:14", id="an odd zone"),
    ],
)
def test_a_message_waits_for_the_end_of_the_quiet_hours(hours: str, now: str, sent: str) -> None:
    found = read_quiet_hours(hours)
    assert found is not None
    assert found.over_at(datetime.fromisoformat(now + "+00:00")) == datetime.fromisoformat(sent + "+00:00")


@given(now=MOMENTS, begin=st.integers(0, 1439), end=st.integers(0, 1439))
def test_a_message_is_never_sent_early_and_never_a_day_late(now: datetime, begin: int, end: int) -> None:
    if begin == end:
        return
    hours = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02} America/New_York"
    found = read_quiet_hours(hours)
    assert found is not None
    sent = found.over_at(now)
    assert now <= sent <= now + timedelta(hours=25)
    assert found.over_at(sent) <= sent + timedelta(hours=1), "an hour that comes twice"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("22-7", "is not of the form"),
        ("22:00-07:00 Berlin", "is not the name of a time zone"),
        ("22:00-07:00 ../../etc/passwd", "is not of the form"),
        ("24:00-07:00", "has a time that no day has"),
        ("07:00-07:00", "always or never"),
        ("\uff12\uff12:00-07:00", "is not of the form"),
    ],
)
def test_hours_that_cannot_be_used_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_quiet_hours(text)


def test_no_hours_are_no_hours() -> None:
    assert read_quiet_hours("") is None


def test_a_message_is_tried_for_two_days_with_longer_and_longer_pauses() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    pauses = [next_try(tries, now) for tries in range(1, len(PAUSES) + 2)]
    assert pauses[-1] is None
    assert pauses[:-1] == sorted(pauses[:-1], key=lambda at: at or now)
    assert timedelta(days=1) < sum(PAUSES, timedelta()) < timedelta(days=3)
