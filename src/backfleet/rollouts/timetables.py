"""The windows and freezes of a rollout, with the calendars of its account."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from backfleet.rollouts import _calendars
from backfleet.rollouts.policy import Window
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.timetable import Freeze, Timetable, read_calendar
from backfleet.storage import Transaction


def timetable_of(tx: Transaction, record: RolloutRecord) -> Timetable:
    """Return the timetable of a rollout."""
    return timetable_for(tx, record.account_id, record.document.window)


def timetable_for(tx: Transaction, account_id: str, window: Window) -> Timetable:
    """Return the timetable of a policy's window. A calendar that is missing freezes everything."""
    texts = _calendars.texts(tx, account_id, window.calendars) if window.calendars else {}
    return _made(window, tuple((name, texts.get(name)) for name in window.calendars))


def missing_calendars(tx: Transaction, account_id: str, names: Sequence[str]) -> list[str]:
    """Return those of these names that no calendar of an account has."""
    found = _calendars.texts(tx, account_id, names) if names else {}
    return [name for name in names if name not in found]


@lru_cache(maxsize=50)
def _made(window: Window, texts: tuple[tuple[str, str | None], ...]) -> Timetable:
    calendars: Mapping[str, tuple[Freeze, ...] | None] = {
        name: None if text is None else read_calendar(text) for name, text in texts
    }
    return Timetable(window, calendars)
