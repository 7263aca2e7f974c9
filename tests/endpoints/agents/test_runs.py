"""Which process a heartbeat names: our own agent by its run, the official one by process id and address."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backfleet.endpoints.agents.group_commit import GroupCommit, Kind
from backfleet.endpoints.agents.runs import read_run
from backfleet.fleet import clones_of
from endpoints.agents.hosts import AgentServer, Host

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "address", "mark"),
    [
        pytest.param({"pid": "7", "run": "abc"}, "10.0.0.1", "abc", id="our own"),
        pytest.param({"pid": "7"}, "10.0.0.1", "7@10.0.0.1", id="the official agent"),
        pytest.param({"pid": "7"}, "", "7@", id="without an address"),
        pytest.param({}, "10.0.0.1", "", id="none"),
        pytest.param({"run": "abc", "boot": "b-1"}, "10.0.0.1", "abc/b-1", id="with the boot of its machine"),
        pytest.param(
            {"run": "a/c", "boot": "b-1"}, "10.0.0.1", "ac/b-1", id="which no process can make up by its own id"
        ),
        pytest.param({"run": "abc", "boot": "b\n1"}, "10.0.0.1", "abc", id="a boot in two lines"),
        pytest.param({"pid": "7", "boot": "b-1"}, "10.0.0.1", "7@10.0.0.1", id="another agent"),
        pytest.param({"run": "a\x1b[2Jb"}, "", "", id="a run with an escape sequence"),
        pytest.param({"run": "x" * 65, "pid": "y" * 65}, "", "", id="too long"),
    ],
)
def test_a_heartbeat_names_its_process(query: dict[str, str], address: str, mark: str) -> None:
    found = read_run("mi-1", query, address, NOW)
    assert (found.mark if found else "") == mark


def test_what_a_clone_says_of_itself_reaches_no_terminal_unescaped() -> None:
    found = read_run("mi-1", {"run": "a", "hostname": "web\n1", "machine": "m\x1b"}, "10.0.0.1", NOW)
    assert found is not None
    assert (found.hostname, found.machine_id, found.text) == ("", "", "10.0.0.1")


@pytest.mark.parametrize("restarts", [True, False], ids=["one that was restarted", "two at once"])
def test_two_of_our_agents_that_evict_each_others_sockets_are_noticed_within_seconds(
    server: AgentServer, host: Host, restarts: bool
) -> None:
    """Long before the second heartbeat of either; what waits for them is then handed to neither."""
    server.send(host, "r-1", silently=True)
    for number in range(6):
        run = "a" if number == 0 else "b" if restarts else "ab"[number % 2]
        host.connect(host.signed() | {"X-Backfleet-Run": run, "X-Backfleet-Hostname": f"host-{run}"})
        server.clock.advance(seconds=6)
    with server.database.reading() as tx:
        found: dict[str, Any] = clones_of(tx, [host.instance_id], now=server.clock())
    assert [run.hostname for run in found.get(host.instance_id, [])] == ([] if restarts else ["host-a", "host-b"])
    assert len(host.tasks()["run"]) == restarts


@pytest.mark.parametrize("restarts", [True, False], ids=["one that was restarted", "two at once"])
def test_two_official_agents_with_one_identity_are_noticed(server: AgentServer, host: Host, restarts: bool) -> None:
    """Their heartbeats take turns; those of an agent that was restarted do not."""

    def beat(pid: int) -> None:
        assert host.heartbeat(pid=pid).status == 200

    for second in range(4):
        beat(100 if restarts and second < 2 else 200 if restarts else 100 + second % 2)
        server.clock.advance(seconds=30)
    with server.database.reading() as tx:
        found: dict[str, Any] = clones_of(tx, [host.instance_id], now=server.clock())
    assert (host.instance_id in found) is not restarts


def test_a_heartbeat_and_its_process_are_stored_in_one_transaction(
    server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that names the same process costs no more than its signature."""
    kinds, write = list[list[object]](), GroupCommit._write_batch

    def watched(commit: GroupCommit, batch: Any) -> Any:
        kinds.append([each.kind for each in batch])
        return write(commit, batch)

    monkeypatch.setattr(GroupCommit, "_write_batch", watched)
    for pid in (1, 1, 2):
        assert host.heartbeat(pid=pid).status == 200
    assert kinds == [[Kind.RUN], [Kind.SIGNATURE], [Kind.RUN]]
