"""Pins: put, deleted, listed, and read by whoever is about to move clients. Only `now` says whether one has expired."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.model import Hold, Pin, PinKind
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

MOST_PINS: Final = 2000  # of one account, expired ones included
IDS_AT_ONCE: Final = 500  # in one statement

Place = tuple[str, str]
"""An instance and a package: there is one client of a package on an instance."""


class TooManyPins(Exception):
    """An account would have more than MOST_PINS."""


def put_pin(tx: Transaction, pin: Pin) -> Pin | None:
    """Store a pin in place of the one on the same thing, and return that one.

    Raises:
        TooManyPins: the account has as many as it may.
        Conflict: another call is storing a pin on the same thing.
    """
    before = _store.pins.put(tx, pin)
    if before is None and _store.pins.count(tx, pin.account_id) > MOST_PINS:
        raise TooManyPins
    return before


def delete_pin(tx: Transaction, pin: Pin) -> Pin | None:
    """Delete the pin on the same thing as this one, and return it; None if there is none."""
    found = _store.pins.find(tx, pin)
    _store.pins.delete(tx, pin)
    return found


def find_pins(tx: Transaction, account_id: str, region: str, page: Page) -> Listing[Pin]:
    """Return a page of an account's pins, expired ones included, those first that end first."""
    return _store.pins.page_of(tx, account_id, region, page)


def purge_pins(tx: Transaction, *, before: datetime) -> None:
    """Delete pins that had expired before this moment."""
    _store.pins.purge(tx, before)


def has_pins(tx: Transaction, account_id: str, region: str, *, now: datetime) -> bool:
    """Return whether an account has a pin that has not expired."""
    return _store.pins.exist(tx, account_id, region, now)


def holds_of(
    tx: Transaction, account_id: str, region: str, places: Mapping[Place, str], *, now: datetime
) -> dict[Place, Hold]:
    """Return what holds clients now. Those that no pin holds are left out.

    Args:
        tx: the transaction to read in.
        account_id: whose clients.
        region: where they are.
        places: instance and package of each, with the client's id; "" if there is no client yet.
        now: the time: a pin that has expired by then does not hold.
    """
    active = _store.pins.active(tx, account_id, region, now) if places else []
    if not active:
        return {}
    of_instances: dict[str, dict[str, str]] = {}
    of_clients: dict[str, dict[str, str]] = {}
    if any(pin.kind is PinKind.TAG for pin in active):
        of_instances = _tags(tx, "instance", sorted({instance_id for instance_id, _ in places}))
        of_clients = _tags(tx, "client", sorted({client_id for client_id in places.values() if client_id}))
    found = {}
    for (instance_id, package), client_id in places.items():
        tags = of_instances.get(instance_id, {}) | of_clients.get(client_id, {})
        pins = tuple(pin for pin in active if pin.concerns(instance_id, package, tags))
        if pins:
            found[instance_id, package] = Hold(pins)
    return found


def _tags(tx: Transaction, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        found |= _store.tags.of_resources(tx, kind, ids[start : start + IDS_AT_ONCE])
    return found
