"""Windows and freezes: when the hosts of a time zone may be changed. Pure: a policy, calendars and a time decide.

Everything is wall-clock time until `edges` turns it into moments, by one rule. A window is the shorter of what it can
mean, a freeze the longer.
"""

from backfleet.rollouts.timetable.calendars import (
    LONGEST_CALENDAR,
    MOST_EVENTS,
    CalendarRefused,
    Freeze,
    as_calendar,
    read_calendar,
)
from backfleet.rollouts.timetable.openings import Timetable

__all__ = [
    "LONGEST_CALENDAR",
    "MOST_EVENTS",
    "CalendarRefused",
    "Freeze",
    "Timetable",
    "as_calendar",
    "read_calendar",
]
