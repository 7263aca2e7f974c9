"""The notify socket: which agents are kicked and when, and which are disconnected."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import websocket

from backfleet import commands, fleet
from backfleet.commands import State
from backfleet.endpoints.agents import heartbeats, kicking, pacing, sockets
from backfleet.endpoints.agents.channel import LONGEST_MESSAGE
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet_host.retries import retry_after_of_close_frame
from endpoints.agents.hosts import AgentServer, Host, eventually, start_server

QUIET = 0.25  # seconds without a frame: nothing was sent
POLICY, GOING, TOO_BIG = 1008, 1001, 1009  # codes of a close


def test_an_agent_is_kicked_when_work_comes(server: AgentServer, host: Host) -> None:
    """By one constant word in a text frame; it then fetches, and is not kicked again."""
    channel = host.connect()
    assert not channel.kicked(QUIET)
    server.send(host, "r-1")
    assert channel.frame() == ("text", b"kick_vm")
    channel.say("accept:kick_vm")
    assert len(host.tasks()["run"]) == 1
    server.send(host, "r-2")
    assert channel.kicked()


def test_an_agent_is_kicked_when_it_connects_with_work_waiting(server: AgentServer, host: Host) -> None:
    """A connected agent does not fetch by itself."""
    server.send(host, "r-1")
    assert host.connect().kicked()


def test_an_agent_is_kicked_to_stop_a_task(server: AgentServer, host: Host) -> None:
    """And again when it reconnects, until it reports that it stopped."""
    task_id = host.handed()
    channel = host.connect()
    server.stop("r-1")
    assert channel.kicked()
    assert [entry["task"]["taskID"] for entry in host.tasks()["stop"]] == [task_id]
    again = host.connect()
    assert again.kicked()
    host.report(f"stopped?taskId={task_id}&invokeVersion=0&start=1&end=2&exitcode=0&dropped=0&result=killed")
    assert server.states() == [State.STOPPED]
    assert host.tasks()["stop"] == []
    assert not host.connect().kicked(QUIET)


def test_other_agents_are_not_kicked(server: AgentServer, host: Host) -> None:
    """A notification is for one host."""
    other = server.enrol(1)
    channel, others = host.connect(), other.connect()
    server.send(host, "r-1")
    assert channel.kicked()
    assert not others.kicked(QUIET)
    others.drop()


def test_kicks_repeat_until_the_agent_fetches(server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """`accept:` alone shows nothing; a list request does."""
    monkeypatch.setattr(sockets, "KICK_AGAIN_SECONDS", 0.1)
    channel = host.connect()
    server.send(host, "r-1")
    assert channel.kicked()
    channel.say("accept:kick_vm")
    assert channel.kicked()
    host.tasks()
    while channel.kicked(0.05):  # one that was under way
        pass
    assert not channel.kicked(QUIET)


def test_kicks_are_not_repeated_for_ever(server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that does not fetch is left to the regular poll; the next notification kicks it again."""
    monkeypatch.setattr(sockets, "KICK_AGAIN_SECONDS", 0.05)
    channel = host.connect()
    server.send(host, "r-1")
    for _ in range(sockets.MOST_KICKS):
        assert channel.kicked()
    assert not channel.kicked(QUIET)
    server.send(host, "r-2")
    assert channel.kicked()


def test_a_lost_notification_costs_a_moment(
    sqlite_database: Database, start_on: Callable[..., AgentServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The regular poll finds the work."""
    monkeypatch.setattr(kicking, "POLL_EVERY_SECONDS", 0.1)
    server = start_on(sqlite_database)
    host = server.enrol()
    channel = host.connect()
    server.send(host, "r-1", silently=True)
    assert channel.kicked()
    channel.drop()


def test_an_agents_ping_is_answered(host: Host) -> None:
    """It sends `keepalive` when it connects and each minute."""
    channel = host.connect()
    channel.ping("keepalive")
    assert channel.frame() == ("pong", b"keepalive")


@pytest.mark.parametrize("word", ["accept:kick_vm", "unknow:kick_vm", "reject:kick_vm", "", "\0" * 1000])
def test_messages_of_an_agent_change_nothing(server: AgentServer, host: Host, word: str) -> None:
    """Its socket stays open and is kicked as ever."""
    channel = host.connect()
    channel.say(word)
    server.send(host, "r-1")
    assert channel.kicked()


def test_a_message_that_is_too_long_ends_the_socket(server: AgentServer, host: Host) -> None:
    """Other agents are not affected, and this one may come back."""
    channel = host.connect()
    channel.say("x" * (LONGEST_MESSAGE + 1))
    assert channel.ended_with() in (TOO_BIG, None)  # what was not read may reset the connection first
    server.send(host, "r-1")
    assert host.connect().kicked()


def test_no_subprotocol_and_no_extension(host: Host) -> None:
    """A plain upgrade, as the agent expects it."""
    found = {name.lower() for name in host.connect().headers}
    assert not found & {"sec-websocket-protocol", "sec-websocket-extensions"}


# --- One socket per instance ----------------------------------------------------------------------------------------


def test_a_newer_socket_replaces_an_older(server: AgentServer, host: Host) -> None:
    """The older one is closed; only the newer is kicked from then on."""
    older, newer = host.connect(), host.connect()
    assert older.ended_with() == POLICY
    server.send(host, "r-1")
    assert newer.kicked()


def test_the_end_of_an_older_socket_leaves_the_newer_open(server: AgentServer, host: Host) -> None:
    """In whatever order they are noticed."""
    older, newer = host.connect(), host.connect()
    older.ended_with()
    older.hang_up()
    newer.ping("keepalive")
    assert newer.frame() == ("pong", b"keepalive")
    server.send(host, "r-1")
    assert newer.kicked()


def test_a_dead_older_socket_does_not_delay_the_newer(
    server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead one never answers the close frame; the newer is kicked at once."""
    host.connect()
    server.send(host, "r-1", silently=True)
    monkeypatch.setattr(sockets, "SEND_SECONDS", 3.0)
    begun = time.monotonic()
    assert host.connect().kicked()
    assert time.monotonic() - begun < 2


def test_work_for_a_disconnected_agent_waits(server: AgentServer, host: Host) -> None:
    """It is kicked when it comes back."""
    host.connect().drop()
    server.send(host, "r-1")
    assert host.connect().kicked()


def test_an_agent_that_does_not_answer_pings_is_disconnected(
    sqlite_database: Database, start_on: Callable[..., AgentServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not read a kick either; one that answers stays."""
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.5)
    monkeypatch.setattr(sockets, "PONG_SECONDS", 0.5)
    monkeypatch.setattr(sockets, "CHECK_EVERY_SECONDS", 0.05)
    server = start_on(sqlite_database)
    silent, answering = server.enrol(), server.enrol(1)
    silent_channel, answering_channel = silent.connect(), answering.connect()
    until = time.monotonic() + 1.6
    while time.monotonic() < until:
        assert answering_channel.frame(0.05)[0] in ("ping", "nothing")
    assert silent_channel.ended_with() in (None, 1006)
    server.send(answering, "r-1")
    while (found := answering_channel.frame())[0] == "ping":
        pass
    assert found == ("text", b"kick_vm")
    for channel in (silent_channel, answering_channel):
        channel.drop()


# --- Many at once ---------------------------------------------------------------------------------------------------


def test_few_agents_are_kicked_at_a_time(server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one when the first has fetched; or after a moment, so that a silent one does not delay the others."""
    monkeypatch.setattr(sockets, "MOST_AWAITED", 1)
    monkeypatch.setattr(sockets, "AWAITED_SECONDS", 0.5)
    other = server.enrol(1)
    first, second = host.connect(), other.connect()
    for channel in (first, second):
        channel.ping("keepalive")
        channel.frame()
    server.send(host, "r-1")
    assert first.kicked()
    server.send(other, "r-2")
    assert not second.kicked(QUIET)
    host.tasks()
    assert second.kicked()
    server.send(host, "r-3")
    assert not first.kicked(QUIET)
    assert first.kicked(), "the second never asked"
    second.drop()


def test_the_next_agent_is_kicked_once_the_first_has_its_list(
    server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when it asks: lists that wait for the database would wait behind those of all who were kicked since."""
    monkeypatch.setattr(sockets, "MOST_AWAITED", 1)
    monkeypatch.setattr(sockets, "AWAITED_SECONDS", 60.0)
    other = server.enrol(1)
    first, second = host.connect(), other.connect()
    for channel in (first, second):
        channel.ping("keepalive")
        channel.frame()
    server.send(host, "r-1")
    assert first.kicked()
    server.send(other, "r-2")
    asking = threading.Thread(target=host.tasks)
    with server.database.transaction():
        asking.start()
        assert not second.kicked(QUIET)
    asking.join()
    assert second.kicked()
    for channel in (first, second):
        channel.drop()


def test_agents_far_away_do_not_make_the_others_wait(
    sqlite_database: Database, start_on: Callable[..., AgentServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a kick and a question take says nothing of how fast lists are made."""
    monkeypatch.setattr(sockets, "MOST_AWAITED", 2)
    monkeypatch.setattr(sockets, "AWAITED_SECONDS", 60.0)
    monkeypatch.setattr(pacing, "LEAST", 1)
    server = start_on(sqlite_database)
    hosts = [server.enrol(number) for number in range(3)]
    channels = [host.connect() for host in hosts]
    for number, (host, channel) in enumerate(zip(hosts, channels, strict=True)):
        channel.ping("keepalive")
        channel.frame()
        server.send(host, f"r-{number}")
    assert channels[0].kicked()
    assert not channels[1].kicked(2 * pacing.SOON), "one at a time at first"
    hosts[0].tasks()
    assert all(channel.kicked() for channel in channels[1:]), "two at a time after a list that was made soon"
    for channel in channels:
        channel.drop()


def test_agents_that_fetch_at_another_node_keep_nobody_waiting(
    sqlite_database: Database, start_on: Callable[..., AgentServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one address a list is asked for wherever the connection leads; an agent that has it is kicked no more."""
    monkeypatch.setattr(sockets, "MOST_AWAITED", 1)
    monkeypatch.setattr(sockets, "AWAITED_SECONDS", 60.0)
    monkeypatch.setattr(sockets, "KICK_AGAIN_SECONDS", QUIET)
    pubsub = InProcessPubSub()
    server, other = (start_on(sqlite_database, pubsub) for _ in range(2))
    hosts = [server.enrol(number) for number in range(3)]
    channels = [host.connect() for host in hosts]
    for number, (host, channel) in enumerate(zip(hosts, channels, strict=True)):
        channel.ping("keepalive")
        channel.frame()
        server.send(host, f"r-{number}")
    for host, channel in zip(hosts, channels, strict=True):
        assert channel.kicked()
        assert replace(host, server=other).tasks()["run"]
    assert not any(channel.kicked(2 * QUIET) for channel in channels)
    for channel in channels:
        channel.drop()


def test_a_notification_of_a_list_that_nobody_can_read_changes_nothing(
    sqlite_database: Database, start_on: Callable[..., AgentServer]
) -> None:
    """Whatever a neighbour in the same NATS publishes."""
    pubsub = InProcessPubSub()
    server = start_on(sqlite_database, pubsub)
    host = server.enrol()
    channel = host.connect()
    channel.ping("keepalive")
    channel.frame()
    for topic in ("listed/", "listed/x/y", "listed/-1/i-1", f"listed/1/{host.instance_id}/", f"listed/9{'9' * 40}/i-1"):
        pubsub.publish(topic)
    server.send(host, "r-1")
    assert channel.kicked()
    channel.drop()


def test_a_full_node_says_when_to_come_back(sqlite_database: Database, start_on: Callable[..., AgentServer]) -> None:
    """Memory stays bounded. Agents that are connected are served as ever."""
    server = start_on(sqlite_database, most_sockets=1)
    host, other = server.enrol(), server.enrol(1)
    channel = host.connect()
    channel.ping("keepalive")
    channel.frame()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        other.connect()
    assert refused.value.status_code == 503
    assert refused.value.resp_headers["retry-after"] == "3"
    server.send(host, "r-1")
    assert channel.kicked()
    channel.drop()


def test_a_fleet_that_reconnects_at_once_is_served(server: AgentServer, host: Host) -> None:
    """With work waiting for all: each is let in and kicked, and a report in between is answered."""
    hosts = [host, *(server.enrol(number % 3) for number in range(1, 40))]
    task_id = host.handed("report")
    for number, each in enumerate(hosts):
        server.send(each, f"r-{number}", silently=True)
    with ThreadPoolExecutor(40) as pool:
        dialling = [pool.submit(each.connect) for each in hosts]
        assert host.report(f"finish?taskId={task_id}&invokeVersion=0&start=1&end=2&exitCode=0&dropped=0").status == 200
        channels = [dialled.result() for dialled in dialling]
        asked = [pool.submit(lambda each=each, channel=channel: (channel.kicked(), each.tasks()))
                 for each, channel in zip(hosts, channels, strict=True)]  # fmt: skip
        assert all(kicked.result()[0] for kicked in asked)
    for channel in channels:
        channel.drop()


def test_the_close_frame_says_when_to_come_back(server: AgentServer, host: Host) -> None:
    """Each agent gets another moment, so that they do not come back together."""
    other = server.enrol(1)
    channels = [host.connect(), other.connect()]
    for channel in channels:
        channel.ping("keepalive")
        channel.frame()
    server.drain()
    waits = []
    for channel in channels:
        kind, content = channel.frame()
        assert (kind, int.from_bytes(content[:2], "big")) == ("close", GOING)
        waits.append(retry_after_of_close_frame(content))
        channel.drop()
    assert sorted(waits) == [0.5, 1.0]


# --- The end --------------------------------------------------------------------------------------------------------


def test_a_host_that_deregisters_loses_its_socket(server: AgentServer, host: Host) -> None:
    """And gets no other."""
    channel = host.connect()
    assert host.post("/instance/deregister").status == 200
    assert channel.ended_with() == POLICY
    with pytest.raises(websocket.WebSocketBadStatusException):
        host.connect()


def test_a_host_that_its_owner_deregisters_loses_its_socket(server: AgentServer, host: Host) -> None:
    """At its next heartbeat, whichever node deregistered it."""
    channel = host.connect()
    with server.database.transaction() as tx:
        fleet.deregister(tx, host.instance_id, now=server.clock())
    assert host.heartbeat().status == 401
    assert channel.ended_with() == POLICY


def test_a_node_that_stops_closes_its_sockets(server: AgentServer, host: Host) -> None:
    """None is opened any more; reports are still answered."""
    task_id = host.handed()
    channel = host.connect()
    channel.ping("keepalive")
    assert channel.frame()[0] == "pong"
    server.drain()
    assert channel.ended_with() == GOING
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        host.connect()
    assert refused.value.status_code == 503
    host.report(f"finish?taskId={task_id}&invokeVersion=0&start=1&end=2&exitCode=0&dropped=0")
    assert server.states() == [State.FINISHED]


def test_a_new_node_takes_over(sqlite_database: Database, tmp_path: Any, now: Any) -> None:
    """It knows what the other node wrote: the host comes back and is kicked."""
    first, shut = start_server(sqlite_database, Settings(data=tmp_path), now)
    host = first.enrol()
    channel = host.connect()
    shut()
    assert channel.ended_with() in (GOING, None)
    channel.drop()
    second, shut = start_server(sqlite_database, Settings(data=tmp_path), now)
    try:
        host.server = second
        second.send(host, "r-1", silently=True)
        channel = host.connect()
        assert channel.kicked()
        assert len(host.tasks()["run"]) == 1
        channel.drop()
    finally:
        shut()


def test_pings_on_a_socket_are_heartbeats(
    sqlite_database: Database, start_on: Callable[..., AgentServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written down like every heartbeat."""
    monkeypatch.setattr(heartbeats, "WRITE_EVERY_SECONDS", 0.05)
    server = start_on(sqlite_database)
    host = server.enrol()
    channel = host.connect()
    server.clock.advance(minutes=10)
    channel.ping("keepalive")
    eventually(lambda: heard_at(server, host) == server.clock.now)
    channel.drop()


def heard_at(server: AgentServer, host: Host) -> Any:
    found = server.instance(host)
    assert found is not None
    return found.last_heard_at


def test_a_socket_survives_a_failed_query_for_its_work(
    server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused agent may stay away for half an hour: it is let in, and kicked at the next notification."""

    def broken(*_asked: Any) -> str:
        raise RuntimeError("the table cannot be read")

    with monkeypatch.context() as fault:
        fault.setattr(commands, "oldest_work_for", broken)
        channel = host.connect()
        channel.ping("keepalive")
        assert channel.frame() == ("pong", b"keepalive")
        eventually(lambda: "could not be looked up" in caplog.text)
    server.send(host, "r-1")
    assert channel.kicked()
