"""Backup clients, and how ids resolve to them."""

from dataclasses import replace
from datetime import datetime, timedelta

from backfleet import fleet
from backfleet.fleet import Change, ClientFilter, ClientStatus, Failure
from backfleet.ids import Draw
from backfleet.paging import Page
from backfleet.storage import Database
from fleet.conftest import ACCOUNT, OTHER, REGION


def test_ids_of_another_account_are_left_out(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """As ids that do not exist are."""
    with database.transaction() as tx:
        client = fleet.ensure_client(
            tx, hosts[0], "rclone", "stable", status=ClientStatus.ACTIVATED, now=now, draw=draw
        )
        mine = fleet.resolve(tx, ACCOUNT, REGION, [hosts[0].id, "mi-none"], [client.id])
        theirs = fleet.resolve(tx, OTHER, REGION, [hosts[0].id], [client.id])
        elsewhere = fleet.resolve(tx, ACCOUNT, "cn-beijing", [hosts[0].id], [client.id])
    assert (list(mine.instances), list(mine.clients)) == ([hosts[0].id], [client.id])
    assert mine.clients_on == {hosts[0].id: [client]}
    assert (theirs.instances, theirs.clients, elsewhere.instances) == ({}, {}, {})


def test_a_client_resolves_to_its_instance(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """Its host is found though only the client was named; a deregistered host takes its clients with it."""
    with database.transaction() as tx:
        client = fleet.ensure_client(
            tx, hosts[0], "rclone", "stable", status=ClientStatus.ACTIVATED, now=now, draw=draw
        )
        assert list(fleet.resolve(tx, ACCOUNT, REGION, [], [client.id]).instances) == [hosts[0].id]
        fleet.deregister(tx, hosts[0].id, now=now)
        assert fleet.resolve(tx, ACCOUNT, REGION, [], [client.id]).clients == {}


def test_an_instance_has_one_client_of_a_package(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """A second call returns the same client with what is known of it."""
    with database.transaction() as tx:
        first = fleet.ensure_client(
            tx, hosts[0], "rclone", "stable", status=ClientStatus.INSTALLING, now=now, draw=draw
        )
        fleet.set_clients(tx, [Change(first.id, version="1.0")], now=now)
        again = fleet.ensure_client(tx, hosts[0], "rclone", "beta", status=ClientStatus.UNKNOWN, now=now, draw=draw)
    assert (again.id, again.version, again.status) == (first.id, "1.0", ClientStatus.INSTALLING)


def test_a_change_leaves_other_fields_as_they_are(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """Many changes are one statement; a version of "" (none) is a change, None is not."""
    with database.transaction() as tx:
        clients = [
            fleet.ensure_client(tx, host, "rclone", "stable", status=ClientStatus.ACTIVATED, now=now, draw=draw)
            for host in hosts
        ]
        fleet.set_clients(tx, [Change(clients[0].id, version="2.0"), Change(clients[1].id, version="1.0")], now=now)
        fleet.set_clients(tx, [Change(clients[0].id, status=ClientStatus.UPGRADING)], now=now)
        fleet.set_clients(tx, [Change(clients[1].id, version="")], now=now)
    with database.reading() as tx:
        found = fleet.find_clients(tx, ACCOUNT, REGION, ClientFilter(), Page(1, 10))
    known = {client.id: client for client, _ in found.items}
    assert (known[clients[0].id].version, known[clients[0].id].status) == ("2.0", ClientStatus.UPGRADING)
    assert not known[clients[1].id].is_installed
    assert {instance.id for _, instance in found.items} == {host.id for host in hosts}


def test_changes_that_are_alike_change_each_client_and_no_other(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """They are one statement for all of them; one that differs makes it a statement for each."""
    with database.transaction() as tx:
        ids = [
            fleet.ensure_client(tx, host, package, "stable", status=ClientStatus.ACTIVATED, now=now, draw=draw).id
            for host in hosts
            for package in ("rclone", "restic", "kopia")
        ]
        *alike, other = sorted(ids, reverse=True)
        fleet.set_clients(tx, [Change(one, version="2.0", confirmed=True) for one in alike], now=now)
    with database.reading() as tx:
        found = fleet.find_clients(tx, ACCOUNT, REGION, ClientFilter(), Page(1, 50)).items
    assert {client.id: client.version for client, _ in found} == dict.fromkeys(alike, "2.0") | {other: ""}
    assert {client.id for client, _ in found if client.confirmed_at == now} == set(alike)
    with database.transaction() as tx:
        changes = [Change(one, version="3.0") for one in alike]
        fleet.set_clients(tx, [*changes, Change(other, status=ClientStatus.UPGRADING)], now=now)
    with database.reading() as tx:
        found = fleet.find_clients(tx, ACCOUNT, REGION, ClientFilter(), Page(1, 50)).items
    assert {client.id: client.version for client, _ in found} == dict.fromkeys(alike, "3.0") | {other: ""}


def test_many_clients_that_get_a_status_keep_what_else_is_known(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """As those of a new task do; a change of more than that changes it."""
    later, last = now + timedelta(minutes=1), now + timedelta(minutes=2)
    with database.transaction() as tx:
        made = [
            fleet.ensure_client(tx, host, "rclone", "stable", status=ClientStatus.ACTIVATED, now=now, draw=draw)
            for host in hosts
        ]
        ids = [client.id for client in made]
        known = [Change(one, version="1.0", drift="x", failure=Failure("C", "m", "2.0", now)) for one in ids]
        fleet.set_clients(tx, known, now=now)
        before = fleet.resolve(tx, ACCOUNT, REGION, [], ids).clients
        fleet.set_clients(tx, [Change(one, status=ClientStatus.UPGRADING) for one in ids], now=later)
        moving = fleet.resolve(tx, ACCOUNT, REGION, [], ids).clients
        over = [Change(one, status=ClientStatus.ACTIVATED, has_succeeded=True, unsure=True) for one in ids]
        fleet.set_clients(tx, over, now=last)
        after = fleet.resolve(tx, ACCOUNT, REGION, [], ids).clients
    assert len(before) > 1
    assert moving == {
        one: replace(client, status=ClientStatus.UPGRADING, updated_at=later) for one, client in before.items()
    }
    assert {client.failure for client in after.values()} == {None}
    assert all(client.in_doubt and client.updated_at == last for client in after.values())
