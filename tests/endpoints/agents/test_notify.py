"""The notify socket: who is kicked and when, who is let go, and who is noticed to be deaf."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import websocket

from backfleet import commands, fleet
from backfleet.commands import State
from backfleet.endpoints.agents import gateway, heartbeats, sockets
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet_host.retries import retry_after_of_close_frame
from endpoints.agents.hosts import Gate, Host, eventually, open_gate

QUIET = 0.25  # seconds without a frame: nothing was said
POLICY, GOING, TOO_BIG = 1008, 1001, 1009  # codes of a close


def test_an_agent_is_kicked_when_work_comes(gate: Gate, host: Host) -> None:
    """One constant word in a text frame; it then asks, and is not kicked again."""
    channel = host.connect()
    assert not channel.kicked(QUIET)
    gate.send(host, "r-1")
    assert channel.frame() == ("text", b"kick_vm")
    channel.say("accept:kick_vm")
    assert len(host.tasks()["run"]) == 1
    gate.send(host, "r-2")
    assert channel.kicked()


def test_an_agent_is_kicked_when_it_connects_with_work_waiting(gate: Gate, host: Host) -> None:
    """A connected socket does not fetch by itself."""
    gate.send(host, "r-1")
    assert host.connect().kicked()


def test_an_agent_is_kicked_to_stop(gate: Gate, host: Host) -> None:
    """And again when it connects anew, until it says that it stopped."""
    task_id = host.handed()
    channel = host.connect()
    gate.stop("r-1")
    assert channel.kicked()
    assert [entry["task"]["taskID"] for entry in host.tasks()["stop"]] == [task_id]
    again = host.connect()
    assert again.kicked()
    host.report(f"stopped?taskId={task_id}&invokeVersion=0&start=1&end=2&exitcode=0&dropped=0&result=killed")
    assert gate.states() == [State.STOPPED]
    assert host.tasks()["stop"] == []
    assert not host.connect().kicked(QUIET)


def test_others_are_left_in_peace(gate: Gate, host: Host) -> None:
    """A bell is one host's."""
    other = gate.enrol(1)
    channel, others = host.connect(), other.connect()
    gate.send(host, "r-1")
    assert channel.kicked()
    assert not others.kicked(QUIET)
    others.drop()


def test_kicks_are_repeated_until_it_asks(gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """`accept:` alone proves nothing; a list request does."""
    monkeypatch.setattr(sockets, "KICK_AGAIN_SECONDS", 0.1)
    channel = host.connect()
    gate.send(host, "r-1")
    assert channel.kicked()
    channel.say("accept:kick_vm")
    assert channel.kicked()
    host.tasks()
    while channel.kicked(0.05):  # one that was under way
        pass
    assert not channel.kicked(QUIET)


def test_kicks_are_not_repeated_for_ever(gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that does not come is left to the regular look; the next news kicks it again."""
    monkeypatch.setattr(sockets, "KICK_AGAIN_SECONDS", 0.05)
    channel = host.connect()
    gate.send(host, "r-1")
    for _ in range(sockets.MOST_KICKS):
        assert channel.kicked()
    assert not channel.kicked(QUIET)
    gate.send(host, "r-2")
    assert channel.kicked()


def test_a_lost_bell_costs_a_moment(
    open_on: Callable[..., Gate], sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table tells."""
    monkeypatch.setattr(gateway, "LOOK_EVERY_SECONDS", 0.1)
    gate = open_on(sqlite_database)
    host = gate.enrol()
    channel = host.connect()
    gate.send(host, "r-1", silently=True)
    assert channel.kicked()
    channel.drop()


def test_the_agents_ping_is_answered_in_kind(host: Host) -> None:
    """It sends `keepalive` at once and each minute."""
    channel = host.connect()
    channel.ping("keepalive")
    assert channel.frame() == ("pong", b"keepalive")


@pytest.mark.parametrize("word", ["accept:kick_vm", "unknow:kick_vm", "reject:kick_vm", "", "\0" * 1000])
def test_what_an_agent_says_changes_nothing(gate: Gate, host: Host, word: str) -> None:
    """Its socket stays open and is kicked as ever."""
    channel = host.connect()
    channel.say(word)
    gate.send(host, "r-1")
    assert channel.kicked()


def test_an_agent_that_says_too_much_is_let_go(gate: Gate, host: Host) -> None:
    """The door stays open for others, and for it when it comes back."""
    channel = host.connect()
    channel.say("x" * (sockets.LONGEST_MESSAGE + 1))
    assert channel.ended_with() in (TOO_BIG, None)  # what was not read may cost us our last word
    gate.send(host, "r-1")
    assert host.connect().kicked()


def test_no_subprotocol_and_no_extension(host: Host) -> None:
    """A plain upgrade, as the agent expects it."""
    found = {name.lower() for name in host.connect().headers}
    assert not found & {"sec-websocket-protocol", "sec-websocket-extensions"}


# --- One socket per instance ----------------------------------------------------------------------------------------


def test_a_newer_socket_replaces_an_older(gate: Gate, host: Host) -> None:
    """The older is told; only the newer is kicked from then on."""
    older, newer = host.connect(), host.connect()
    assert older.ended_with() == POLICY
    gate.send(host, "r-1")
    assert newer.kicked()


def test_the_end_of_an_older_socket_does_not_take_the_newer_along(gate: Gate, host: Host) -> None:
    """Whatever the order in which they are noticed."""
    older, newer = host.connect(), host.connect()
    older.ended_with()
    older.hang_up()
    newer.ping("keepalive")
    assert newer.frame() == ("pong", b"keepalive")
    gate.send(host, "r-1")
    assert newer.kicked()


def test_a_dead_older_socket_does_not_keep_the_newer_waiting(
    gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never answers the farewell; the newer is kicked at once."""
    host.connect()
    gate.send(host, "r-1", silently=True)
    monkeypatch.setattr(sockets, "SEND_SECONDS", 3.0)
    begun = time.monotonic()
    assert host.connect().kicked()
    assert time.monotonic() - begun < 2


def test_work_for_an_agent_that_is_away_waits(gate: Gate, host: Host) -> None:
    """Nobody is there to be kicked; when it comes back, it is."""
    host.connect().drop()
    gate.send(host, "r-1")
    assert host.connect().kicked()


def test_a_deaf_agent_is_noticed(
    open_on: Callable[..., Gate], sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not answer our pings, so it would not read a kick either; one that answers stays."""
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.8)
    gate = open_on(sqlite_database)
    deaf, well = gate.enrol(), gate.enrol(1)
    deaf_channel, well_channel = deaf.connect(), well.connect()
    until = time.monotonic() + 1.6
    while time.monotonic() < until:
        assert well_channel.frame(0.05)[0] in ("ping", "nothing")
    assert deaf_channel.ended_with() in (None, 1006)
    gate.send(well, "r-1")
    while (found := well_channel.frame())[0] == "ping":
        pass
    assert found == ("text", b"kick_vm")
    for channel in (deaf_channel, well_channel):
        channel.drop()


# --- Many at once ---------------------------------------------------------------------------------------------------


def test_of_a_wave_some_are_kicked_at_a_time(gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one when the first has asked; or after a moment, for a deaf one must not keep the others waiting."""
    monkeypatch.setattr(sockets, "MOST_AWAITED", 1)
    monkeypatch.setattr(sockets, "AWAITED_SECONDS", 0.5)
    other = gate.enrol(1)
    first, second = host.connect(), other.connect()
    for channel in (first, second):
        channel.ping("keepalive")
        channel.frame()
    gate.send(host, "r-1")
    assert first.kicked()
    gate.send(other, "r-2")
    assert not second.kicked(QUIET)
    host.tasks()
    assert second.kicked()
    gate.send(host, "r-3")
    assert not first.kicked(QUIET)
    assert first.kicked(), "the second never asked"
    second.drop()


def test_a_full_node_says_when_to_come_back(open_on: Callable[..., Gate], sqlite_database: Database) -> None:
    """The last resort: memory stays bounded. Those that are in are served as ever."""
    gate = open_on(sqlite_database, most_sockets=1)
    host, other = gate.enrol(), gate.enrol(1)
    channel = host.connect()
    channel.ping("keepalive")
    channel.frame()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        other.connect()
    assert refused.value.status_code == 503
    assert refused.value.resp_headers["retry-after"] == "3"
    gate.send(host, "r-1")
    assert channel.kicked()
    channel.drop()


def test_a_storm_is_absorbed(gate: Gate, host: Host) -> None:
    """Everybody at once, with work waiting: all are let in and kicked, and a report in between is answered."""
    hosts = [host, *(gate.enrol(number % 3) for number in range(1, 40))]
    task_id = host.handed("report")
    for number, each in enumerate(hosts):
        gate.send(each, f"r-{number}", silently=True)
    with ThreadPoolExecutor(40) as pool:
        dialling = [pool.submit(each.connect) for each in hosts]
        assert host.report(f"finish?taskId={task_id}&invokeVersion=0&start=1&end=2&exitCode=0&dropped=0").status == 200
        channels = [dialled.result() for dialled in dialling]
        asked = [pool.submit(lambda each=each, channel=channel: (channel.kicked(), each.tasks()))
                 for each, channel in zip(hosts, channels, strict=True)]  # fmt: skip
        assert all(kicked.result()[0] for kicked in asked)
    for channel in channels:
        channel.drop()


def test_the_farewell_says_when_to_come_back(gate: Gate, host: Host) -> None:
    """Each agent another moment, so that they do not come back together."""
    other = gate.enrol(1)
    channels = [host.connect(), other.connect()]
    for channel in channels:
        channel.ping("keepalive")
        channel.frame()
    gate.drain()
    told = []
    for channel in channels:
        kind, content = channel.frame()
        assert (kind, int.from_bytes(content[:2], "big")) == ("close", GOING)
        told.append(retry_after_of_close_frame(content))
        channel.drop()
    assert sorted(told) == [0.5, 1.0]


# --- The end --------------------------------------------------------------------------------------------------------


def test_a_host_that_leaves_loses_its_socket(gate: Gate, host: Host) -> None:
    """And gets no other."""
    channel = host.connect()
    assert host.post("/instance/deregister").status == 200
    assert channel.ended_with() == POLICY
    with pytest.raises(websocket.WebSocketBadStatusException):
        host.connect()


def test_a_host_that_its_owner_takes_out_loses_its_socket(gate: Gate, host: Host) -> None:
    """At its next heart-beat, whichever node it was taken out at."""
    channel = host.connect()
    with gate.database.transaction() as tx:
        fleet.deregister(tx, host.instance_id, now=gate.clock())
    assert host.beat().status == 401
    assert channel.ended_with() == POLICY


def test_a_node_that_stops_says_so(gate: Gate, host: Host) -> None:
    """Every socket ends with a farewell, none is taken; reports are still answered."""
    task_id = host.handed()
    channel = host.connect()
    channel.ping("keepalive")
    assert channel.frame()[0] == "pong"
    gate.drain()
    assert channel.ended_with() == GOING
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        host.connect()
    assert refused.value.status_code == 503
    host.report(f"finish?taskId={task_id}&invokeVersion=0&start=1&end=2&exitCode=0&dropped=0")
    assert gate.states() == [State.FINISHED]


def test_a_new_node_takes_over(sqlite_database: Database, tmp_path: Any, now: Any) -> None:
    """What one node wrote, the next one knows: the host comes back and is kicked."""
    first, shut = open_gate(sqlite_database, Settings(data=tmp_path), now)
    host = first.enrol()
    channel = host.connect()
    shut()
    assert channel.ended_with() in (GOING, None)
    channel.drop()
    second, shut = open_gate(sqlite_database, Settings(data=tmp_path), now)
    try:
        host.gate = second
        second.send(host, "r-1", silently=True)
        channel = host.connect()
        assert channel.kicked()
        assert len(host.tasks()["run"]) == 1
        channel.drop()
    finally:
        shut()


def test_a_socket_is_a_sign_of_life(
    open_on: Callable[..., Gate], sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pings are heard like everything else."""
    monkeypatch.setattr(heartbeats, "WRITE_EVERY_SECONDS", 0.05)
    gate = open_on(sqlite_database)
    host = gate.enrol()
    channel = host.connect()
    gate.clock.pass_by(minutes=10)
    channel.ping("keepalive")
    eventually(lambda: heard_at(gate, host) == gate.clock.now)
    channel.drop()


def heard_at(gate: Gate, host: Host) -> Any:
    found = gate.instance(host)
    assert found is not None
    return found.last_heard_at


def test_an_unreadable_table_does_not_cost_the_socket(
    gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An agent whose dial fails may be away for half an hour: it is let in, and kicked when the next bell rings."""

    def broken(*_asked: Any) -> str:
        raise RuntimeError("the table is away")

    with monkeypatch.context() as fault:
        fault.setattr(commands, "waiting_for", broken)
        channel = host.connect()
        channel.ping("keepalive")
        assert channel.frame() == ("pong", b"keepalive")
    assert "could not be looked up" in caplog.text
    gate.send(host, "r-1")
    assert channel.kicked()
