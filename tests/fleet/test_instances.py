"""Heartbeats, reachability, and lists of instances."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

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


def test_an_instance_is_reachable_while_its_agent_uses_its_socket(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """Up to the second of the limit, and again with the next ping."""
    later = now + WITHIN
    assert fleet.reachability(hosts[0], now=later, reachable_within=WITHIN) is Reachability.REACHABLE
    later += timedelta(seconds=1)
    assert fleet.reachability(hosts[0], now=later, reachable_within=WITHIN) is Reachability.AGENT_NOT_RUNNING
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(hosts[0].id, later, reachable_at=later)])
    assert fleet.reachability(read(database, hosts[0]), now=later, reachable_within=WITHIN) is Reachability.REACHABLE


def test_an_agent_that_only_sends_heartbeats_cannot_be_given_work(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """Its machine lives, but nobody can tell it to fetch. Lists and counts say the same."""
    later = now + timedelta(minutes=10)
    with database.transaction() as tx:
        fleet.note_heartbeats(
            tx, [Heartbeat(hosts[0].id, later), Heartbeat(hosts[1].id, later, reachable_at=later - WITHIN)]
        )
    deaf = read(database, hosts[0])
    assert (deaf.last_heard_at, deaf.reachable_at) == (later, now)
    assert fleet.reachability(deaf, now=later, reachable_within=WITHIN) is Reachability.AGENT_NOT_RUNNING
    since = later - WITHIN
    with database.reading() as tx:
        for connected, expected in ((True, hosts[1].id), (False, hosts[0].id)):
            wanted = InstanceFilter(connected=connected)
            found = fleet.find_instances(tx, ACCOUNT, REGION, wanted, Page(1, 10), reachable_since=since)
            assert [instance.id for instance in found.items] == [expected]
        assert fleet.count_presence(tx, ACCOUNT, reachable_since=since) == (1, 1)


def test_an_agent_that_closed_its_socket_cannot_be_given_work(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """At once, everywhere that is asked; it is not called deaf, and being heard later counts more, wherever it was."""
    later = now + timedelta(seconds=30)
    with database.transaction() as tx:
        fleet.note_left(tx, {hosts[0].id: now, hosts[1].id: now - timedelta(seconds=1), "i-unknown": now})
    left, stayed = (read(database, host) for host in hosts[:2])
    assert fleet.reachability(left, now=later, reachable_within=WITHIN) is Reachability.AGENT_NOT_RUNNING
    assert (left.left_at, stayed.left_at) == (now, None)  # of the other one something newer had come
    since = later - WITHIN
    with database.reading() as tx:
        for connected, expected in ((True, stayed.id), (False, left.id)):
            wanted = InstanceFilter(connected=connected)
            found = fleet.find_instances(tx, ACCOUNT, REGION, wanted, Page(1, 10), reachable_since=since)
            assert [instance.id for instance in found.items] == [expected]
        assert fleet.count_presence(tx, ACCOUNT, reachable_since=since) == (1, 0)
        assert fleet.out_of_reach(tx, ACCOUNT, REGION, reachable_since=since) == {left.id}
        assert fleet.deaf(tx, ACCOUNT, since=since, limit=10) == []
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(left.id, later, reachable_at=later)])
        fleet.note_left(tx, {left.id: now})  # a process that is late with it
    assert fleet.reachability(read(database, left), now=later, reachable_within=WITHIN) is Reachability.REACHABLE
    with database.reading() as tx:
        assert fleet.count_presence(tx, ACCOUNT, reachable_since=since) == (2, 0)


def test_an_agent_that_has_never_connected_cannot_be_given_work(
    database: Database, activate: Any, registration: Any, now: datetime, draw: Any
) -> None:
    """It has only enrolled. Nobody is alarmed before it had time to connect."""
    activation, code = activate()
    with database.transaction() as tx:
        made = fleet.register(tx, registration(activation, code), source_ip="10.1.1.1", now=now, draw=draw)
    assert fleet.reachability(made, now=now, reachable_within=WITHIN) is Reachability.AGENT_NOT_RUNNING
    soon = now + timedelta(seconds=60)
    assert fleet.next_dial(made, now=now, reachable_within=WITHIN) == soon
    assert fleet.next_dial(made, now=soon + timedelta(seconds=1), reachable_within=WITHIN) is None
    with database.reading() as tx:
        found = fleet.find_instances(
            tx, ACCOUNT, REGION, InstanceFilter(connected=False), Page(1, 10), reachable_since=now - WITHIN
        )
        assert [instance.id for instance in found.items] == [made.id]
        assert fleet.count_presence(tx, ACCOUNT, reachable_since=now - WITHIN) == (0, 0)


@pytest.mark.parametrize(
    ("age", "minutes"),
    [
        pytest.param(timedelta(seconds=20), 29.92, id="young"),
        pytest.param(timedelta(minutes=29), 1.25, id="nearly half an hour"),
        pytest.param(timedelta(minutes=30), 0.25, id="now"),
        pytest.param(timedelta(minutes=31), 29.25, id="just over half an hour"),
        pytest.param(timedelta(days=3, minutes=10), 20.25, id="days"),
    ],
)
def test_an_official_agent_without_a_socket_connects_at_each_half_hour_of_its_process(
    hosts: list[fleet.Instance], now: datetime, age: timedelta, minutes: float
) -> None:
    """Its heartbeats tell how old its process is."""
    official = replace(hosts[0], agent_kind=fleet.AgentKind.OFFICIAL, agent_started_at=now - age, last_heard_at=now)
    dial = fleet.next_dial(official, now=now, reachable_within=WITHIN)
    assert dial is not None
    assert (dial - now).total_seconds() / 60 == pytest.approx(minutes, abs=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"agent_started_at": None}, id="the age of its process is not known"),
        pytest.param({"agent_kind": fleet.AgentKind.BACKFLEET}, id="our own agent, which tries all the time"),
        pytest.param({"last_heard_at": None}, id="never heard"),
        pytest.param({"last_heard_at": datetime(2020, 1, 1, tzinfo=UTC)}, id="dead"),
    ],
)
def test_the_next_dial_of_other_agents_is_not_known(
    hosts: list[fleet.Instance], now: datetime, changes: dict[str, Any]
) -> None:
    """A promise needs a process that lives, and whose clock is known."""
    official = replace(hosts[0], agent_kind=fleet.AgentKind.OFFICIAL, agent_started_at=now, last_heard_at=now)
    assert fleet.next_dial(replace(official, **changes), now=now, reachable_within=WITHIN) is None


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


def test_a_heartbeat_that_is_written_late_takes_nothing_back(
    database: Database, hosts: list[fleet.Instance], now: datetime
) -> None:
    """An agent left one node for another one, which wrote first; the first had not written yet what it had heard."""
    later, host = now + timedelta(seconds=1), hosts[0].id
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(host, later, reachable_at=later, stopping=True)])
        fleet.note_heartbeats(tx, [Heartbeat(host, now, agent_version="2.2.3.578", reachable_at=now)])
        fleet.note_left(tx, {host: now})
    found = read(database, hosts[0])
    assert found is not None
    assert (found.last_heard_at, found.reachable_at, found.stopped_at) == (later, later, later)
    assert (found.left_at, found.agent_version) == (None, "2.2.3.578")


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
        found = fleet.find_instances(tx, ACCOUNT, REGION, wanted, Page(1, 10), reachable_since=now - WITHIN)
    assert (len(found.items), found.total) == (count, count)


def test_pages_have_every_instance_once(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """Oldest first; the total counts all pages."""
    seen = []
    with database.reading() as tx:
        for number in (1, 2, 3):
            found = fleet.find_instances(
                tx, ACCOUNT, REGION, InstanceFilter(), Page(number, 1), reachable_since=now - WITHIN
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


def test_which_are_deregistered_is_asked_in_one_form(database: Database, hosts: list[fleet.Instance]) -> None:
    """A connection of SQLite keeps each form: with one for each number of hosts it grows for hours."""
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has one form")
    asked: list[str] = []
    with database.reading() as tx:
        driver: Any = tx._connection.connection.dbapi_connection
        driver.set_trace_callback(asked.append)
        for count in range(1, 65):
            assert fleet.deregistered_among(tx, [hosts[0].id] * count) == []
        driver.set_trace_callback(None)
    assert len(asked) == 64
    assert len({re.sub("'[^']*'", "?", statement) for statement in asked}) == 1


def test_which_are_deregistered(database: Database, hosts: list[fleet.Instance], now: datetime) -> None:
    """Those that are asked about, however many they are; not those that there are not."""
    with database.transaction() as tx:
        fleet.deregister(tx, hosts[1].id, now=now)
    with database.reading() as tx:
        assert fleet.deregistered_among(tx, []) == []
        assert fleet.deregistered_among(tx, [hosts[0].id]) == []
        none = [f"mi-{number}" for number in range(1500)]
        assert fleet.deregistered_among(tx, [*none, hosts[0].id, hosts[1].id, 'it\'s \\ "one"']) == [hosts[1].id]
