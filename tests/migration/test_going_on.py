"""A server and two hosts that an earlier version left behind, in the middle of an upgrade, go on with this one."""

import base64
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet_host.platforms import platform_here
from journeys.installation import Installation, wait_for
from migration.old_installation import OldInstallation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(platform_here() != "linux-amd64", reason="the old hosts have linux-amd64"),
]
REGION = "cn-hangzhou"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldInstallation]:
    """The old installation, its server and agents started with the code of today."""
    made = OldInstallation(tmp_path_factory.mktemp("old") / "installation")
    url = made.sqlite_url
    if request.param == "postgresql":
        url = loaded(request.getfixturevalue("postgresql_url"), made.postgresql_dump)
        made.installation.database_url = url
    made.move_moments(url)
    installation = made.installation
    try:
        installation.start()
        for host in installation.hosts:
            host.start(allow_shell=True)
        for host in installation.hosts:
            host.wait_until_running()
        yield made
    finally:
        installation.close()


def loaded(server_url: str, dump: str) -> str:
    url = sa.make_url(server_url)
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS old")
        connection.execute("CREATE DATABASE old")
    found = url.set(database="old").render_as_string(hide_password=False)
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute(dump)  # type: ignore[call-overload]
    return found


@pytest.fixture
def installation(old: OldInstallation) -> Installation:
    return old.installation


@pytest.fixture
def open_task(old: OldInstallation) -> dict[str, Any]:
    """The task that was under way when the power failed, now that it is over."""
    return old.installation.finished(old.facts["tasks"]["open"])


def moved(task: dict[str, Any], old: OldInstallation) -> dict[str, Any]:
    """The task as it was read, with its moments moved as those in the database were."""
    changed = {}
    for name, value in task.items():
        if name == "Result":
            since = {"evidence": "", "instanceName": socket.gethostname()}  # what no earlier version told
            changed[name] = [{**since, **moved(item, old)} for item in value]
        elif name.lower().endswith("time") and value:
            changed[name] = value + old.moved_ms // 1000
        elif name != "RequestId":
            changed[name] = value
    return changed


def as_key(installation: Installation, key: dict[str, str]) -> Client:
    """A client of the installation with another key than the first one."""
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": key["id"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key["secret"],
    }
    return Client(connect(ConnectionFlags(data=installation.data), environment), utc_now)


def test_hosts_are_who_they_were(old: OldInstallation) -> None:
    assert [host.instance_id for host in old.installation.hosts] == old.facts["ids"]


@pytest.mark.parametrize("name", ["installed", "upgraded"])
def test_finished_tasks_read_as_before(old: OldInstallation, installation: Installation, name: str) -> None:
    task_id = old.facts["tasks"][name]
    read = installation.task(task_id)
    del read["RequestId"]
    assert read == moved(old.facts["before"][task_id], old)


def test_a_report_that_was_never_sent_arrives(old: OldInstallation, open_task: dict[str, Any]) -> None:
    first, _ = open_task["Result"]
    assert (first["instanceId"], first["errorCode"], first["currentVersion"]) == (old.facts["ids"][0], "", "1.2")
    host = old.installation.hosts[0]
    assert host.runs() == "courier 1.2"
    wait_for(lambda: all((folder / "acknowledged").exists() for folder in task_folders(host.root)), 60)


def test_an_upgrade_that_was_cut_off_after_the_switch_is_recovered(
    old: OldInstallation, open_task: dict[str, Any]
) -> None:
    _, second = open_task["Result"]
    host = old.installation.hosts[1]
    assert second["instanceId"] == host.instance_id
    assert (second["errorCode"], second["currentVersion"]) == ("", "1.2")  # it was healthy, and so it stays
    assert host.runs() == "courier 1.2"
    assert not (host.root / "courier" / "unproven").exists()
    assert not (host.root / "courier" / "journal").exists()


def test_client_tokens_are_remembered(old: OldInstallation, installation: Installation) -> None:
    for token, name in (("old-token", "upgraded"), ("open-token", "open")):
        answer = installation.call("UpgradeBackupClients", InstanceIds=old.facts["ids"], ClientToken=token)
        assert answer["TaskId"] == old.facts["tasks"][name]


def test_keys_of_users_and_accounts_still_work(old: OldInstallation, installation: Installation) -> None:
    ann = as_key(installation, old.facts["ann"])
    found = ann.call("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
    assert [client["ClientId"] for client in found] == [client["ClientId"] for client in old.facts["clients"]]
    with pytest.raises(CallFailed, match="authorized"):
        ann.call("ram", "ListUsers")
    second = as_key(installation, old.facts["second"])
    assert second.call("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"] == []


def test_the_audit_trail_still_has_the_old_calls(old: OldInstallation, installation: Installation) -> None:
    found: set[str] = set()
    token = None
    while True:
        more = {} if token is None else {"NextToken": token}
        answer = installation.call("LookupEvents", "backfleet", MaxResults=50, **more)
        found |= {event["eventId"] for event in answer["Events"]}
        token = answer.get("NextToken")
        if token is None:
            break
    assert set(old.facts["events"]) <= found


def test_tags_are_still_there(old: OldInstallation, installation: Installation) -> None:
    tag = {"Tag.1.Key": "site", "Tag.1.Value": "north"}
    found = installation.call("DescribeManagedInstances", "ecs", RegionId=REGION, **tag)["Instances"]
    assert [instance["InstanceId"] for instance in found] == old.facts["ids"][:1]


def test_saved_commands_run_again_and_old_results_are_read(old: OldInstallation, installation: Installation) -> None:
    saved, invoked = old.facts["commands"]["saved"], old.facts["commands"]["invoked"]
    assert output(installation, invoked) == "hello\n"
    again = installation.call(
        "InvokeCommand", "ecs", RegionId=REGION, CommandId=saved, Parameters={"word": "again"},
        **{"InstanceId.1": old.facts["ids"][0]},
    )  # fmt: skip
    assert wait_for(lambda: output(installation, again["InvokeId"]), 60) == "again\n"


@pytest.mark.usefixtures("open_task")
def test_clients_are_upgraded_again(installation: Installation) -> None:
    """The hosts believe a release that is signed with the keys of the old data folder."""
    installation.add_release("1.3")
    started = installation.call("UpgradeBackupClients", InstanceIds=[host.instance_id for host in installation.hosts])
    task = installation.finished(started["TaskId"])
    assert (task["Description"], task["Progress"]) == ("completed", 100), task
    for host in installation.hosts:
        assert host.runs() == "courier 1.3"
        assert len(host.outcomes("1.3")) == 1


def output(installation: Installation, invoke_id: str) -> str:
    """What an invocation printed on its only instance; empty until it succeeded."""
    found = installation.call("DescribeInvocationResults", "ecs", RegionId=REGION, InvokeId=invoke_id)
    (result,) = found["Invocation"]["InvocationResults"]["InvocationResult"]
    return base64.b64decode(result["Output"]).decode() if result["InvocationStatus"] == "Success" else ""


def task_folders(root: Any) -> list[Any]:
    return list((root / "agent" / "tasks").iterdir())
