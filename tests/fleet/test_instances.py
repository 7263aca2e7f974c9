"""Heartbeats, reachability, and lists of instances."""

from datetime import datetime, timedelta

import pytest

from backfleet import fleet
from backfleet.fleet import Heartbeat, InstanceFilter, Reachability
from backfleet.paging import Page
from backfleet.storage import Database
from fleet.conftest import ACCOUNT, REGION

WITHIN = timedelta(seconds=180)


def read(database: Database, instance: fleet.Instance) -> fleet.Instance:
    with database.reading() as tx:
        found = fleet.instance(tx, instance.account_id, instance.id)
    assert found is not None
    return found


def test_an_instance_is_reachable_while_its_agent_is_heard(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """Up to the second of the limit, and again with the next heartbeat."""
    later = now + WITHIN
    assert fleet.reachability(hosts[0], now=later, reachable_within=WITHIN) is Reachability.REACHABLE
    later += timedelta(seconds=1)
    assert fleet.reachability(hosts[0], now=later, reachable_within=WITHIN) is Reachability.AGENT_NOT_RUNNING
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, later)])
    assert fleet.reachability(read(database, hosts[0]), now=later, reachable_within=WITHIN) is Reachability.REACHABLE


def test_a_host_that_shut_down_is_stopped_until_its_next_heartbeat(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """It is InstanceNotRunning, however lately it was heard."""
    with database.transaction() as tx:
        fleet.note_shutdown(tx, hosts[0].id, now=now)
    assert fleet.reachability(read(database, hosts[0]), now=now, reachable_within=WITHIN) is Reachability.NOT_RUNNING
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, now)])
    assert fleet.reachability(read(database, hosts[0]), now=now, reachable_within=WITHIN) is Reachability.REACHABLE


def test_no_instance_is_reported_as_not_existing(now: datetime) -> None:
    """None stands for no instance."""
    assert fleet.reachability(None, now=now, reachable_within=WITHIN) is Reachability.NOT_EXISTS


def test_a_heartbeat_changes_only_what_it_reports(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """Version, mode and skew stay as they were; many heartbeats are one statement."""
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
def test_instances_are_filtered(
    database: Database, hosts: list[fleet.Instance], now: datetime, wanted: InstanceFilter, count: int
) -> None:
    """Conditions are joined with AND; each has a row here."""
    with database.reading() as tx:
        found = fleet.find_instances(tx, ACCOUNT, REGION, wanted, Page(1, 10), heard_since=now - WITHIN)
    assert (len(found.items), found.total) == (count, count)


def test_pages_have_every_instance_once(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """Oldest first; the total counts all pages."""
    seen = []
    with database.reading() as tx:
        for number in (1, 2, 3):
            found = fleet.find_instances(
                tx, ACCOUNT, REGION, InstanceFilter(), Page(number, 1), heard_since=now - WITHIN
            )
            assert found.total == 2
            seen += [instance.id for instance in found.items]
    assert sorted(seen) == sorted(host.id for host in hosts)


def test_a_boot_is_reported_once(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """The newest boot of a host counts; those beyond the limit are reported by the next call."""
    later = now + timedelta(seconds=5)
    with database.transaction() as tx:
        assert not fleet.has_boots(tx)
        fleet.note_boot(tx, hosts[0].id, now=now)
        fleet.note_boot(tx, hosts[1].id, now=now + timedelta(seconds=1))
        fleet.note_boot(tx, hosts[0].id, now=later)
    with database.transaction() as tx:
        assert fleet.has_boots(tx)
        assert list(fleet.take_boots(tx, limit=1)) == [hosts[1].id]
        assert fleet.take_boots(tx, limit=5) == {hosts[0].id: later}
        assert not fleet.has_boots(tx)


def test_a_heartbeat_updates_the_kind_of_agent(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """The version decides it; a heartbeat without a version leaves it."""
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, now, "2.2.3.578"), Heartbeat(hosts[1].id, now)])
        kinds = fleet.agent_kinds(tx, [hosts[0].id, hosts[1].id, "mi-none"])
    assert kinds == {hosts[0].id: fleet.AgentKind.OFFICIAL, hosts[1].id: fleet.AgentKind.BACKFLEET}
