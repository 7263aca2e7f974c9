"""Instances of a cloud: another Backfleet plays it, with its own Cloud Assistant API and real agents behind it."""

from collections.abc import Iterator

import pytest

from journeys.cloud_installation import CloudInstallation, cloud_installation
from journeys.installation import PACKAGE

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
