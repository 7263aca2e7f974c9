"""Signs of life, what they mean, and what is known of clients."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfleet import fleet
from backfleet.fleet import Change, ClientFilter, ClientStatus, Heartbeat, InstanceFilter, Reachability
from backfleet.ids import Draw
from backfleet.paging import Page
from backfleet.storage import Database
from fleet.conftest import ACCOUNT, OTHER, REGION

WITHIN = timedelta(seconds=180)


@pytest.fixture
def hosts(
    database: Database,
    activate: Callable[..., Any],
    asking: Callable[..., Any],
    keys: list[str],
    now: datetime,
    draw: Draw,
) -> list[fleet.Instance]:
    """Two hosts of one account."""
    activation, code = activate()
    made = []
    with database.transaction() as tx:
        for number in range(2):
            asked = asking(activation, code, public_key=keys[number], hostname=f"web-{number}")
            made.append(fleet.register(tx, asked, source_ip="10.1.1.1", now=now, draw=draw))
    return made


def read(database: Database, instance: fleet.Instance) -> fleet.Instance:
    with database.reading() as tx:
        found = fleet.instance(tx, instance.account_id, instance.id)
    assert found is not None
    return found


def test_an_agent_is_there_as_long_as_it_is_heard(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """Fit to the second at the limit, and again as soon as it beats."""
    later = now + WITHIN
    assert fleet.reachability(hosts[0], now=later, reachable_within=WITHIN) is Reachability.REACHABLE
    later += timedelta(seconds=1)
    assert fleet.reachability(hosts[0], now=later, reachable_within=WITHIN) is Reachability.AGENT_NOT_RUNNING
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, later)])
    assert fleet.reachability(read(database, hosts[0]), now=later, reachable_within=WITHIN) is Reachability.REACHABLE


def test_a_host_that_said_goodbye_is_stopped_until_it_is_heard(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """InstanceNotRunning, whatever its clock says."""
    with database.transaction() as tx:
        fleet.note_shutdown(tx, hosts[0].id, now=now)
    assert fleet.reachability(read(database, hosts[0]), now=now, reachable_within=WITHIN) is Reachability.NOT_RUNNING
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, now)])
    assert fleet.reachability(read(database, hosts[0]), now=now, reachable_within=WITHIN) is Reachability.REACHABLE


def test_what_is_unknown_does_not_exist(now: datetime) -> None:
    """None is no instance."""
    assert fleet.reachability(None, now=now, reachable_within=WITHIN) is Reachability.NOT_EXISTS


def test_a_beat_keeps_what_it_does_not_tell(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """Version, mode and skew change only when they are told; many beats are one statement."""
    with database.transaction() as tx:
        fleet.note_heartbeats(
            tx, [Heartbeat(hosts[0].id, now, "backfleet-0.2.0", "shell", 1500), Heartbeat(hosts[1].id, now)]
        )
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, now)])
    found = read(database, hosts[0])
    assert (found.agent_version, found.agent_mode, found.clock_skew_ms) == ("backfleet-0.2.0", "shell", 1500)
    assert read(database, hosts[1]).agent_version == "backfleet-0.1.0"


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        pytest.param(InstanceFilter(), 2, id="all"),
        pytest.param(InstanceFilter(ids=[]), 0, id="none of none"),
        pytest.param(InstanceFilter(name="web-*"), 2, id="a pattern"),
        pytest.param(InstanceFilter(name="web_0"), 0, id="an underscore is itself"),
        pytest.param(InstanceFilter(ip="10.0.0.2"), 2, id="an address"),
        pytest.param(InstanceFilter(connected=True), 2, id="connected"),
        pytest.param(InstanceFilter(connected=False), 0, id="not connected"),
        pytest.param(InstanceFilter(os_type="LINUX"), 2, id="any letter case"),
        pytest.param(InstanceFilter(stopped=True), 0, id="stopped"),
        pytest.param(InstanceFilter(own_agent=True), 2, id="our own agent"),
    ],
)
def test_filters(
    database: Database, hosts: list[fleet.Instance], now: datetime, wanted: InstanceFilter, count: int
) -> None:
    """Joined with AND; each is a row here."""
    with database.reading() as tx:
        found = fleet.find_instances(tx, ACCOUNT, REGION, wanted, Page(1, 10), heard_since=now - WITHIN)
    assert (len(found.items), found.total) == (count, count)


def test_pages_cover_everything_once(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """Oldest first; the total is of all pages."""
    seen = []
    with database.reading() as tx:
        for number in (1, 2, 3):
            found = fleet.find_instances(
                tx, ACCOUNT, REGION, InstanceFilter(), Page(number, 1), heard_since=now - WITHIN
            )
            assert found.total == 2
            seen += [instance.id for instance in found.items]
    assert sorted(seen) == sorted(host.id for host in hosts)


def test_ids_of_another_account_resolve_to_nothing(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """Not to be told from ids that do not exist."""
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


def test_a_client_brings_its_instance(
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
    """Asked twice, it is the same; what is known of it is kept."""
    with database.transaction() as tx:
        first = fleet.ensure_client(
            tx, hosts[0], "rclone", "stable", status=ClientStatus.INSTALLING, now=now, draw=draw
        )
        fleet.set_clients(tx, [Change(first.id, version="1.0")], now=now)
        again = fleet.ensure_client(tx, hosts[0], "rclone", "beta", status=ClientStatus.UNKNOWN, now=now, draw=draw)
    assert (again.id, again.version, again.status) == (first.id, "1.0", ClientStatus.INSTALLING)


def test_a_change_leaves_alone_what_it_does_not_name(
    database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw
) -> None:
    """Many changes are one statement; "" is a version (none), None is not."""
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
