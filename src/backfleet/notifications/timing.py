"""When a notice is sent: quiet hours, and the pauses between tries. Pure."""

import re
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from backfleet.values import value_object

PAUSES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)
)
"""Between the tries of a notice. After the last one it is given up: some two days."""

_HOURS: Final = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})(?: ([A-Za-z0-9_+/-]{1,64}))?")


@value_object
class QuietHours:
    """A part of each day, by the clock of a zone; it may go over midnight."""

    begin: time
    end: time
    zone: ZoneInfo

    def over_at(self, now: datetime) -> datetime:
        """Return when the quiet hours end that a moment is in, or the moment itself if it is in none."""
        local = now.astimezone(self.zone)
        clock = local.time().replace(tzinfo=None)
        if self.begin <= self.end:
            is_quiet, days = self.begin <= clock < self.end, 0
        else:
            is_quiet, days = clock >= self.begin or clock < self.end, int(clock >= self.begin)
        if not is_quiet:
            return now
        end = datetime.combine(local.date() + timedelta(days=days), self.end, self.zone)
        return max(now, end.astimezone(now.tzinfo))


def read_quiet_hours(text: str) -> QuietHours | None:
    """Read hours such as `22:00-07:00 Europe/Berlin`; without a zone they are UTC. "" gives None.

    Raises:
        ValueError: it is malformed; the text says how.
    """
    if not text:
        return None
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:64]!r} is not of the form 22:00-07:00 or 22:00-07:00 Europe/Berlin")
    hours = [int(number) for number in found.groups()[:4]]
    try:
        begin, end = time(hours[0], hours[1]), time(hours[2], hours[3])
    except ValueError:
        raise ValueError(f"{text[:64]!r} has a time that no day has") from None
    if begin == end:
        raise ValueError(f"{text[:64]!r} begins when it ends: that would be always or never")
    try:
        zone = ZoneInfo(found[5] or "UTC")
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{found[5]!r} is not the name of a time zone, such as Europe/Berlin") from None
    return QuietHours(begin, end, zone)


def next_try(tries: int, now: datetime) -> datetime | None:
    """Return when a notice is tried again after so many tries; None if it is given up."""
    return now + PAUSES[tries - 1] if tries <= len(PAUSES) else None
