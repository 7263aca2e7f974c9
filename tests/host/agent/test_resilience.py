"""What goes wrong between agent and server, and what must still be true afterwards."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from host.agent.conftest import Host, until
from host.agent.gateway import TERMINAL, Gateway
from host.agent.test_orders import acts, order


def unsent(host: Host) -> list[str]:
    """Tasks whose report the server does not have, as the disk says."""
    return [
        folder.name
        for folder in host.places.tasks.iterdir()
        if (folder / "report.json").exists() and not (folder / "acknowledged").exists()
    ]


def test_a_report_refused_for_long_arrives_once_it_can(gateway: Gateway, acting_host: Host) -> None:
    """The official agent gives up after four tries; this one does not."""
    gateway.behaviour.refuse["finish"] = 7
    acting_host.start()
    gateway.hand_out("t-1", order(), kick=False)
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert until(lambda: not unsent(acting_host))


def test_a_lost_answer_makes_an_equal_copy(gateway: Gateway, acting_host: Host) -> None:
    """The same query and the same body again; only the identity headers differ."""
    gateway.behaviour.lose_answers["finish"] = 2
    acting_host.start()
    gateway.hand_out("t-1", order(), kick=False)
    gateway.wait_for(lambda: len(gateway.told("t-1", "finish")) == 3)
    copies = gateway.told("t-1", "finish")
    assert copies[0].query == copies[1].query == copies[2].query
    assert copies[0].body == copies[1].body == copies[2].body
    assert gateway.refused == []
    assert until(lambda: not unsent(acting_host))


def test_a_report_survives_the_agent(gateway: Gateway, acting_host: Host) -> None:
    """The server is away, the agent is killed; the next agent delivers."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: acts(acting_host))
    gateway.go_away()
    (acting_host.places.root / "go").touch()
    assert until(lambda: unsent(acting_host) == ["t-1"])
    acting_host.kill()
    acting_host.start()
    gateway.come_back()
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert acts(acting_host) == ["carry u-1"]
    assert until(lambda: not unsent(acting_host))


def test_an_outage_is_survived(gateway: Gateway, acting_host: Host) -> None:
    """Socket, list and reports come back by themselves, and work that came meanwhile is fetched without a kick."""
    acting_host.start()
    acting_host.ready()
    gateway.go_away()
    time.sleep(0.5)
    gateway.hand_out("t-1", order(), kick=False)
    opened = gateway.opened
    gateway.come_back()
    gateway.wait_for(lambda: gateway.opened > opened)
    assert gateway.end_of("t-1").name == "finish"
    assert acting_host.agent is not None
    assert acting_host.agent.poll() is None


def test_a_server_that_is_not_there_at_start_is_waited_for(gateway: Gateway, acting_host: Host) -> None:
    """Nothing is printed before the agent is connected; then all is well."""
    gateway.go_away()
    acting_host.start()
    time.sleep(1.0)
    gateway.come_back()
    assert acting_host.ready()["event"] == "running"


def test_a_cut_connection_is_opened_again_quickly(gateway: Gateway, acting_host: Host) -> None:
    """And the list is fetched at once: a kick may have been lost."""
    acting_host.start()
    acting_host.ready()
    lists = len(gateway.lists)
    began = time.monotonic()
    gateway.drop_sockets()
    gateway.wait_for(lambda: gateway.opened == 2)
    assert time.monotonic() - began < 3
    gateway.wait_for(lambda: len(gateway.lists) > lists)


def test_a_silent_socket_is_given_up(gateway: Gateway, acting_host: Host) -> None:
    """No pong: nobody is there, whatever TCP thinks."""
    gateway.behaviour.silent_pongs = True
    acting_host.start()
    gateway.wait_for(lambda: gateway.opened >= 2)
    gateway.behaviour.silent_pongs = False
    gateway.wait_for(lambda: gateway.pongs)
    assert "no pong" in acting_host.log.read_text()


def test_a_refused_socket_is_tried_again(gateway: Gateway, acting_host: Host) -> None:
    """503 at the upgrade is no reason to stay deaf."""
    gateway.behaviour.refuse["notify_server"] = 4
    acting_host.start()
    assert acting_host.ready()["event"] == "running"


def test_a_refused_list_is_fetched_again(gateway: Gateway, acting_host: Host) -> None:
    """The startup list has as many chances as it needs, and says `startup` until it was answered."""
    gateway.behaviour.refuse["list"] = 6
    gateway.hand_out("t-1", order(), kick=False)
    acting_host.start()
    assert gateway.end_of("t-1").name == "finish"
    assert gateway.lists[0]["reason"] == "startup"


def test_a_refused_beat_is_sent_again(gateway: Gateway, acting_host: Host) -> None:
    """Once more soon after; the counters tell that one was missed."""
    gateway.behaviour.refuse["heart-beat"] = 1
    acting_host.start()
    gateway.wait_for(lambda: gateway.beats)
    assert gateway.beats[0]["index"] == "0"
    assert gateway.beats[0]["seq_no"] == "0"


def test_kicks_are_answered_and_malformed_ones_do_no_harm(gateway: Gateway, acting_host: Host) -> None:
    """The message that deafens the official agent for good included."""
    acting_host.start()
    acting_host.ready()
    for text in ("kick_vm task", "kick_vm", "x" * 9000, "kick_vm noop 7", "kick_vm agent deregister", "\u0000"):
        gateway.kick(text)
    gateway.wait_for(lambda: len(gateway.echoes) == 6)
    assert gateway.echoes[0] == "unknow:kick_vm task"
    assert gateway.echoes[1] == "accept:kick_vm"
    assert gateway.echoes[3] == "accept:kick_vm noop 7"
    assert gateway.echoes[4] == "unknow:kick_vm agent deregister"
    assert acting_host.places.identity.exists()
    gateway.hand_out("t-1", order())
    assert gateway.end_of("t-1").name == "finish"


def test_a_kick_that_brought_nothing_gets_a_second_chance(gateway: Gateway, acting_host: Host) -> None:
    """The kick may be faster than the server's own tables."""
    acting_host.start()
    acting_host.ready()
    gateway.wait_for(lambda: len(gateway.lists) >= 2)
    assert until(lambda: _is_quiet(gateway))
    before = len(gateway.lists)
    gateway.kick("kick_vm task run t-9")
    gateway.wait_for(lambda: len(gateway.lists) == before + 2)
    assert gateway.lists[before]["taskId"] == "t-9"


def _is_quiet(gateway: Gateway) -> bool:
    before = len(gateway.lists)
    time.sleep(0.4)
    return len(gateway.lists) == before


def test_one_bad_entry_costs_that_entry_only(gateway: Gateway, acting_host: Host) -> None:
    """The official agent throws the whole list away."""
    gateway.hand_out("t-0", order(), kick=False, task={"commandContent": 7})
    gateway.hand_out("t-1", order(), kick=False)
    acting_host.start()
    assert gateway.end_of("t-1").name == "finish"
    assert gateway.told("t-0") == []


def test_there_is_one_agent_to_a_root(gateway: Gateway, acting_host: Host) -> None:
    """The second says so and changes nothing."""
    acting_host.start()
    acting_host.ready()
    first, acting_host.agent = acting_host.agent, None
    acting_host.start()
    assert acting_host.agent is not None
    assert acting_host.agent.wait(10) == 1
    assert "another agent already runs" in acting_host.log.read_text()
    assert acting_host.agent.stdout is not None
    acting_host.agent.stdout.close()
    acting_host.agent = first


def test_a_dead_agent_holds_no_lock(gateway: Gateway, acting_host: Host) -> None:
    """Killed with -9, started again: not even a process of the dead one stands in the way."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: acts(acting_host))
    acting_host.kill()
    acting_host.start()
    assert acting_host.ready()["instance_id"] == "mi-test0001"


def test_a_full_disk_is_told_and_costs_no_report(gateway: Gateway, acting_host: Host) -> None:
    """The journal cannot be written: the task is refused with errCode -8, and nothing is run."""
    if os.geteuid() == 0 and not Path("/dev/full").exists():
        pytest.skip("needs a way to make writing fail")
    acting_host.start()
    acting_host.ready()
    acting_host.places.tasks.rmdir()
    acting_host.places.tasks.write_text("in the way of the folder")  # what a broken file system looks like
    gateway.hand_out("t-1", order())
    end = gateway.end_of("t-1")
    assert (end.name, end.query["errCode"]) == ("error", "-8")
    assert acts(acting_host) == []


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_killed_at_any_moment(gateway: Gateway, acting_host: Host, delay: float) -> None:
    """Wherever the agent dies: the next one reports once and for all, and the order was carried out once."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order())
    time.sleep(delay)
    acting_host.kill(signal.SIGKILL)
    acting_host.start()
    end = gateway.end_of("t-1")
    assert end.query["exitCode"] == "0"
    assert until(lambda: not unsent(acting_host))
    assert acts(acting_host) == ["carry u-1"]
    ends = {json.dumps([told.query, told.body.decode()]) for told in gateway.told("t-1", *TERMINAL)}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("system", "last"),
    [pytest.param("stopping", "stopping", id="goes down"), pytest.param("running", None, id="runs on")],
)
def test_a_host_that_goes_down_says_so(
    gateway: Gateway, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, last: str | None
) -> None:
    """With its last heart-beat; an agent that merely ends says nothing."""
    programs = tmp_path / "programs"
    programs.mkdir()
    systemctl = programs / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$1" = is-system-running ] && echo {system}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    host.start()
    host.ready()
    assert host.kill(signal.SIGTERM) == 0
    assert gateway.beats[-1].get("state") == last


def test_what_another_agent_left_is_made_good_at_the_start(gateway: Gateway, host: Host) -> None:
    """An order that came through its shell, cut off: no task of ours answers for it, and nobody else looks."""
    package = host.places.root / "courier"
    (package / "versions" / ".2.0.partial").mkdir(parents=True)
    order = {"order_id": "u-9", "kind": "upgrade", "package": "courier", "version": "2.0", "platform": "linux-amd64"}
    (package / "journal").write_text(json.dumps({"line": "order", "order": order, "from_version": ""}) + "\n")
    host.start()
    host.ready()
    assert until(lambda: not (package / "journal").exists())
    assert until(lambda: "recovered courier: nothing is installed" in host.log.read_text())
    assert list((package / "versions").iterdir()) == []
    told = json.loads((package / "outcome.json").read_text())["report"]
    assert (told["order_id"], told["code"]) == ("u-9", "InternalError")
    assert host.nothing_left()
