"""Two servers: one is the cloud, with real agents behind it; the other one reaches these through its API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.layout import DEFAULT_ROOT
from journeys.installation import HOST_PROGRAM, Host, Installation, wait_for

SECONDS = 300  # a machine that is busy with other tests takes its time
SETTINGS = {"BACKFLEET_ECS_ALLOWED": "127.0.0.1/32", "BACKFLEET_LEASE_SECONDS": "9", "BACKFLEET_FIT_SECONDS": "9"}
REGION = "cn-hangzhou"
ELSEWHERE = DEFAULT_ROOT.parent
_OWN_ROOT = f"""
mount --make-rprivate / && mount -t tmpfs none {ELSEWHERE} && mkdir -p {DEFAULT_ROOT} "$1" &&
mount --bind "$1" {DEFAULT_ROOT} && shift && exec "$@"
"""


class CloudHost(Host):
    """An instance of the cloud. Its agent sees a root of its own where every host has its root."""

    @property
    def brought(self) -> Path:
        """What is the root of the host program there."""
        return self.root.parent / f"{self.root.name}-opt"

    def start(self, *, allow_shell: bool = True) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        words = [*HOST_PROGRAM, "run", "--root", str(self.root), "--allow-shell"]
        with (self.root.parent / f"{self.root.name}.log").open("ab") as log:
            self.agent = subprocess.Popen(
                ["unshare", "--mount", "--", "sh", "-c", _OWN_ROOT, "sh", str(self.brought), *words],
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip

    def runs(self) -> str:
        """Return what the client prints."""
        (program,) = (self.brought / "courier").glob("current/bin/courier")
        return subprocess.run([program], capture_output=True, text=True, check=False).stdout.strip()


class CloudInstallation:
    """A server that reaches its hosts through a cloud."""

    def __init__(self, folder: Path) -> None:
        self.cloud, self.server = Installation(folder / "cloud"), Installation(folder / "server")
        self.hosts: list[CloudHost] = []
        for one in (self.cloud, self.server):
            one.folder.mkdir()

    def enrol(self, count: int) -> None:
        """Add instances to the cloud."""
        code = self.cloud.call("CreateActivation", "ecs", RegionId=REGION, InstanceCount=count)
        for _ in range(count):
            host = CloudHost(self.cloud, self.cloud.folder / f"host-{len(self.hosts) + 1}")
            host.enrol(code["ActivationId"], code["ActivationCode"])
            host.start()
            self.hosts.append(host)
        for host in self.hosts:
            host.wait_until_running()

    def account(self, name: str = "cloud", **more: object) -> dict[str, object]:
        """Return the parameters of the cloud account, with the cloud's first key."""
        key = self.cloud.admin()
        return {
            "Name": name, "KeyId": key["access_key_id"], "KeySecret": key["access_key_secret"],
            "Endpoint": self.cloud.https, "Authority": (self.cloud.data / "tls" / "ca.pem").read_text(), **more,
        }  # fmt: skip

    def create_account(self, name: str = "cloud", **more: object) -> None:
        self.server.call("CreateEcsAccount", "backfleet", **self.account(name, **more))

    def import_all(self, name: str = "cloud", **more: object) -> dict[str, Any]:
        given = {"AccountName": name, "CloudRegionId": REGION, **more}
        return self.server.call("ImportEcsInstances", "backfleet", **given)

    def described(self, instance_id: str) -> dict[str, Any]:
        return self.server.call("DescribeInstance", "backfleet", InstanceId=instance_id)

    def ready(self, host: Host) -> dict[str, Any]:
        """Wait until an imported instance can be ordered to."""
        return wait_for(lambda: self._if_ready(host.instance_id), SECONDS)

    def _if_ready(self, instance_id: str) -> dict[str, Any] | None:
        listed = self.server.call("DescribeManagedInstances", "ecs", RegionId=REGION)["Instances"]
        if instance_id not in {each["InstanceId"] for each in listed}:
            return None
        found = self.described(instance_id)
        return found if found["Platform"] and not found["Ecs"]["ProblemCode"] else None

    def told_of(self, host: Host) -> None:
        """Wait until the cloud has told of an instance anew."""
        before = self.described(host.instance_id)["Ecs"]["AskedTime"]
        wait_for(lambda: self.described(host.instance_id)["Ecs"]["AskedTime"] > before, SECONDS)

    def task(self, action: str, hosts: list[CloudHost], **more: object) -> list[dict[str, Any]]:
        """Start a task on hosts, and wait for its items."""
        started = self.server.call(action, InstanceIds=[host.instance_id for host in hosts], **more)
        items: list[dict[str, Any]] = self.server.finished(started["TaskId"])["Result"]
        return items


@contextmanager
def cloud_installation(folder: Path, hosts: int, **settings: str) -> Iterator[CloudInstallation]:
    """Run two servers, and hosts of one of them that the other one has imported."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("hosts of a cloud each see a root of their own, which needs root's rights to mount")
    made = CloudInstallation(folder)
    try:
        made.cloud.start()
        made.server.start(settings=SETTINGS | settings)
        made.enrol(hosts)
        yield made
    finally:
        for host in made.hosts:
            host.stop()
        made.server.close()
        made.cloud.close()
