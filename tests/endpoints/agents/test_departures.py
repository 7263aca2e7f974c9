"""Agents that close their sockets: who is shown as not connected, and when."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backfleet import fleet
from backfleet.endpoints.agents import heartbeats, sockets
from backfleet.endpoints.agents.channel import LONGEST_MESSAGE
from backfleet.fleet import Reachability
from backfleet.settings import Settings
from backfleet.storage import Database
from endpoints.agents.hosts import AgentServer, Channel, Host, eventually, start_server

WITHIN = timedelta(seconds=180)
BACK = 0.3  # seconds in which an agent may come back
LONG = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "WRITE_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "CLOSED_SECONDS", BACK)
    monkeypatch.setattr(sockets, "DROPPED_SECONDS", LONG)


def connected(server: AgentServer, host: Host) -> Channel:
    """Open the host's socket; return it once the database says that the host can be given work."""
    channel = host.connect()
    eventually(lambda: is_reachable(server, host))
    server.clock.advance(seconds=1)
    return channel


def is_reachable(server: AgentServer, host: Host) -> bool:
    found = fleet.reachability(server.instance(host), now=server.clock(), reachable_within=WITHIN)
    return found is Reachability.REACHABLE


def test_an_agent_that_closes_its_socket_is_not_connected(server: AgentServer, host: Host) -> None:
    """Within seconds, and since the moment at which it closed it."""
    channel = connected(server, host)
    channel.hang_up()
    eventually(lambda: not is_reachable(server, host))
    found = server.instance(host)
    assert found is not None
    assert found.left_at == server.clock()


def test_an_agent_that_comes_back_never_was_away(server: AgentServer, host: Host) -> None:
    """A restart is not seen."""
    connected(server, host).hang_up()
    host.connect()
    time.sleep(2 * BACK)
    found = server.instance(host)
    assert is_reachable(server, host)
    assert found is not None
    assert found.left_at is None


def test_an_agent_that_comes_back_late_is_connected_again(server: AgentServer, host: Host) -> None:
    """With the first message of its new socket."""
    connected(server, host).hang_up()
    eventually(lambda: not is_reachable(server, host))
    server.clock.advance(seconds=5)
    host.connect()
    eventually(lambda: is_reachable(server, host))


def test_a_connection_that_breaks_waits_for_the_agents_own_tries(
    server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer that is restarted ends every connection so; the official agent, too, never says a word."""
    connected(server, host).drop()
    time.sleep(2 * BACK)
    assert is_reachable(server, host)
    monkeypatch.setattr(sockets, "DROPPED_SECONDS", BACK)
    server.clock.advance(seconds=1)
    connected(server, host).drop()
    eventually(lambda: not is_reachable(server, host))


def test_a_server_that_stops_marks_nobody(sqlite_database: Database, tmp_path: Path, now: datetime) -> None:
    """Its sockets end because it does. Nobody is marked either who had gone just before, and might have come back."""
    server, shut = start_server(sqlite_database, Settings(data=tmp_path), now)
    hosts = [server.enrol(number) for number in range(2)]
    channels = [connected(server, host) for host in hosts]
    channels[0].hang_up()
    server.drain()
    time.sleep(2 * BACK)
    shut()
    assert all(is_reachable(server, host) for host in hosts)
    channels[1].drop()


def test_a_server_that_is_ended_without_a_drain_marks_nobody(
    sqlite_database: Database, tmp_path: Path, now: datetime
) -> None:
    """Its handlers are cancelled, and no socket was closed by an agent."""
    server, shut = start_server(sqlite_database, Settings(data=tmp_path), now)
    host = server.enrol()
    channel = connected(server, host)
    shut()
    assert is_reachable(server, host)
    channel.drop()


def test_an_agent_that_moves_to_another_server_stays_connected(
    sqlite_database: Database, start_on: Callable[..., AgentServer]
) -> None:
    """The first server saw it leave, and does not know of the second."""
    first, second = start_on(sqlite_database), start_on(sqlite_database)
    host = first.enrol()
    connected(first, host).hang_up()
    second.clock.now = first.clock() + timedelta(seconds=1)
    host.server = second
    channel = host.connect()
    deadline = time.monotonic() + 2 * BACK
    while time.monotonic() < deadline:
        time.sleep(0.05)
        assert is_reachable(second, host)
    channel.drop()


def test_a_socket_that_a_newer_one_replaced_is_no_departure(server: AgentServer, host: Host) -> None:
    """Nor is one that the server closed for another reason."""
    older, newer = connected(server, host), host.connect()
    older.ended_with()
    time.sleep(2 * BACK)
    assert is_reachable(server, host)
    newer.say("x" * (LONGEST_MESSAGE + 1))
    newer.ended_with()
    time.sleep(2 * BACK)
    assert is_reachable(server, host)
