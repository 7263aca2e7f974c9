"""Calendars of freezes: the events of an iCalendar file (RFC 5545). One is refused as a whole, with every fault."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final

import icalendar

from backfleet.rollouts.policy import Fault
from backfleet.rollouts.policy.recurrences import FIRST_YEAR, LAST_YEAR, Malformed, Recurrence, read_recurrence
from backfleet.values import value_object

LONGEST_CALENDAR: Final = 256 * 1024  # characters
MOST_EVENTS: Final = 2000
MOST_RECURRING: Final = 200
MOST_FAULTS: Final = 100  # reported
_MOST_DATES: Final = 1000  # of one event, beside its recurrence
_LONGEST_FREEZE: Final = timedelta(days=366)
_DAY: Final = timedelta(days=1)
_SHOWN: Final = 60  # characters


@value_object
class Freeze:
    """One event: no host is changed while it lasts. Wall-clock times of `zone`; None = of each host's own."""

    summary: str
    begin: datetime
    length: timedelta
    zone: tzinfo | None = None
    rule: Recurrence | None = None
    more: tuple[datetime, ...] = ()
    without: frozenset[datetime | date] = field(default_factory=frozenset)

    def between(self, first: datetime, last: datetime) -> list[datetime]:
        """Return when it begins, as far as it touches the time from `first` to `last`, in wall-clock time."""
        found = {each for each in (self.begin, *self.more) if first - self.length <= each <= last}
        if self.rule is not None:
            found |= set(self.rule.between(first - self.length, last))
        return sorted(each for each in found if each not in self.without and each.date() not in self.without)


class CalendarRefused(Exception):
    """A calendar is refused as a whole."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))[:MOST_FAULTS]
        super().__init__("\n".join(map(str, self.faults)))


def as_calendar(freezes: Sequence[tuple[str, str, str]]) -> str:
    """Return a calendar of freezes, each of a summary, a begin and an end: days, or times with or without a zone.

    Raises:
        CalendarRefused: with every fault; its line is the number of the freeze.
    """
    made, faults = icalendar.Calendar(), []
    made.add("version", "2.0")
    made.add("prodid", "-//Backfleet//EN")
    for number, (summary, *edges) in enumerate(freezes, 1):
        event = icalendar.Event()
        event.add("uid", f"{number}")
        event.add("summary", summary)
        for key, text in zip(("dtstart", "dtend"), edges, strict=True):
            try:
                event.add(key, _given(text))
            except (ValueError, OverflowError):  # the zone may take a moment out of the calendar
                wanted = "give a day such as 2026-12-24, or a time such as 2026-12-24T18:00 or 2026-12-24T18:00+01:00"
                faults.append(Fault(number, key.upper(), repr(text)[:_SHOWN], wanted))
        made.add_component(event)
    if faults:
        raise CalendarRefused(faults)
    written: str = made.to_ical().decode()
    return written


def _given(text: str) -> date:
    """Return a day, or a time: in UTC where it has a zone."""
    if re.fullmatch(r"[0-9-]{10}", text):
        return date.fromisoformat(text)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is None else found.astimezone(UTC)


def read_calendar(text: str) -> tuple[Freeze, ...]:
    """Return the freezes of a calendar. Events that are transparent or cancelled freeze nothing.

    Raises:
        CalendarRefused: with every fault.
    """
    if len(text) > LONGEST_CALENDAR:
        raise CalendarRefused([Fault(0, "calendar", f"{len(text)} characters", f"at most {LONGEST_CALENDAR}")])
    try:
        calendars = icalendar.Calendar.from_ical(text, multiple=True)
        events = [event for each in calendars for event in each.walk("VEVENT")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as problem:
        raise CalendarRefused([Fault(0, "calendar", f"{problem}"[:200], "give an iCalendar file (.ics)")]) from None
    if not calendars:
        raise CalendarRefused([Fault(0, "calendar", "no VCALENDAR", "give an iCalendar file (.ics)")])
    lines = [at for at, line in enumerate(text.splitlines(), 1) if line.strip().upper() == "BEGIN:VEVENT"]
    faults = _too_many(events)
    if not faults:
        readers = [
            _Event(event, line, faults) for event, line in zip(events, [*lines, *[0] * len(events)], strict=False)
        ]
        found = _freezes(readers)
    if faults:
        raise CalendarRefused(faults)
    return found


def _too_many(events: Sequence[Any]) -> list[Fault]:
    recurring = sum("RRULE" in event for event in events)
    return [
        Fault(0, "calendar", f"{number} {what}", f"at most {most}; split it into several calendars")
        for number, what, most in (
            (len(events), "events", MOST_EVENTS),
            (recurring, "events that recur", MOST_RECURRING),
        )
        if number > most
    ]


def _freezes(readers: Sequence["_Event"]) -> tuple[Freeze, ...]:
    """Return the freezes of events; those that stand for one occurrence of another replace it."""
    replaced: dict[str, set[datetime | date]] = {}
    for each in readers:
        if each.replaces is not None:
            replaced.setdefault(each.uid, set()).add(each.replaces)
    found = []
    for each in readers:
        freeze = each.freeze()
        if freeze is None or not each.is_freezing:
            continue
        if each.replaces is None and each.uid in replaced:
            moved = {_wall(moment, freeze.zone) for moment in replaced[each.uid]}
            freeze = replace(freeze, without=freeze.without | moved)
        found.append(freeze)
    return tuple(found)


class _Event:
    """One VEVENT. Every fault is noted, nothing is raised on the way."""

    def __init__(self, event: Any, line: int, faults: list[Fault]) -> None:
        self._event, self._line, self._faults = event, line, faults
        self._broken = {str(key) for key, _ in event.errors}
        self.uid = str(event.get("UID", f"line {line}"))
        self.summary = " ".join(str(event.get("SUMMARY", "")).split())[:_SHOWN] or self.uid[:_SHOWN]
        self.replaces = self._moment("RECURRENCE-ID")
        given = self._get("RECURRENCE-ID")
        if given is not None and "RANGE" in getattr(given, "params", {}):
            self._fault("RECURRENCE-ID", "RANGE", "leave RANGE out: write the occurrences that follow as an event")

    @property
    def is_freezing(self) -> bool:
        """Whether it freezes anything: it is neither cancelled nor transparent."""
        status, shown = (str(self._event.get(key, "")).upper() for key in ("STATUS", "TRANSP"))
        return status != "CANCELLED" and shown != "TRANSPARENT"

    def freeze(self) -> Freeze | None:
        """Return the freeze; None if it has a fault, or lasts no time."""
        for key, found in self._event.errors:
            self._fault(str(key), str(found)[:_SHOWN], "write it as RFC 5545 has it")
        begin = self._moment("DTSTART")
        if begin is None:
            if "DTSTART" not in self._event:
                self._fault("DTSTART", "nothing", "give the day or the time at which it begins")
            return None
        zone = begin.tzinfo if isinstance(begin, datetime) else None
        start = _wall(begin, zone)
        length = self._length(begin, zone)
        if not FIRST_YEAR <= start.year < LAST_YEAR:
            self._fault("DTSTART", f"{start:%Y-%m-%d}", f"give a year from {FIRST_YEAR} to {LAST_YEAR - 1}")
            return None
        if length > _LONGEST_FREEZE:
            self._fault("DTEND", f"{length.days} days", f"let it last {_LONGEST_FREEZE.days} days at most")
        if length <= timedelta(0):
            return None
        return Freeze(
            self.summary,
            start,
            length,
            zone,
            rule=self._rule(start, zone),
            more=tuple(_wall(each, zone) for each in self._dates("RDATE")),
            without=frozenset(
                _wall(each, zone) if isinstance(each, datetime) or not isinstance(begin, datetime) else each
                for each in self._dates("EXDATE")
            ),
        )

    def _fault(self, key: str, found: str, wanted: str) -> None:
        self._faults.append(Fault(self._line, key, found, wanted))

    def _get(self, key: str) -> Any:
        """Return a property; None for one that cannot be read: that is a fault of its own."""
        return None if key in self._broken else self._event.get(key)

    def _moment(self, key: str) -> datetime | date | None:
        given = self._get(key)
        value = getattr(given, "dt", None)
        if given is None:
            return None
        if not isinstance(value, date):  # a datetime is one, too
            self._fault(key, str(given)[:_SHOWN], "give one day or time")
            return None
        name = getattr(given, "params", {}).get("TZID")
        if isinstance(value, datetime) and value.tzinfo is None and name:
            wanted = "give a name of the time zone database, or the zone's VTIMEZONE in the same file"
            self._fault(key, f"the time zone {name!r}"[:_SHOWN], wanted)
        return value

    def _length(self, begin: datetime | date, zone: tzinfo | None) -> timedelta:
        end = self._moment("DTEND")
        if end is not None:
            if isinstance(end, datetime) is not isinstance(begin, datetime):
                self._fault("DTEND", str(end), "give a day if DTSTART is one, a time if that is one")
                return timedelta(0)
            length = _wall(end, zone) - _wall(begin, zone)
            if length < timedelta(0):
                self._fault("DTEND", str(end), "let it end after DTSTART")
            return length
        value = getattr(self._get("DURATION"), "dt", None)
        if isinstance(value, timedelta):
            if value < timedelta(0):
                self._fault("DURATION", str(value), "let it last some time")
            return value
        return timedelta(0) if isinstance(begin, datetime) else _DAY

    def _rule(self, start: datetime, zone: tzinfo | None) -> Recurrence | None:
        given = self._get("RRULE")
        if given is None:
            return None
        if isinstance(given, list) or not isinstance(given, Mapping):
            self._fault("RRULE", str(given)[:_SHOWN], "give one recurrence an event, as RFC 5545 has it")
            return None
        until = given.get("UNTIL")
        written = self._event["RRULE"].to_ical().decode()
        parts = written.split(";")
        if until:
            last = until[0] if isinstance(until, list) else until
            end = _wall(last, zone) if isinstance(last, datetime) else _wall(last, zone) + _DAY - timedelta(seconds=1)
            parts = [part for part in parts if not part.upper().startswith("UNTIL=")] + [f"UNTIL={end:%Y%m%dT%H%M%S}"]
        try:
            return read_recurrence(";".join(parts), start)
        except Malformed as problem:
            self._fault("RRULE", written[:_SHOWN], str(problem))
            return None

    def _dates(self, key: str) -> list[datetime | date]:
        given = self._get(key)
        lists = [] if given is None else given if isinstance(given, list) else [given]
        values = [getattr(each, "dt", None) for one in lists for each in getattr(one, "dts", [])]
        found = [value for value in values if isinstance(value, date)]
        if len(found) != len(values) or len(found) > _MOST_DATES:
            self._fault(key, f"{len(values)} values", f"give at most {_MOST_DATES} days or times, and no periods")
        return found


def _wall(moment: datetime | date, zone: tzinfo | None) -> datetime:
    """Return a day or a time as the clocks of a zone show it; None: as it is written."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 - wall-clock
    if moment.tzinfo is not None and zone is not None:
        moment = moment.astimezone(zone)
    return moment.replace(tzinfo=None, fold=0)
