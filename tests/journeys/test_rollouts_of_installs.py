"""Real rclone comes to real hosts by rollouts: one has it already, one is away at first, one release is bad."""

import io
import json
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfleet_host.platforms import platform_here
from journeys.installation import Host, Installation, wait_for
from journeys.rclone_backups import HEALTHY, MANIFEST, Copy, release
from journeys.rollout_commands import SECONDS, apply, cli, end_open, over, policy_file, run, show, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

GOOD, BAD = "1.74.4", "1.75.2"
POLICY = """
name = "{name}"
package = "rclone"
kind = "install"
version = "{version}"
deadline = "{deadline}"

[select]
tags = {{ group = "{group}" }}

[[ring]]
name = "canary"
count = 1

[[ring]]
name = "rest"
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server and six hosts; the first of them has rclone."""
    made = Installation(tmp_path_factory.mktemp("fleet"))
    try:
        made.start()
        made.enrol(6)
        offer(made, GOOD, release(GOOD, made.folder, HEALTHY))
        run(made, "client", "install", made.hosts[0].instance_id, "--package", "rclone", "--yes", "--wait")
        for group, hosts in (("new", made.hosts[:4]), ("unlucky", made.hosts[4:])):
            for host in hosts:
                tag = {"ResourceId.1": host.instance_id, "Tag.1.Key": "group", "Tag.1.Value": group}
                made.call("TagResources", "ecs", RegionId="cn-hangzhou", ResourceType="managedinstance", **tag)
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def usable_fleet(fleet: Installation) -> Iterator[None]:
    """A test that fails leaves a server that runs, and no open rollout, to the next one."""
    yield
    if fleet.server is None or fleet.server.poll() is not None:
        fleet.start()
    end_open(fleet)


def offer(fleet: Installation, version: str, file: Path) -> None:
    words = ["--package", "rclone", "--version", version, "--platform", platform_here(), "--manifest", str(MANIFEST)]
    run(fleet, "release", "add", str(file), *words)


def clients(fleet: Installation) -> dict[str, str]:
    """Return the version of each client by its instance; no instance has two."""
    found = json.loads(run(fleet, "client", "list", "--json"))
    by_instance = {each["InstanceId"]: each.get("ClientVersion", "") for each in found}
    assert len(by_instance) == len(found)
    return by_instance


def has_rclone(host: Host) -> bool:
    return (host.root / "bin" / "rclone").exists()


def test_hosts_get_it_in_two_rings_and_one_that_was_away_when_it_comes_back(fleet: Installation) -> None:
    """The server dies while it creates the rollout: nothing of it is left, and nothing is there twice afterwards."""
    has_it, first, second, away = fleet.hosts[:4]
    away.stop()
    wait_for(lambda: not is_reachable(fleet, away), SECONDS)
    fleet.kill()
    fleet.start(die_at="rollout stored")
    wait_for(lambda: is_reachable(fleet, first) and is_reachable(fleet, second), SECONDS)
    file = policy_file(fleet, "new-hosts", POLICY, version=GOOD, group="new")
    found = json.loads(run(fleet, "rollout", "preview", str(file), "--json"))
    assert (found["Members"], found["AlreadyThere"], found["Faults"]) == (3, 1, [])
    cli(fleet, "rollout", "apply", str(file), "--json")
    assert fleet.wait_for_death() == -signal.SIGKILL
    fleet.start()
    assert clients(fleet) == {has_it.instance_id: GOOD}

    wait_for(lambda: is_reachable(fleet, first) and is_reachable(fleet, second), SECONDS)
    rollout = apply(fleet, "new-hosts", POLICY, version=GOOD, group="new")
    assert apply(fleet, "new-hosts", POLICY, version=GOOD, group="new") == rollout
    waits = until(fleet, rollout, lambda found: sum(ring["Succeeded"] for ring in found["Rings"]) == 2)
    assert [(ring["Name"], ring["Succeeded"]) for ring in waits["Rings"]] == [("canary", 1), ("rest", 1)]
    (left,) = (each for each in show(fleet, rollout)["MemberList"] if each["State"] != "succeeded")
    assert (left["InstanceId"], left["State"]) == (away.instance_id, "waiting")
    assert not has_rclone(away)

    away.start()
    done = over(fleet, rollout, "completed")
    assert {each["InstanceId"] for each in done["MemberList"]} == {h.instance_id for h in (first, second, away)}
    assert {each["State"] for each in done["MemberList"]} == {"succeeded"}
    assert clients(fleet) == {host.instance_id: GOOD for host in fleet.hosts[:4]}
    for host in (has_it, first, second, away):
        assert len(outcomes(host)) == 1
        copy = Copy(host)
        assert (copy.version, copy.back_up().returncode, copy.is_whole) == (GOOD, 0, True)
    status = cli(fleet, "rollout", "roll-back", rollout)
    assert status.exit_code != 0
    assert "no version to go back to" in status.output


def test_a_release_that_is_not_healthy_halts_at_the_canary_and_leaves_nothing(fleet: Installation) -> None:
    """The other host never gets an order."""
    file = fleet.folder / "bad.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo("bin/rclone")
        text = b"#!/bin/sh\necho broken\nexit 1\n"
        info.mode, info.size = 0o755, len(text)
        archive.addfile(info, io.BytesIO(text))
    offer(fleet, BAD, file)
    rollout = apply(fleet, "bad", POLICY, version=BAD, group="unlucky")
    halted = over(fleet, rollout, "halted", "completed")
    assert halted["State"] == "halted"
    assert [(ring["Name"], ring["State"]) for ring in halted["Rings"]] == [("canary", "running"), ("rest", "pending")]
    assert sorted(each["State"] for each in halted["MemberList"]) == ["pending", "rolled_back"]
    assert [has_rclone(host) for host in fleet.hosts[4:]] == [False, False]
    assert sum(len(outcomes(host)) for host in fleet.hosts[4:]) == 1
    run(fleet, "rollout", "cancel", rollout)


def is_reachable(fleet: Installation, host: Host) -> bool:
    found = fleet.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou", **{"InstanceId.1": host.instance_id})
    return bool(found["Instances"][0]["Connected"])


def outcomes(host: Host) -> list[Path]:
    """Return the files of the orders of rclone that a host has carried out, status orders left out."""
    found = (host.root / "rclone" / "outcomes").glob("*.json")
    return [path for path in found if json.loads(path.read_text())["report"]["kind"] == "install"]
