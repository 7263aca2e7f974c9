"""Hosts of AWS: moto plays it, a proxy before it runs what was sent, on hosts with a root of their own each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aws import CUT, FAILED, HALF, KEY, LOST, REGION, SECRET, SLOW, THROTTLED, Aws, Moto
from journeys.cloud_installation import _OWN_ROOT
from journeys.installation import LONG, PACKAGE, Installation, wait_for

SETTINGS = {"BACKFLEET_SSM_ALLOWED": "127.0.0.1/32", "BACKFLEET_LEASE_SECONDS": "9", "BACKFLEET_FIT_SECONDS": "9"}
SLOW_CLIENT = """#!/bin/sh
touch {folder}/asked-$$
while [ -e {folder}/hold ]; do sleep 0.1; done
echo courier {{version}}
exit {{health}}
"""
FAULTS = [LOST, "", THROTTLED, "", SLOW, FAILED, "", CUT, "", HALF, ""] * 3

pytestmark = pytest.mark.slow


class AwsInstallation:
    """A server, and hosts that it reaches through AWS."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.server = folder, Installation(folder / "server")
        self.server.folder.mkdir()
        self.moto = Moto(folder)
        self.aws = Aws(self.moto, self.run)
        self.ids: list[str] = []

    def run(self, instance_id: str, script: str) -> "subprocess.Popen[bytes]":
        """Run a script as root of an instance, which sees a root of its own where every host has its root."""
        environment = {**os.environ, "AWS_SSM_INSTANCE_ID": instance_id}
        words = [
            "unshare",
            "--mount",
            "--",
            "sh",
            "-c",
            _OWN_ROOT,
            "sh",
            str(self.root(instance_id)),
            "sh",
            "-c",
            script,
        ]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)

    def root(self, instance_id: str) -> Path:
        return self.folder / f"{instance_id}-opt"

    def start(self) -> None:
        self.server.start(settings=SETTINGS)
        data = self.server.data
        self.aws.listen(data / "tls" / "server.pem", data / "keys" / "server.key")
        self.ids = [*self.aws.make_ec2(1), "mi-0123456789abcdef0"]
        self.aws.add(self.ids[1])
        given = {"Name": "aws", "KeyId": KEY, "KeySecret": SECRET, "Endpoint": self.aws.place,
                 "Authority": (data / "tls" / "ca.pem").read_text()}  # fmt: skip
        self.server.call("CreateSsmAccount", "backfleet", **given)
        self.server.call("ImportSsmInstances", "backfleet", AccountName="aws", CloudRegionId=REGION)

    def ready(self) -> None:
        """Wait until every instance can be ordered to."""
        wait_for(lambda: all(self._is_ready(each) for each in self.ids), LONG)

    def _is_ready(self, instance_id: str) -> bool:
        listed = self.server.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou")["Instances"]
        if instance_id not in {each["InstanceId"] for each in listed}:
            return False
        found = self.server.call("DescribeInstance", "backfleet", InstanceId=instance_id)
        return bool(found["Carrier"] == "ssm" and found["Platform"] and not found["Ssm"]["ProblemCode"])

    def begin(self, action: str) -> str:
        return str(self.server.call(action, InstanceIds=self.ids)["TaskId"])

    def finished(self, task_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.server.finished(task_id)["Result"]
        return items

    def close(self) -> None:
        self.aws.close()
        self.server.close()
        self.moto.close()


def test_hosts_of_aws_are_upgraded_once_whatever_breaks(tmp_path: Path) -> None:
    """Answers are lost, cut, late, refused; our server is killed in the middle. Nothing happens twice."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("hosts of a cloud each see a root of their own, which needs root's rights to mount")
    made = AwsInstallation(tmp_path)
    try:
        made.start()
        made.ready()
        folder = made.server.folder
        (folder / "hold").touch()
        made.server.add_release("1.0", client=SLOW_CLIENT.format(folder=folder))
        made.aws.faults_of["SendCommand"] = [LOST, THROTTLED]
        made.aws.faults[:] = FAULTS
        task_id = made.begin("InstallBackupClients")
        wait_for(lambda: len(list(folder.glob("asked-*"))) >= len(made.ids), LONG)
        made.server.kill()
        (folder / "hold").unlink()
        made.server.start(settings=SETTINGS)
        items = made.finished(task_id)
        assert [(item["errorCode"], item["toVersion"]) for item in items] == [("", "1.0")] * 2, items
        for each in made.ids:
            reports = [json.loads(file.read_text()) for file in (made.root(each) / PACKAGE / "outcomes").glob("*.json")]
            assert [report["report"]["outcome"] for report in reports] == ["succeeded"], each
        assert made.aws.met["SendCommand", LOST] == 1, made.aws.met
        made.aws.faults.clear()
        made.ready()
        made.server.add_release("2.0")
        items = made.finished(made.begin("UpgradeBackupClients"))
        assert [(item["errorCode"], item["fromVersion"]) for item in items] == [("", "1.0")] * 2, items
        sent = [len(body["InstanceIds"]) for action, body in made.aws.calls if action == "SendCommand"]
        assert 2 in sent, sent  # one call for both
    finally:
        made.close()
