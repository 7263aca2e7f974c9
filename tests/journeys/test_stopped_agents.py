"""A real agent that is stopped is not connected within seconds, wherever an operator looks; a restart is not seen."""

import subprocess
import sys
import time

from journeys.installation import LONG, Host, Installation, wait_for

SOON = 30.0  # seconds; without the close frame it takes 150 and more


def test_a_stopped_agent_is_shown_as_away_and_a_restarted_one_is_not(installation: Installation) -> None:
    """In the lists of the command line and the API, and in the validity codes of an order."""
    stopped, restarted = installation.hosts
    wait_for(lambda: all(is_connected(installation, host) for host in installation.hosts), LONG)  # heard and written
    begun = time.monotonic()
    end_agent(stopped)
    end_agent(restarted)
    restarted.start()
    wait_for(lambda: not is_connected(installation, stopped), LONG)
    assert time.monotonic() - begun < SOON
    assert is_connected(installation, restarted)
    listed = command_line(installation, "instance", "list", "--columns", "instance,connected", "--csv").splitlines()
    assert {f"{stopped.instance_id},no", f"{restarted.instance_id},yes"} <= set(listed), listed
    named = {"InstanceIds": [host.instance_id for host in installation.hosts]}
    statuses = installation.call("UpgradeBackupClients", **named)["InstanceStatuses"]
    lines = {each["InstanceId"]: each for each in statuses}
    assert lines[stopped.instance_id]["ErrorCode"] == "CloudAssistNotRunningOnInstance"
    assert lines[restarted.instance_id]["ValidInstance"] is True
    stopped.start()
    wait_for(lambda: is_connected(installation, stopped), LONG)


def end_agent(host: Host) -> None:
    """End the agent alone, as `systemctl stop` does."""
    assert host.agent is not None
    host.agent.terminate()
    host.agent.wait(LONG)
    assert host.agent.stdout is not None
    host.agent.stdout.close()


def is_connected(installation: Installation, host: Host) -> bool:
    found = installation.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou")["Instances"]
    return any(each["InstanceId"] == host.instance_id and each["Connected"] for each in found)


def command_line(installation: Installation, *words: str) -> str:
    """Return what the command line prints."""
    program = [sys.executable, "-m", "backfleet.cli", *words, "--data", str(installation.data)]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout
