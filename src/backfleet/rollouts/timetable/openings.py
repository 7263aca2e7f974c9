"""Whether the hosts of a zone may be changed at a time, and when that changes."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from backfleet.rollouts.model import Opening
from backfleet.rollouts.policy import Window
from backfleet.rollouts.policy.times import read_times
from backfleet.rollouts.policy.zones import HOST, zone_of
from backfleet.rollouts.timetable.calendars import Freeze
from backfleet.rollouts.timetable.edges import Named, freeze_span, merged, window_span
from backfleet.values import value_object

_BEHIND: Final = timedelta(days=3)  # computed at one time: so far back,
_AHEAD: Final = timedelta(days=200)  # and so far ahead
_LEAST_AHEAD: Final = timedelta(days=40)  # longer than any order may take
_LONGEST_SPAN: Final = timedelta(days=3)  # of a window, with the widest zones
_MOST_ZONES: Final = 1000  # kept
_MOST_STEPS: Final = 5000


@value_object
class _Line:
    """What is so in one zone, from a time to another, without gaps."""

    begin: datetime
    end: datetime
    begins: Sequence[datetime]
    openings: Sequence[Opening]


class Timetable:
    """The windows and freezes of a policy, in every zone. Kept: what was computed is used again."""

    def __init__(self, window: Window, calendars: Mapping[str, Sequence[Freeze] | None]) -> None:
        """Take a policy's window, and its calendars by name; None for one that is missing: it freezes everything."""
        self._window = window
        self._times = [(text, read_times(text)) for text in window.times]
        self._calendars = {name: freezes for name, freezes in calendars.items() if freezes is None or freezes}
        self._lines: dict[str, _Line] = {}
        self._walls: tuple[datetime, list[tuple[datetime, datetime, tzinfo | None, str]]] | None = None

    def opening(self, zone: str, now: datetime) -> Opening:
        """Return whether hosts of a zone ("" = the policy's own) may be changed now, and until when that is so."""
        if not self._times and not self._calendars:
            return Opening(is_open=True)
        line = self._lines.get(zone)
        if line is None or not line.begin <= now < line.end - _LEAST_AHEAD:
            if line is None and len(self._lines) >= _MOST_ZONES:
                self._lines.clear()
            line = self._lines[zone] = self._line(zone, now)
        return line.openings[bisect_right(line.begins, now) - 1]

    def opens_for(self, zone: str, needs: timedelta, begin: datetime, end: datetime) -> bool:
        """Return whether hosts of a zone may be changed for so long in one piece, between two times."""
        for _ in range(_MOST_STEPS):
            if begin + needs > end:
                return False
            found = self.opening(zone, begin)
            if found.is_open and (found.until is None or min(found.until, end) >= begin + needs):
                return True
            if found.until is None:
                return False
            begin = found.until
        return False

    def _line(self, zone: str, now: datetime) -> _Line:
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        begin, end = day - _BEHIND, day + _AHEAD
        windows = self._open_spans(zone, begin, end)
        freezes = merged(self._freezes(zone, begin, end))
        pieces = _pieces(windows, freezes, begin, end, self._outside(zone))
        return _Line(begin, end, [piece[0] for piece in pieces], [piece[1] for piece in pieces])

    def _zone(self, host: str) -> tuple[tzinfo, str]:
        """Return the zone of windows for hosts of a zone, and its name."""
        name = self._window.time_zone
        if name == HOST:
            name = host if host and zone_of(host) is not None else self._window.default_time_zone
        return zone_of(name) or UTC, name

    def _outside(self, host: str) -> str:
        return f"its window: {'; '.join(self._window.times)} ({self._zone(host)[1]})"

    def _open_spans(self, host: str, begin: datetime, end: datetime) -> list[Named]:
        if not self._times:
            return [(begin, end, "")]
        zone, name = self._zone(host)
        first, last = _naive(begin - _LONGEST_SPAN), _naive(end + _LONGEST_SPAN)
        return merged(
            (*window_span(*span, zone), f"window {text} ({name})")
            for text, times in self._times
            for span in times.between(first, last)
        )

    def _freezes(self, host: str, begin: datetime, end: datetime) -> list[Named]:
        if self._walls is None or self._walls[0] != begin:
            self._walls = (begin, self._frozen_walls(begin, end))
        here = zone_of(host) if host else None
        here = here or self._zone("")[0]
        return [(*freeze_span(first, last, zone or here), name) for first, last, zone, name in self._walls[1]]

    def _frozen_walls(self, begin: datetime, end: datetime) -> list[tuple[datetime, datetime, tzinfo | None, str]]:
        first, last = _naive(begin - _LONGEST_SPAN), _naive(end + _LONGEST_SPAN)
        found: list[tuple[datetime, datetime, tzinfo | None, str]] = []
        for calendar, freezes in sorted(self._calendars.items()):
            if freezes is None:
                found.append((first, last, UTC, f"the calendar {calendar!r} is missing"))
                continue
            for each in freezes:
                name = f"freeze {each.summary!r} of the calendar {calendar!r}"
                found += [(at, at + each.length, each.zone, name) for at in each.between(first, last)]
        return found


def _pieces(
    windows: Sequence[Named], freezes: Sequence[Named], begin: datetime, end: datetime, outside: str
) -> list[tuple[datetime, Opening]]:
    """Return what is so from when on, in order; the first piece begins with `begin`."""
    edges = {begin, *(edge for span in (*windows, *freezes) for edge in span[:2] if begin < edge < end)}
    found: list[tuple[datetime, Opening]] = []
    following: datetime = end  # when it is open again
    until = end
    for edge in sorted(edges, reverse=True):
        frozen = _at(freezes, edge)
        inside = _at(windows, edge)
        if frozen is not None:
            why = f"{frozen[2]}, until {frozen[1]:%Y-%m-%d %H:%M} UTC"
            piece = Opening(False, frozen[0], following, why, "freeze")
        elif inside is None:
            opens = "it does not open before" if following == end else "it opens"
            why = f"{outside}; {opens} {following:%Y-%m-%d %H:%M} UTC"
            piece = Opening(False, None, following, why, "window")
        else:
            since = max((inside[0], *(span[1] for span in freezes if span[1] == edge)))
            piece = Opening(True, since, until, inside[2])
            following = edge
        found.append((edge, piece))
        until = edge
    return found[::-1]


def _at(spans: Sequence[Named], moment: datetime) -> Named | None:
    """Return the span that a moment lies in. Their ends are in the order of their begins."""
    at = bisect_right(spans, moment, key=lambda span: span[0]) - 1
    return spans[at] if at >= 0 and moment < spans[at][1] else None


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
