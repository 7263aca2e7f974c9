"""What is known of one host: its agent, its clock, what is installed there."""

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


def test_a_host_and_what_is_installed_there(env: Environment) -> None:
    """Page by page; a clock that is wrong is told."""
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
    assert [(one["Type"], one["Count"]) for one in found["Inventory"]] == [("ACS:Application", 150)]
    status, page = env.ask(BACKFLEET, "ListInventory", InstanceId=instance, PageNumber="2")
    assert (status, page["TotalCount"], page["Rows"]) == (200, 150, ROWS[100:])
    assert env.ask(BACKFLEET, "ListInventory", InstanceId=instance, Type="ACS:Network")[1]["Rows"] == []


def test_a_host_that_has_told_nothing(env: Environment) -> None:
    """Nothing is claimed."""
    found = env.ask(BACKFLEET, "DescribeInstance", InstanceId=env.host())[1]
    assert (found["Inventory"], found["ClockIsSkewed"], "ClockSkewMilliseconds" in found) == ([], False, False)


def test_a_host_that_was_shut_down_is_told_as_that_everywhere(env: Environment) -> None:
    """By the list, by the state of its agent, by the code of an upgrade; until it is heard."""
    instance = env.host()

    def told() -> tuple[object, ...]:
        agent = env.ask(ECS, "DescribeCloudAssistantStatus", RegionId=REGION, **{"InstanceId.1": instance})[1]
        state = env.ask(ECS, "DescribeInstanceStatus", RegionId=REGION, **{"InstanceId.1": instance})[1]
        upgrade = env.ask(HBR, "UpgradeBackupClients", InstanceIds=f'["{instance}"]')[1]
        return (
            agent["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"][0]["CloudAssistantStatus"],
            state["InstanceStatuses"]["InstanceStatus"][0]["Status"],
            upgrade["Code"],
        )

    assert env.ask(BACKFLEET, "NoteInstanceStopped", InstanceId=instance)[0] == 200
    assert told() == ("false", "Stopped", "InstanceNotRunning")
    with env.services.database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(instance, env.now)])
    assert told() == ("true", "Running", "200")


def test_hosts_of_others_are_nothing(env: Environment) -> None:
    """Neither seen nor told apart from those that do not exist."""
    theirs = env.host(account="1000000000000009")
    for action in ("DescribeInstance", "ListInventory", "NoteInstanceStopped"):
        for instance in (theirs, "mi-none"):
            status, told = env.ask(BACKFLEET, action, InstanceId=instance)
            assert (status, told["Code"]) == (404, "InvalidInstance.NotFound")
