"""Inventories: what is stored of one host is bounded, over any number of reports."""

import random
from datetime import datetime, timedelta

import pytest

from backfleet import fleet
from backfleet.fleet import InventoryItem, InventoryMissing, InventoryRefused
from backfleet.fleet.inventory import MOST_BYTES, MOST_KINDS, MOST_ROWS
from backfleet.storage import Database


def put(database: Database, host: fleet.Instance, now: datetime, **contents: int) -> None:
    """Report kinds with so many rows each."""
    items = [InventoryItem(f"ACS:{kind}", "h", "", [{"N": 1}] * rows) for kind, rows in contents.items()]
    with database.transaction() as tx:
        fleet.put_inventory(tx, host.id, items, now=now)


def kinds(database: Database, host: fleet.Instance) -> list[str]:
    with database.reading() as tx:
        return [one.kind.removeprefix("ACS:") for one in fleet.find_inventory(tx, host.id)]


def test_the_oldest_kinds_are_forgotten(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """However many kinds a host names over time. Those of other hosts stay."""
    put(database, hosts[1], now, First=1)
    for number in range(3 * MOST_KINDS):
        put(database, hosts[0], now + timedelta(seconds=number), **{f"K{number:03}": 1})
    assert kinds(database, hosts[0]) == [f"K{number:03}" for number in range(2 * MOST_KINDS, 3 * MOST_KINDS)]
    assert kinds(database, hosts[1]) == ["First"]


def test_all_kinds_together_have_a_limit_of_rows(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """A kind that is reported again replaces its older self, and does not count twice."""
    half = MOST_ROWS // 2
    put(database, hosts[0], now, A=half)
    put(database, hosts[0], now + timedelta(seconds=1), B=half)
    put(database, hosts[0], now + timedelta(seconds=2), A=half)
    assert kinds(database, hosts[0]) == ["A", "B"]
    put(database, hosts[0], now + timedelta(seconds=3), C=1)
    assert kinds(database, hosts[0]) == ["A", "C"]


def test_all_kinds_together_have_a_limit_of_bytes(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """As stored: packed."""
    noise = random.Random(1).randbytes(MOST_BYTES * 2 // 3).hex()[: MOST_BYTES - 1]
    for number, kind in enumerate(("A", "B", "C")):
        with database.transaction() as tx:
            item = InventoryItem(f"ACS:{kind}", "h", "", [{"N": noise}])
            fleet.put_inventory(tx, hosts[0].id, [item], now=now + timedelta(seconds=number))
    assert kinds(database, hosts[0])[-1] == "C"
    assert len(kinds(database, hosts[0])) < 3
    with database.reading() as tx:
        assert sum(len(one.content) for one in fleet.find_inventory(tx, hosts[0].id)) <= MOST_BYTES


def test_a_report_that_is_too_large_by_itself_is_refused(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """And what was stored before stays."""
    put(database, hosts[0], now, Old=1)
    with pytest.raises(InventoryRefused, match="50000 objects"):
        put(database, hosts[0], now, A=MOST_ROWS, B=1)
    with pytest.raises(InventoryRefused, match="20 kinds"):
        put(database, hosts[0], now, **{f"K{number}": 1 for number in range(MOST_KINDS + 1)})
    assert kinds(database, hosts[0]) == ["Old"]


def test_a_kind_that_was_forgotten_is_asked_for_in_full(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """Its host says "unchanged", and that is not stored any more."""
    put(database, hosts[0], now, A=MOST_ROWS)
    put(database, hosts[0], now + timedelta(seconds=1), B=MOST_ROWS)
    with pytest.raises(InventoryMissing), database.transaction() as tx:
        fleet.put_inventory(tx, hosts[0].id, [InventoryItem("ACS:A", "h", "", None)], now=now)
