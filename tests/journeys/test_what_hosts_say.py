"""Only the host says what it has: a reverted machine, a client that somebody removed, and what our table thinks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from journeys.installation import PACKAGE, Host, Installation


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with one host, which was upgraded from 1.0 to 2.0."""
    found = Installation(tmp_path_factory.mktemp("server"))
    try:
        found.start()
        found.enrol(1)
        found.install("1.0")
        found.add_release("2.0")
        yield found
    finally:
        found.close()


@pytest.fixture
def host(server: Installation) -> Host:
    """The host, with 2.0 installed as far as everybody knows."""
    (host,) = server.hosts
    assert ask(server, "Install")["currentVersion"] == "2.0"
    return host


def ask(server: Installation, action: str) -> dict[str, Any]:
    """Ask for the host's client; return the item of the task that is over."""
    started = server.call(f"{action}BackupClients", InstanceIds=[server.hosts[0].instance_id])
    (item,) = server.finished(started["TaskId"])["Result"]
    found: dict[str, Any] = item
    return found


def client(server: Installation) -> dict[str, Any]:
    """The client, as the API shows it."""
    (found,) = server.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
    described: dict[str, Any] = found
    return described


def test_a_current_host_says_so_itself(server: Installation, host: Host) -> None:
    """In answer to the order of this task; its report is on the host, and the version is confirmed by it."""
    item = ask(server, "Upgrade")
    assert (item["errorCode"], item["currentVersion"], item["clientStatus"]) == ("AlreadyCurrent", "2.0", "ACTIVATED")
    assert {report["code"] for report in host.outcomes("2.0")} >= {"AlreadyCurrent"}
    found = client(server)
    assert found["Confirmed"]
    assert found["ConfirmedTime"] >= item["completedTime"] - 5


@pytest.mark.parametrize("action", ["Upgrade", "Install"])
def test_a_machine_that_was_reverted_is_upgraded(server: Installation, host: Host, action: str) -> None:
    """The server believes that 2.0 runs there."""
    current = host.root / PACKAGE / "current"
    current.unlink()
    current.symlink_to("versions/1.0")
    assert host.runs() == "courier 1.0"
    assert client(server)["ClientVersion"] == "2.0"
    item = ask(server, action)
    assert (item["errorCode"], item["currentVersion"]) == ("", "2.0"), item
    assert host.runs() == "courier 2.0"


def test_a_client_that_somebody_removed_is_not_reported_as_current(server: Installation, host: Host) -> None:
    """An upgrade says that it is not installed, and an uninstall that nothing is left."""
    (host.root / PACKAGE / "current").unlink()
    item = ask(server, "Upgrade")
    assert (item["errorCode"], item["currentVersion"]) == ("ClientNotInstalled", ""), json.dumps(item)
    assert client(server)["Status"] == "NOT_INSTALLED"
    item = ask(server, "Uninstall")
    assert (item["errorCode"], item["clientStatus"]) == ("AlreadyCurrent", "NOT_INSTALLED")


def test_a_client_that_came_back_is_upgraded(server: Installation, host: Host) -> None:
    """The machine was reverted to a time when it had the client; the server believes that it has none."""
    current = host.root / PACKAGE / "current"
    current.unlink()
    assert ask(server, "Upgrade")["errorCode"] == "ClientNotInstalled"
    current.symlink_to("versions/1.0")
    item = ask(server, "Upgrade")
    assert (item["errorCode"], item["currentVersion"], item["clientStatus"]) == ("", "2.0", "ACTIVATED"), item
