"""What persons do with destinations and messages."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from backfleet.ids import Draw
from backfleet.notifications import _store
from backfleet.notifications.kinds import Kind
from backfleet.notifications.model import Condition, Destination, Notice
from backfleet.notifications.noticing import message, notice_to
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

MOST_DESTINATIONS: Final = 20  # of one account
MOST_WAITING: Final = 200  # messages of one account that wait, until persons can add no more


class DestinationMissing(Exception):
    """The account has no destination of this name."""


class NoticeMissing(Exception):
    """The account has no message of this id."""


class TooManyWaiting(Exception):
    """So many messages of the account wait that a person cannot add another one."""


class TooManyDestinations(Exception):
    """The account has as many destinations as it may."""


def put_destination(tx: Transaction, destination: Destination) -> bool:
    """Store a destination in place of the one of its name; return whether it is new. Raises TooManyDestinations."""
    others = {each.name for each in _store.destinations_of(tx, destination.account_id)} - {destination.name}
    if len(others) >= MOST_DESTINATIONS:
        raise TooManyDestinations
    return _store.put_destination(tx, destination)


def delete_destination(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a destination. What waits for it is given up. Raises DestinationMissing."""
    if not _store.delete_destination(tx, account_id, name):
        raise DestinationMissing


def find_destination(tx: Transaction, account_id: str, name: str) -> Destination:
    """Return a destination. Raises DestinationMissing."""
    found = _store.find_destination(tx, account_id, name)
    if found is None:
        raise DestinationMissing
    return found


def destinations_of(tx: Transaction, account_id: str) -> list[Destination]:
    """Return an account's destinations by name."""
    return _store.destinations_of(tx, account_id)


def accounts(tx: Transaction) -> list[str]:
    """Return the accounts that have destinations."""
    return _store.accounts(tx)


def undelivered(tx: Transaction, account_id: str, *, due_before: datetime, since: datetime, limit: int) -> list[Notice]:
    """Return an account's messages that did not arrive, newest first: due before a moment, or failed since one."""
    return _store.undelivered(tx, account_id, due_before, since, limit)


def notices_of(tx: Transaction, account_id: str, destination: str | None, page: Page) -> Listing[Notice]:
    """Return a page of an account's messages, the newest first."""
    return _store.notices_of(tx, account_id, destination, page)


def test(tx: Transaction, account_id: str, name: str, *, now: datetime, draw: Draw) -> Notice:
    """Send a test to a destination. Raises DestinationMissing or TooManyWaiting."""
    destination = find_destination(tx, account_id, name)
    _check_waiting(tx, account_id)
    subject, body = message(Kind.TEST, [Condition(Kind.TEST, name, "This is a test of Backfleet.")], now)
    made = notice_to(destination, Kind.TEST, subject, body, now=now, draw=draw)
    _store.add_notices(tx, [made])
    return made


def replay(tx: Transaction, account_id: str, notice_id: str, *, now: datetime) -> Notice:
    """Send a message again, with its id. Raises NoticeMissing or TooManyWaiting."""
    found = _store.find_notice(tx, account_id, notice_id)
    if found is None:
        raise NoticeMissing
    _check_waiting(tx, account_id)
    fresh: dict[str, Any] = {"next_at": now, "tries": 0, "delivered_at": None, "problem": ""}
    _store.change(tx, notice_id, fresh)
    tx.publish(_store.TOPIC)
    return replace(found, **fresh)


def _check_waiting(tx: Transaction, account_id: str) -> None:
    if _store.count(tx, account_id) >= MOST_WAITING:
        raise TooManyWaiting


def purge(tx: Transaction, *, before: datetime) -> None:
    """Forget messages from before a moment that are delivered or given up."""
    _store.purge(tx, before)
