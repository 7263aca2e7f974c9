"""Instances of a cloud: another Backfleet plays it, with its own Cloud Assistant API and real agents behind it."""

import json
from collections.abc import Iterator

import pytest

from backfleet.cli._client import CallFailed
from journeys.cloud_installation import REGION, SECONDS, SETTINGS, CloudInstallation, cloud_installation
from journeys.installation import PACKAGE, wait_for

SLOW = """#!/bin/sh
touch {folder}/asked
while [ -e {folder}/hold ]; do sleep 0.05; done
echo courier {{version}}
exit {{health}}
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudInstallation]:
    with cloud_installation(tmp_path_factory.mktemp("clouds"), hosts=2) as made:
        made.create_account()
        made.import_all()
        yield made


def test_instances_of_a_cloud_are_upgraded_and_rolled_back(cloud: CloudInstallation) -> None:
    """They keep their ids. One call of the cloud has an order run on both."""
    for host in cloud.hosts:
        assert cloud.ready(host)["Carrier"] == "ecs"
    cloud.server.add_release("1.0")
    items = cloud.task("InstallBackupClients", cloud.hosts)
    assert [item["errorCode"] for item in items] == ["", ""], items
    cloud.server.add_release("2.0")
    items = cloud.task("UpgradeBackupClients", cloud.hosts)
    assert [(item["errorCode"], item["fromVersion"]) for item in items] == [("", "1.0")] * 2, items
    assert [host.runs() for host in cloud.hosts] == [f"{PACKAGE} 2.0"] * 2
    cloud.server.add_release("3.0", health=1)
    items = cloud.task("UpgradeBackupClients", cloud.hosts)
    assert [(item["errorCode"], item["currentVersion"]) for item in items] == [("RolledBack", "2.0")] * 2, items
    invocations = cloud.cloud.call("DescribeInvocations", "ecs", RegionId="cn-hangzhou", PageSize=50)
    sizes = [len(each["InvokeInstances"]["InvokeInstance"]) for each in invocations["Invocations"]["Invocation"]]
    assert sizes.count(2) >= 3, sizes


def test_what_the_cloud_refuses_is_said_at_the_import(cloud: CloudInstallation) -> None:
    """With the missing action, the wrong key, the wrong region: before anything is imported."""
    made = cloud.cloud.call("CreateUser", "ram", UserName="nobody")
    assert made["User"]["UserName"] == "nobody"
    key = cloud.cloud.call("CreateAccessKey", "ram", UserName="nobody")["AccessKey"]
    cloud.create_account("nobody", KeyId=key["AccessKeyId"], KeySecret=key["AccessKeySecret"])
    cloud.create_account("wrong", KeySecret="another")
    for name, region, text in (
        ("nobody", REGION, "EcsPermissionMissing: ecs:DescribeInstances is not permitted"),
        ("wrong", REGION, "EcsKeyRefused: "),
        ("cloud", "cn-beijing", "EcsRegionRefused: "),
    ):
        with pytest.raises(CallFailed, match=text):
            cloud.import_all(name, CloudRegionId=region)


def test_a_role_of_the_cloud_account_is_taken_on(cloud: CloudInstallation) -> None:
    """The key itself may nothing but that; the instances are those of the account that the role belongs to."""
    account = cloud.cloud.call("GetCallerIdentity", "sts")["AccountId"]
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{account}:root"}}
    document = json.dumps({"Version": "1", "Statement": [trust]})
    cloud.cloud.call("CreateRole", "ram", RoleName="upgrades", AssumeRolePolicyDocument=document)
    cloud.cloud.call(
        "AttachPolicyToRole", "ram", PolicyName="AdministratorAccess", PolicyType="System", RoleName="upgrades"
    )
    cloud.cloud.call("CreateUser", "ram", UserName="guest")
    cloud.cloud.call(
        "AttachPolicyToUser", "ram", PolicyName="AliyunSTSAssumeRoleAccess", PolicyType="System", UserName="guest"
    )
    key = cloud.cloud.call("CreateAccessKey", "ram", UserName="guest")["AccessKey"]
    given = {
        "KeyId": key["AccessKeyId"], "KeySecret": key["AccessKeySecret"], "StsEndpoint": cloud.cloud.https,
        "RoleArn": f"acs:ram::{account}:role/upgrades",
    }  # fmt: skip
    cloud.create_account("role", **given)
    assert cloud.import_all("role", **{"InstanceIds.1": cloud.hosts[0].instance_id})["Found"] == 1


def test_an_order_is_found_again_after_the_server_was_killed(cloud: CloudInstallation) -> None:
    """Kill -9 in the middle of an order: it ends well, and the host has done it once."""
    host, version, side = cloud.hosts[0], "4.0", cloud.server
    cloud.ready(host)
    (side.folder / "hold").touch()
    cloud.server.add_release(version, client=SLOW.format(folder=side.folder))
    task_id = cloud.server.call("InstallBackupClients", InstanceIds=[host.instance_id])["TaskId"]
    wait_for((side.folder / "asked").exists, SECONDS)
    side.kill()
    (side.folder / "hold").unlink()
    side.start(settings=SETTINGS)
    (item,) = cloud.server.finished(task_id)["Result"]
    assert (item["errorCode"], item["toVersion"]) == ("", version), item
    reports = [json.loads(path.read_text())["report"] for path in (host.brought / PACKAGE / "outcomes").glob("*.json")]
    assert [report["outcome"] for report in reports if report["to_version"] == version] == ["succeeded"]
