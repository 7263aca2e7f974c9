"""Failures between agent and server, and what must hold after them."""

import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from host.agent.conftest import Host, actions, order, until
from host.agent.gateway import TERMINAL, Gateway
from mounts import mounted, remount


def unsent(host: Host) -> list[str]:
    """Return the tasks whose report the server does not have, as the disk says."""
    return [
        folder.name
        for folder in host.places.tasks.iterdir()
        if (folder / "report.json").exists() and not (folder / "acknowledged").exists()
    ]


def test_a_report_that_is_refused_for_long_arrives_in_the_end(gateway: Gateway, acting_host: Host) -> None:
    """The official agent gives up after four tries; this one does not."""
    gateway.behaviour.refuse["finish"] = 7
    acting_host.start()
    gateway.hand_out("t-1", order(), kick=False)
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert until(lambda: not unsent(acting_host))


def test_a_report_whose_answer_is_lost_is_sent_again_unchanged(gateway: Gateway, acting_host: Host) -> None:
    """The same query and body; only the identity headers differ."""
    gateway.behaviour.lose_answers["finish"] = 2
    acting_host.start()
    gateway.hand_out("t-1", order(), kick=False)
    gateway.wait_for(lambda: len(gateway.reports_about("t-1", "finish")) == 3)
    copies = gateway.reports_about("t-1", "finish")
    assert copies[0].query == copies[1].query == copies[2].query
    assert copies[0].body == copies[1].body == copies[2].body
    assert gateway.refused == []
    assert until(lambda: not unsent(acting_host))


def test_a_report_survives_the_agent(gateway: Gateway, acting_host: Host) -> None:
    """The server is away and the agent is killed; the next agent delivers."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: actions(acting_host.places))
    gateway.go_away()
    (acting_host.places.root / "go").touch()
    assert until(lambda: unsent(acting_host) == ["t-1"])
    acting_host.kill()
    acting_host.start()
    gateway.come_back()
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert actions(acting_host.places) == ["carry u-1"]
    assert until(lambda: not unsent(acting_host))


def test_the_agent_recovers_from_an_outage_of_the_server(gateway: Gateway, acting_host: Host) -> None:
    """Socket, list and reports resume by themselves, and new tasks are fetched without a kick."""
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


def test_the_agent_waits_for_a_server_that_is_away_at_start(gateway: Gateway, acting_host: Host) -> None:
    """Nothing is printed before the agent is connected."""
    gateway.go_away()
    acting_host.start()
    time.sleep(1.0)
    gateway.come_back()
    assert acting_host.ready()["event"] == "running"


def test_a_cut_connection_is_opened_again_quickly(gateway: Gateway, acting_host: Host) -> None:
    """And the list is fetched at once, since a kick may have been lost."""
    acting_host.start()
    acting_host.ready()
    lists = len(gateway.lists)
    began = time.monotonic()
    gateway.drop_sockets()
    gateway.wait_for(lambda: gateway.opened == 2)
    assert time.monotonic() - began < 3
    gateway.wait_for(lambda: len(gateway.lists) > lists)


def test_a_socket_without_pongs_is_closed(gateway: Gateway, acting_host: Host) -> None:
    """Even if TCP has not noticed that the connection is dead."""
    gateway.behaviour.silent_pongs = True
    acting_host.start()
    gateway.wait_for(lambda: gateway.opened >= 2)
    gateway.behaviour.silent_pongs = False
    gateway.wait_for(lambda: gateway.pongs)
    assert "no pong" in acting_host.log.read_text()


def test_a_refused_socket_is_opened_again(gateway: Gateway, acting_host: Host) -> None:
    """After answers of 503 to the upgrade request."""
    gateway.behaviour.refuse["notify_server"] = 4
    acting_host.start()
    assert acting_host.ready()["event"] == "running"


def test_a_refused_list_is_fetched_again(gateway: Gateway, acting_host: Host) -> None:
    """As often as needed, with reason `startup` until it was answered."""
    gateway.behaviour.refuse["list"] = 6
    gateway.hand_out("t-1", order(), kick=False)
    acting_host.start()
    assert gateway.end_of("t-1").name == "finish"
    assert gateway.lists[0]["reason"] == "startup"


def test_a_refused_heartbeat_is_sent_again(gateway: Gateway, acting_host: Host) -> None:
    """Once more soon after; the counters show that one was missed."""
    gateway.behaviour.refuse["heart-beat"] = 1
    acting_host.start()
    gateway.wait_for(lambda: gateway.heartbeats)
    assert gateway.heartbeats[0]["index"] == "0"
    assert gateway.heartbeats[0]["seq_no"] == "0"


def test_malformed_kicks_do_no_harm(gateway: Gateway, acting_host: Host) -> None:
    """Among them the message that makes the official agent ignore all later ones."""
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


def test_an_empty_list_after_a_kick_is_fetched_once_more(gateway: Gateway, acting_host: Host) -> None:
    """The kick may be faster than the tables of the server."""
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


def test_a_bad_entry_of_a_list_is_left_out_alone(gateway: Gateway, acting_host: Host) -> None:
    """The official agent drops the whole list."""
    gateway.hand_out("t-0", order(), kick=False, task={"commandContent": 7})
    gateway.hand_out("t-1", order(), kick=False)
    acting_host.start()
    assert gateway.end_of("t-1").name == "finish"
    assert gateway.reports_about("t-0") == []


def test_a_root_has_one_agent(gateway: Gateway, acting_host: Host) -> None:
    """The second one says so and changes nothing."""
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


def test_a_killed_agent_holds_no_lock(gateway: Gateway, acting_host: Host) -> None:
    """Not even the process of one of its tasks keeps the next agent from starting."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: actions(acting_host.places))
    acting_host.kill()
    acting_host.start()
    assert acting_host.ready()["instance_id"] == "mi-test0001"


def test_a_task_that_cannot_be_journalled_is_refused(gateway: Gateway, acting_host: Host) -> None:
    """With the system's own error, and nothing is run."""
    acting_host.start()
    acting_host.ready()
    acting_host.places.tasks.rmdir()
    acting_host.places.tasks.write_text("in the way of the folder")  # what a broken file system looks like
    gateway.hand_out("t-1", order())
    end = gateway.end_of("t-1")
    assert (end.name, end.query["errCode"]) == ("error", str(errno.ENOTDIR))
    assert actions(acting_host.places) == []


@pytest.mark.parametrize(("leave", "options", "code"), [(0, "size=4m", "-8"), (0, "size=4m,ro", "30")])
def test_an_agent_on_a_full_or_read_only_disk_refuses_tasks_and_takes_the_next(
    gateway: Gateway, acting_host: Host, leave: int, options: str, code: str
) -> None:
    """It reports why, and needs no restart once the disk can be written again."""
    with mounted(acting_host.places.tasks, "size=4m") as disk:
        acting_host.start()
        acting_host.ready()
        if "ro" in options:
            remount(disk, "ro")
        else:
            (disk / ".filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free - leave))
        gateway.hand_out("t-1", order())
        end = gateway.end_of("t-1")
        assert (end.name, end.query["errCode"]) == ("error", code)
        assert actions(acting_host.places) == []
        remount(disk, "rw,size=8m")
        gateway.hand_out("t-2", order(order_id="u-2"))
        assert gateway.end_of("t-2").query["exitCode"] == "0"
        acting_host.kill()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_an_order_is_carried_out_once_wherever_the_agent_is_killed(
    gateway: Gateway, acting_host: Host, delay: float
) -> None:
    """The next agent reports it, always with the same report."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order())
    time.sleep(delay)
    acting_host.kill(signal.SIGKILL)
    acting_host.start()
    end = gateway.end_of("t-1")
    assert end.query["exitCode"] == "0"
    assert until(lambda: not unsent(acting_host))
    assert actions(acting_host.places) == ["carry u-1"]
    ends = {json.dumps([report.query, report.body.decode()]) for report in gateway.reports_about("t-1", *TERMINAL)}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("system", "last"),
    [pytest.param("stopping", "stopping", id="shuts down"), pytest.param("running", None, id="runs on")],
)
def test_a_host_that_shuts_down_says_so(
    gateway: Gateway, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, last: str | None
) -> None:
    """In its last heartbeat. An agent that ends alone does not."""
    programs = tmp_path / "programs"
    programs.mkdir()
    systemctl = programs / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$1" = is-system-running ] && echo {system}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    host.start()
    host.ready()
    assert host.kill(signal.SIGTERM) == 0
    assert gateway.heartbeats[-1].get("state") == last


def test_what_a_crash_left_is_recovered_at_the_start_of_the_agent(gateway: Gateway, host: Host) -> None:
    """An order that came through another agent's shell was cut off, and is no task of this agent."""
    package = host.places.root / "courier"
    (package / "versions" / ".2.0.partial").mkdir(parents=True)
    order = {"order_id": "u-9", "kind": "upgrade", "package": "courier", "version": "2.0", "platform": "linux-amd64"}
    (package / "journal").write_text(json.dumps({"line": "order", "order": order, "from_version": ""}) + "\n")
    host.start()
    host.ready()
    assert until(lambda: not (package / "journal").exists())
    assert until(lambda: "recovered courier: nothing is installed" in host.log.read_text())
    assert list((package / "versions").iterdir()) == []
    report = json.loads((package / "outcome.json").read_text())["report"]
    assert (report["order_id"], report["code"]) == ("u-9", "HostBusy")
    assert host.all_processes_end()
