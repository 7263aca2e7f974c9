"""Between any two rows of the walk in ARCHITECTURE.md the server may die with -9, and the task still completes.

Nothing is lost and nothing is done twice. Each row here is a gap between two rows of the walk.
"""

import itertools
import signal
from typing import Any

import pytest

from backfleet_host.contract import STAGES
from journeys.installation import LONG, Installation, wait_for

pytestmark = [pytest.mark.slow]

FAILPOINTS = [
    pytest.param("signature held", id="row 2-3: the caller is authenticated, nothing is decided"),
    pytest.param("authorised", id="row 3-4: the nonce is spent, the audit row is written"),
    pytest.param("targets resolved", id="row 5-6: the ids are known, the task is not written"),
    pytest.param("task stored", id="row 6-7: the task is written, the caller does not know"),
    pytest.param("answer ready", id="row 7-8: as above, a moment later"),
    pytest.param("commands sent", id="row 8-9: commands wait, no agent was kicked"),
    pytest.param("agent kicked", id="row 9-10: the agent was kicked"),
    pytest.param("command claimed", id="row 10-11: handed out, but the list never left"),
    pytest.param("release served", id="row 11: the host is fetching"),
    pytest.param("outcome stored", id="row 12-13: the report is stored, the agent does not know"),
    pytest.param("outcome collected", id="row 13-14: the item has moved, the caller does not know"),
]
versions = (f"2.{number}" for number in itertools.count())


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_the_task_completes_though_the_server_dies(installation: Installation, failpoint: str) -> None:
    """The caller retries with the same ClientToken; every host upgrades exactly once."""
    version = next(versions)
    installation.add_release(version)
    installation.stop()
    installation.start(die_at=failpoint)  # no host looks dead for that: each was heard a moment ago
    ids = [host.instance_id for host in installation.hosts]
    token = f"walk-{version}"
    if failpoint in ("signature held", "authorised", "targets resolved", "task stored", "answer ready"):
        assert installation._try("UpgradeBackupClients", InstanceIds=ids, ClientToken=token) is None
    else:
        installation.call("UpgradeBackupClients", InstanceIds=ids, ClientToken=token)
    assert installation.wait_for_death() == -signal.SIGKILL

    installation.start()
    wait_until_reachable(installation)
    started = installation.call_until_answered("UpgradeBackupClients", InstanceIds=ids, ClientToken=token)
    task = installation.finished(started["TaskId"])

    assert (task["Description"], task["Progress"]) == ("completed", 100), task["Result"]
    for host in installation.hosts:
        assert host.runs() == f"courier {version}"
        assert len(host.outcomes(version)) == 1
    assert [t["TaskId"] for t in tasks_to(installation, version)] == [started["TaskId"]]


def test_hosts_finish_alone_while_the_server_is_away(installation: Installation) -> None:
    """Row 11-12: the order is carried out, and the report waits on the host for the server."""
    version = next(versions)
    installation.add_release(version)
    ids = [host.instance_id for host in installation.hosts]
    started = installation.call("UpgradeBackupClients", InstanceIds=ids)
    past_fetching = {*STAGES} - {"admit", "check", "fetch"}
    wait_for(lambda: all(i["stage"] in past_fetching for i in items(installation, started["TaskId"])), LONG)
    installation.kill()
    wait_for(lambda: all(host.runs() == f"courier {version}" for host in installation.hosts), LONG)
    installation.start()
    assert installation.finished(started["TaskId"])["Progress"] == 100
    assert [len(host.outcomes(version)) for host in installation.hosts] == [1, 1]


def test_an_agent_that_is_killed_loses_no_outcome(installation: Installation) -> None:
    """The order's own process goes on, and the next agent reports its outcome."""
    version = next(versions)
    installation.add_release(version)
    host = installation.hosts[0]
    started = installation.call("UpgradeBackupClients", InstanceIds=[host.instance_id])
    wait_for(lambda: items(installation, started["TaskId"])[0]["stage"], LONG)
    host.kill_agent()
    host.start()
    assert installation.finished(started["TaskId"])["Progress"] == 100
    assert host.runs() == f"courier {version}"
    assert len(host.outcomes(version)) == 1


def items(installation: Installation, task_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installation.task(task_id)["Result"]
    return found


def tasks_to(installation: Installation, version: str) -> list[dict[str, Any]]:
    """Tasks that move anything to this version."""
    found = installation.call("ListTasks", "backfleet", PageSize=50)["Tasks"]
    return [t for t in found if any(i["toVersion"] == version for i in items(installation, t["TaskId"]))]


def wait_until_reachable(installation: Installation) -> None:
    """Wait until every agent is connected again."""

    def all_connected() -> bool:
        found = installation.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou")["Instances"]
        return all(instance["Connected"] for instance in found)

    wait_for(all_connected, LONG)
