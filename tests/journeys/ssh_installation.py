"""A server, a real sshd, and hosts that are the machine of the test, each with a root of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from journeys.installation import LONG, Host, Installation, wait_for
from sshd import Sshd, running_sshd

LONG_COMMAND = 600  # seconds
SETTINGS = {"BACKFLEET_SSH_ALLOWED": "127.0.0.1/32", "BACKFLEET_LEASE_SECONDS": "20"}


class SshInstallation:
    """A server that goes to hosts by SSH."""

    def __init__(self, server: Installation, sshd: Sshd) -> None:
        self.server, self.sshd = server, sshd
        self.roots: list[Path] = []

    def import_host(self, name: str, **more: object) -> tuple[str, Host]:
        """Import the machine of the test with a root of this name; return its instance id."""
        root = self.server.folder / name
        given = {
            "Hosts.1.Address": "127.0.0.1", "Hosts.1.Port": self.sshd.port, "Hosts.1.User": self.sshd.user,
            "Hosts.1.Root": str(root), "Hosts.1.HostKeys.1": self.sshd.host_key, "Hosts.1.Name": name, **more,
        }  # fmt: skip
        (made,) = self.server.call("ImportSshHosts", "backfleet", KeyName="fleet", **given)["Hosts"]
        self.roots.append(root)
        return str(made["InstanceId"]), Host(self.server, root)

    def described(self, instance_id: str) -> dict[str, Any]:
        return self.server.call("DescribeInstance", "backfleet", InstanceId=instance_id)

    def visited(self, instance_id: str) -> dict[str, Any]:
        """Wait until a visit found the host in order."""
        return wait_for(lambda: self._in_order(instance_id), LONG)

    def _in_order(self, instance_id: str) -> dict[str, Any] | None:
        found = self.described(instance_id)
        return found if found["Ssh"].get("VisitedTime") and not found["Ssh"]["ProblemCode"] else None

    def problem(self, instance_id: str, code: str) -> str:
        """Wait until a visit found this to be wrong; return the message."""

        def poll() -> str | None:
            found = self.described(instance_id)["Ssh"]
            return found["Problem"] if found["ProblemCode"] == code else None

        return str(wait_for(poll, LONG))

    def begin(self, action: str, instance_id: str, **more: object) -> str:
        return str(self.server.call(action, InstanceIds=[instance_id], **more)["TaskId"])

    def result(self, task_id: str) -> dict[str, Any]:
        """Wait until a task is over; return its one item."""
        (item,) = self.server.finished(task_id)["Result"]
        return item

    def run(self, instance_id: str, content: str, seconds: int = LONG_COMMAND) -> str:
        """Have a host run a command; return the invocation's id."""
        answer = self.server.call(
            "RunCommand", "ecs", RegionId="cn-hangzhou", Type="RunShellScript", CommandContent=content,
            Timeout=seconds, **{"InstanceId.1": instance_id},
        )  # fmt: skip
        return str(answer["InvokeId"])

    def invocation(self, invoke_id: str, *, until: str) -> dict[str, Any]:
        """Wait until an invocation has this state; return its result."""

        seen: list[dict[str, Any]] = []

        def poll() -> dict[str, Any] | None:
            answer = self.server.call(
                "DescribeInvocationResults", "ecs", RegionId="cn-hangzhou", InvokeId=invoke_id,
                ContentEncoding="PlainText",
            )  # fmt: skip
            (found,) = answer["Invocation"]["InvocationResults"]["InvocationResult"]
            seen.append(found)
            return found if found["InvokeRecordStatus"] == until else None

        try:
            return wait_for(poll, LONG)
        except AssertionError:
            pytest.fail(f"{seen[-1]}")


@contextmanager
def ssh_installation(folder: Path) -> Iterator[SshInstallation]:
    """Run a server and an sshd that admits its key."""
    if os.geteuid() != 0:
        pytest.skip("the sshd of a test logs in as the user that runs it, and hosts are worked on as root")
    server = Installation(folder)
    try:
        with running_sshd(folder / "sshd") as sshd:
            server.start(settings=SETTINGS)
            made = SshInstallation(server, sshd)
            sshd.admit(server.call("CreateSshKey", "backfleet", Name="fleet")["PublicKey"])
            try:
                yield made
            finally:
                for root in made.roots:
                    Host(server, root).stop()
    finally:
        server.close()
