"""Calendars: what of an iCalendar file freezes hosts, and what is refused."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from backfleet.rollouts.policy import Window
from backfleet.rollouts.timetable import LONGEST_CALENDAR, CalendarRefused, Timetable, as_calendar, read_calendar


def ics(*events: str, more: str = "") -> str:
    """Return a calendar of events, each given as lines between BEGIN and END."""
    written = "".join(f"BEGIN:VEVENT\nUID:{at}\n{event}\nEND:VEVENT\n" for at, event in enumerate(events))
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\n{more}{written}END:VCALENDAR\n"


def is_frozen(text: str, moment: str, zone: str = "") -> bool:
    found = Timetable(Window(calendars=("c",)), {"c": read_calendar(text)})
    return not found.opening(zone, datetime.fromisoformat(moment).replace(tzinfo=UTC)).is_open


CHRISTMAS = "SUMMARY:Christmas\nDTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227"


@pytest.mark.parametrize("more", ["TRANSP:TRANSPARENT", "STATUS:CANCELLED", "STATUS:cancelled"])
def test_what_is_transparent_or_cancelled_freezes_nothing(more: str) -> None:
    """Free time and events that do not take place."""
    assert is_frozen(ics(CHRISTMAS), "2026-12-25T12:00")
    assert not is_frozen(ics(f"{CHRISTMAS}\n{more}"), "2026-12-25T12:00")


def test_a_day_is_that_of_each_host() -> None:
    """It begins at the host's own midnight, and its last day is not in it, as iCalendar has it."""
    text = ics(CHRISTMAS)
    assert is_frozen(text, "2026-12-23T16:00", "Asia/Tokyo")
    assert not is_frozen(text, "2026-12-23T16:00", "America/New_York")
    assert is_frozen(text, "2026-12-27T03:00", "America/New_York")
    assert not is_frozen(text, "2026-12-27T03:00", "")


@pytest.mark.parametrize(
    ("event", "frozen", "free"),
    [
        ("DTSTART:20261201T100000Z\nDURATION:PT2H", "2026-12-01T11:00", "2026-12-01T12:00"),
        ("DTSTART;TZID=Europe/Berlin:20261201T100000\nDTEND;TZID=Europe/Berlin:20261201T120000",
         "2026-12-01T09:30", "2026-12-01T11:00"),
        ("DTSTART;TZID=W. Europe Standard Time:20261201T100000\nDURATION:PT2H", "2026-12-01T09:30", "2026-12-01T11:30"),
        ("DTSTART;VALUE=DATE:20280229\nRRULE:FREQ=YEARLY", "2032-02-29T12:00", "2029-03-01T12:00"),
        ("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=MONTHLY;BYDAY=-1FR", "2026-12-25T12:00", "2026-12-18T12:00"),
        ("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;COUNT=3", "2026-01-03T12:00", "2026-01-04T12:00"),
        ("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;UNTIL=20260103", "2026-01-03T12:00", "2026-01-04T12:00"),
        ("DTSTART:20260101T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260103T100000Z",
         "2026-01-03T10:30", "2026-01-04T10:30"),
        ("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20260105",
         "2026-01-04T12:00", "2026-01-05T12:00"),
        ("DTSTART;VALUE=DATE:20260101\nRDATE;VALUE=DATE:20260105", "2026-01-05T12:00", "2026-01-04T12:00"),
        ("DTSTART:20251231T230000Z\nDTEND:20260101T010000Z\nRRULE:FREQ=YEARLY", "2028-01-01T00:30", "2028-01-01T01:30"),
        ("DTSTART;VALUE=DATE:20250101\nDTEND;VALUE=DATE:20251201", "2025-11-30T12:00", "2025-12-01T12:00"),
    ],
)  # fmt: skip
def test_an_event_freezes_while_it_lasts(event: str, frozen: str, free: str) -> None:
    """Zones, durations, recurrences with their exceptions, leap days and year ends."""
    assert is_frozen(ics(event), frozen)
    assert not is_frozen(ics(event), free)


@pytest.mark.parametrize(
    ("change", "is_free"), [("STATUS:CANCELLED", True), ("TRANSP:TRANSPARENT", True), ("SUMMARY:still", False)]
)
def test_one_occurrence_can_be_replaced(change: str, is_free: bool) -> None:
    """By an event of the same UID with RECURRENCE-ID."""
    every = "DTSTART:20260105T100000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY"
    one = f"DTSTART:20260112T100000Z\nDURATION:PT1H\nRECURRENCE-ID:20260112T100000Z\n{change}"
    text = ics(every, one).replace("UID:1", "UID:0")
    assert is_frozen(text, "2026-01-12T10:30") is not is_free
    assert is_frozen(text, "2026-01-19T10:30")


def test_every_fault_is_reported_with_its_line() -> None:
    """At once; nothing of the calendar is taken."""
    text = ics(
        "DTSTART;TZID=Nowhere/Nix:20260101T100000\nDURATION:PT1H",
        "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20250101",
        "SUMMARY:no begin",
        "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=SECONDLY",
        "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=SOMETIMES",
        "DTSTART;VALUE=DATE:20260101\nDTEND:20260102T100000Z",
        "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20290101",
        CHRISTMAS,
    )
    with pytest.raises(CalendarRefused) as refused:
        read_calendar(text)
    lines = [line for line, event in enumerate(text.splitlines(), 1) if event == "BEGIN:VEVENT"]
    assert [(fault.line, fault.key) for fault in refused.value.faults] == [
        (lines[0], "DTSTART"), (lines[1], "DTEND"), (lines[2], "DTSTART"), (lines[3], "RRULE"), (lines[4], "RRULE"),
        (lines[5], "DTEND"), (lines[6], "DTEND"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "hello", "BEGIN:VCALENDAR", "BEGIN:VEVENT\nEND:VEVENT", "\0", "END:VCALENDAR\n"])
def test_what_is_no_calendar_is_refused(text: str) -> None:
    """Not taken for an empty one."""
    with pytest.raises(CalendarRefused):
        read_calendar(text)


def test_a_calendar_that_is_too_large_is_refused() -> None:
    """By its length, and by the number of its events."""
    with pytest.raises(CalendarRefused):
        read_calendar(ics(more="X-A:" + "x" * LONGEST_CALENDAR + "\n"))
    with pytest.raises(CalendarRefused, match="events that recur"):
        read_calendar(ics(*["DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY"] * 201))


def test_a_recurrence_that_never_happens_costs_little() -> None:
    """Thirty of them, each searched day by day for as long as recurrences go."""
    text = ics(*["DTSTART;VALUE=DATE:19700101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"] * 30)
    began = time.process_time()
    assert not is_frozen(text, "2026-12-25T12:00")
    assert time.process_time() - began < 20


def test_a_list_of_freezes_is_a_calendar() -> None:
    """Days, times of each host, and times with a zone; faults by their number."""
    text = as_calendar([("a", "2026-12-24", "2026-12-27"), ("b", "2026-12-30T10:00", "2026-12-30T12:00")])
    assert is_frozen(text, "2026-12-30T01:30", "Asia/Tokyo")
    assert len(read_calendar(text)) == 2
    with pytest.raises(CalendarRefused) as refused:
        as_calendar([("a", "2026-12-24", "2026-12-27"), ("b", "soon", "2026-13-01")])
    assert [(fault.line, fault.key) for fault in refused.value.faults] == [(2, "DTEND"), (2, "DTSTART")]
    with pytest.raises(CalendarRefused) as refused:
        as_calendar([("a", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00")])
    assert [(fault.line, fault.key) for fault in refused.value.faults] == [(1, "DTEND"), (1, "DTSTART")]


def test_many_zones_are_asked_quickly() -> None:
    """A simulation asks each zone at every step: what was computed once is looked up."""
    found = Timetable(
        Window(times=("Mon-Thu 22:00-05:00",), time_zone="host", calendars=("c",)), {"c": read_calendar(ics(CHRISTMAS))}
    )
    now = datetime(2026, 11, 1, tzinfo=UTC)
    found.opening("Europe/Berlin", now)
    began = time.process_time()
    for second in range(100_000):
        found.opening("Europe/Berlin", now + timedelta(seconds=second))
    assert time.process_time() - began < 5
