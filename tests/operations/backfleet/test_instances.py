"""Facts about one instance: its agent, its clock, and what is installed on it."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backfleet import fleet
from backfleet.fleet import Heartbeat, InventoryItem
from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import REGION, Environment, make_environment

ECS, HBR, BACKFLEET = "2014-05-26", "2017-09-08", "2026-11-01"
ROWS = [{"Name": f"p{number}", "Version": "1"} for number in range(150)]


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    return make_environment(database, tmp_path, now, draw)


def test_an_instance_shows_its_agent_and_what_is_installed(env: Environment) -> None:
    """In pages; a clock that is wrong is reported."""
    instance = env.host(agent="2.2.3.578")
    with env.services.database.transaction() as tx:
        items = [InventoryItem("ACS:Application", "h", "2026-01-02T03:04:05Z", ROWS)]
        fleet.put_inventory(tx, instance, items, now=env.now)
        fleet.note_heartbeats(tx, [Heartbeat(instance, env.now + timedelta(seconds=1), clock_skew_ms=-7_200_000)])
    status, found = env.ask(BACKFLEET, "DescribeInstance", InstanceId=instance)
    assert status == 200
    assert (found["AgentKind"], found["ClockSkewMilliseconds"], found["ClockIsSkewed"]) == (
        "official",
        -7_200_000,
        True,
    )
    assert found["HostVersion"] == ""
    assert [(one["Type"], one["Count"]) for one in found["Inventory"]] == [("ACS:Application", 150)]
    status, page = env.ask(BACKFLEET, "ListInventory", InstanceId=instance, PageNumber="2")
    assert (status, page["TotalCount"], page["Rows"]) == (200, 150, ROWS[100:])
    assert env.ask(BACKFLEET, "ListInventory", InstanceId=instance, Type="ACS:Network")[1]["Rows"] == []


def test_an_instance_without_reports_shows_none(env: Environment) -> None:
    """It has no inventory and no clock skew."""
    found = env.ask(BACKFLEET, "DescribeInstance", InstanceId=env.host())[1]
    assert (found["AgentVersion"], found["HostVersion"]) == ("backfleet-0.1.0", "0.1.0")
    assert (found["Inventory"], found["ClockIsSkewed"], "ClockSkewMilliseconds" in found) == ([], False, False)


def test_an_instance_that_was_shut_down_is_shown_so_everywhere(env: Environment) -> None:
    """In the list, in the state of its agent, in the code of an upgrade; until its next heartbeat."""
    instance = env.host()

    def reply() -> tuple[object, ...]:
        agent = env.ask(ECS, "DescribeCloudAssistantStatus", RegionId=REGION, **{"InstanceId.1": instance})[1]
        state = env.ask(ECS, "DescribeInstanceStatus", RegionId=REGION, **{"InstanceId.1": instance})[1]
        upgrade = env.ask(HBR, "UpgradeBackupClients", InstanceIds=f'["{instance}"]')[1]
        return (
            agent["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"][0]["CloudAssistantStatus"],
            state["InstanceStatuses"]["InstanceStatus"][0]["Status"],
            upgrade["Code"],
        )

    assert env.ask(BACKFLEET, "NoteInstanceStopped", InstanceId=instance)[0] == 200
    assert reply() == ("false", "Stopped", "InstanceNotRunning")
    with env.services.database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(instance, env.now)])
    assert reply() == ("true", "Running", "200")


def test_instances_of_other_accounts_do_not_exist(env: Environment) -> None:
    """The answer is that for an unknown id."""
    theirs = env.host(account="1000000000000009")
    for action in ("DescribeInstance", "ListInventory", "NoteInstanceStopped"):
        for instance in (theirs, "mi-none"):
            status, reply = env.ask(BACKFLEET, action, InstanceId=instance)
            assert (status, reply["Code"]) == (404, "InvalidInstance.NotFound")
