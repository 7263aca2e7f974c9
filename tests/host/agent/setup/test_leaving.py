"""backfleet-host remove: a host leaves, with its clients as plain programs or without them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfleet_host.upgrader.failpoints import VARIABLE
from host.test_command_line import backfleet_host
from journeys.installation import Host, Installation, processes_of, wait_for

KILLED = -9
FAILPOINTS = ("leaving", "handed back", "deregistered", "cleared", "left", "deleted")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with three hosts that have a client."""
    made = Installation(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        made.enrol(3)
        made.install("1.0")
        yield made
    finally:
        made.close()


def statuses(server: Installation) -> set[str]:
    found = server.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou")["Instances"]
    return {each["InstanceId"] for each in found}


def remove(host: Host, clients: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return backfleet_host("remove", "--root", host.root, "--clients", clients, **environment)


def files_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)).split("/")[0] for path in root.rglob("*")}


def test_a_host_leaves_with_its_client_in_place_whatever_kills_the_removal(server: Installation) -> None:
    """Killed at every step and started again, it ends: the client is a plain program, and all else is gone."""
    host = server.hosts[0]
    refused = remove(host, "keep")
    assert (refused.returncode, "not by a unit of ours; end it" in refused.stderr) == (1, True)
    host.stop()
    for place in FAILPOINTS:
        assert remove(host, "keep", **{VARIABLE: place}).returncode == KILLED, place
        assert host.runs() == "courier 1.0", place  # at every moment
    done = remove(host, "remove")  # the choice of the beginning stands
    assert done.returncode == 0, done.stderr
    assert f"{host.root / 'bin' / 'courier'} is a plain program now" in done.stdout
    assert host.runs() == "courier 1.0"
    assert b"backfleet-host remove" in (host.root / "bin" / "courier").read_bytes()
    assert files_of(host.root) <= {"bin", "courier", "etc"}
    assert [path.name for path in (host.root / "courier").iterdir()] == ["versions"]
    assert host.instance_id not in statuses(server)
    again = remove(host, "keep")
    assert (again.returncode, "is not enrolled" in again.stderr) == (1, True)


def test_a_host_leaves_without_its_client(server: Installation) -> None:
    """Killed after the client was removed, it goes on."""
    host = server.hosts[1]
    host.stop()
    assert remove(host, "remove", **{VARIABLE: "removed client"}).returncode == KILLED
    done = remove(host, "remove")
    assert (done.returncode, "goes on with what was begun" in done.stderr) == (0, True), done.stderr
    assert not (host.root / "bin" / "courier").exists()
    assert files_of(host.root) <= {"bin", "etc"}
    assert host.instance_id not in statuses(server)


def test_a_host_does_not_leave_while_a_backup_runs(server: Installation, tmp_path: Path) -> None:
    """Nothing is changed then. Where the server is away it is said what to do there."""
    host = server.hosts[2]
    host.stop()
    held = tmp_path / "held"
    held.touch()
    backup = subprocess.Popen([host.root / "bin" / "courier", "hold", held])
    try:
        wait_for(lambda: backup.pid in processes_of(host.root), 30)
        for clients in ("keep", "remove"):
            refused = remove(host, clients)
            assert (refused.returncode, "courier runs" in refused.stderr) == (1, True), refused.stderr
    finally:
        held.unlink()
        backup.wait(30)
    assert not (host.root / "agent" / "leaving.json").exists()
    journal = host.root / "courier" / "journal"
    journal.touch()
    refused = remove(host, "keep")
    assert (refused.returncode, "`backfleet-host recover` first" in refused.stderr) == (1, True)
    journal.unlink()
    server.stop()
    done = remove(host, "keep")
    assert done.returncode == 0, done.stderr
    assert f"run `backfleet instance deregister {host.instance_id}` there" in done.stdout
    assert os.access(host.root / "bin" / "courier", os.X_OK)
