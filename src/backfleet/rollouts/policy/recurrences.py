"""Recurrences as RFC 5545 writes them (`FREQ=MONTHLY;BYDAY=2TU`), in wall-clock time: zones are another matter."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from dateutil.rrule import rrule, rrulestr

from backfleet.library_internals import end_recurrences
from backfleet.values import value_object

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2060
MOST_AT_ONCE: Final = 5000  # occurrences that are read for one stretch of time
_PARTS: Final = frozenset(
    {
        "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "BYYEARDAY", "BYWEEKNO",
        "WKST",
    }
)  # fmt: skip
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_STEPS: Final = {"DAILY": 1, "WEEKLY": 7}  # days

end_recurrences(LAST_YEAR)


class Malformed(ValueError):
    """What was written cannot be read; the text says what would do."""


@value_object
class Recurrence:
    """A rule, and the wall-clock time from which it counts."""

    parts: Mapping[str, str]
    begin: datetime

    def between(self, first: datetime, last: datetime) -> list[datetime]:
        """Return the occurrences from `first` to `last`, both included, at most `MOST_AT_ONCE`."""
        found: list[datetime] = []
        for each in _rule(self.parts, self._near(first)):
            if each > last or len(found) == MOST_AT_ONCE:
                break
            if each >= first:
                found.append(each)
        return found

    def _near(self, first: datetime) -> datetime:
        """Return a beginning close to `first` that gives the same occurrences after it: years need not be counted."""
        step = _STEPS.get(self.parts["FREQ"])
        if step is None or "COUNT" in self.parts or first <= self.begin:
            return self.begin
        days = step * int(self.parts.get("INTERVAL", "1"))
        return self.begin + timedelta(days=days * max(0, (first - self.begin).days // days - 1))


def read_recurrence(text: str, begin: datetime) -> Recurrence:
    """Read a rule.

    Args:
        text: such as `FREQ=WEEKLY;INTERVAL=2;BYDAY=MO`. `UNTIL` is a wall-clock time or a day.
        begin: where it begins, in wall-clock time.

    Raises:
        Malformed: it is no rule, or one that recurs within a day.
    """
    if not text.isascii():
        raise Malformed("write it in ASCII, digits too")
    parts = _parts(text)
    if not FIRST_YEAR <= begin.year < LAST_YEAR:
        raise Malformed(f"let it begin in a year from {FIRST_YEAR} to {LAST_YEAR - 1}")
    if parts.get("FREQ") not in _FREQUENCIES:
        raise Malformed(f"write FREQ={', FREQ='.join(_FREQUENCIES)}")
    for name in parts:
        if name not in _PARTS:
            raise Malformed(f"leave out {name}; known here: {', '.join(sorted(_PARTS))}")
    for name in ("INTERVAL", "COUNT"):
        if name in parts and not (parts[name].isascii() and parts[name].isdigit() and 0 < int(parts[name]) <= 10_000):
            raise Malformed(f"give {name} a whole number from 1 to 10000")
    try:
        _rule(parts, begin)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as problem:
        raise Malformed(f"write a recurrence as RFC 5545 has it: {problem}"[:200]) from None
    return Recurrence(parts, begin)


def _parts(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.upper().removeprefix("RRULE:").strip(";").split(";"):
        name, _, value = part.partition("=")
        if not value or name in found:
            raise Malformed("write a recurrence as RFC 5545 has it, such as FREQ=MONTHLY;BYDAY=2TU")
        found[name] = value
    return found


def _rule(parts: Mapping[str, str], begin: datetime) -> rrule:
    found = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=begin)
    if not isinstance(found, rrule):
        raise Malformed("write one recurrence")
    return found
