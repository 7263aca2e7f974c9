"""Calendars: named lists of freezes, which policies name."""

from datetime import datetime
from typing import Final

from backfleet.identity import Caller
from backfleet.paging import Listing, Page
from backfleet.rollouts import _calendars
from backfleet.rollouts._calendars import CalendarRecord
from backfleet.rollouts.errors import CalendarInUse, CalendarMissing, TooManyCalendars
from backfleet.rollouts.policy.lenient import calendar_names
from backfleet.rollouts.sending import TOPIC
from backfleet.rollouts.timetable import read_calendar
from backfleet.storage import Transaction

MOST_CALENDARS: Final = 200  # of one account


def put_calendar(
    tx: Transaction, caller: Caller, name: str, text: str, *, now: datetime
) -> tuple[CalendarRecord, bool]:
    """Store a calendar in place of the one of its name. Rollouts that name it heed the new one at once.

    Args:
        tx: the transaction to write in.
        caller: who does this.
        name: its name.
        text: iCalendar.
        now: the time.

    Returns:
        The calendar, and whether its name is new.

    Raises:
        CalendarRefused: with every fault; nothing is stored.
        TooManyCalendars: the account has as many as it may.
    """
    freezes = read_calendar(text)
    is_new = _calendars.find(tx, caller.account_id, name) is None
    if is_new and _calendars.page_of(tx, caller.account_id, Page(1, 1)).total >= MOST_CALENDARS:
        raise TooManyCalendars(MOST_CALENDARS)
    record = CalendarRecord(caller.account_id, name, text, len(freezes), now, caller.arn)
    _calendars.put(tx, record)
    _calendars.wake(tx, _users(tx, caller.account_id, name), now)
    tx.publish(TOPIC)
    return record, is_new


def calendar(tx: Transaction, account_id: str, name: str) -> CalendarRecord:
    """Return a calendar. Raises CalendarMissing."""
    found = _calendars.find(tx, account_id, name)
    if found is None:
        raise CalendarMissing(name)
    return found


def calendars(tx: Transaction, account_id: str, page: Page) -> Listing[CalendarRecord]:
    """Return a page of an account's calendars, by name, without their texts."""
    return _calendars.page_of(tx, account_id, page)


def delete_calendar(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a calendar.

    Raises:
        CalendarMissing: there is none of this name.
        CalendarInUse: rollouts that have not ended name it.
    """
    calendar(tx, account_id, name)
    users = _users(tx, account_id, name)
    if users:
        raise CalendarInUse(users[0])
    _calendars.delete(tx, account_id, name)


def _users(tx: Transaction, account_id: str, name: str) -> list[str]:
    """Return the rollouts that name a calendar and have not ended."""
    return [
        rollout_id
        for rollout_id, policy in _calendars.policies_in_use(tx, account_id)
        if name in calendar_names(policy)
    ]
