"""The demo's calls by every official Python client, against a real server and real hosts."""

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models as ecs
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_hbr20170908 import models as hbr
from alibabacloud_hbr20170908.client import Client as Hbr
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.http import protocol_type
from aliyunsdkecs.request.v20140526.CreateActivationRequest import CreateActivationRequest
from aliyunsdkecs.request.v20140526.DescribeManagedInstancesRequest import DescribeManagedInstancesRequest
from aliyunsdkhbr.request.v20170908.DescribeBackupClientsRequest import DescribeBackupClientsRequest
from aliyunsdkhbr.request.v20170908.DescribeTaskRequest import DescribeTaskRequest
from aliyunsdkhbr.request.v20170908.InstallBackupClientsRequest import InstallBackupClientsRequest
from aliyunsdkhbr.request.v20170908.UninstallBackupClientsRequest import UninstallBackupClientsRequest
from aliyunsdkhbr.request.v20170908.UpgradeBackupClientsRequest import UpgradeBackupClientsRequest

from journeys.installation import LONG, Host, Installation, wait_for
from sdk_timeouts import SDK_SECONDS, SDK_TIMEOUTS

REGION = "cn-hangzhou"

pytestmark = [
    pytest.mark.slow,
    # Both SDKs leave their TLS connections to the collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@dataclass
class NewSdk:
    """alibabacloud-hbr20170908 and alibabacloud-ecs20140526, signing as the mode says."""

    config: Config

    def managed(self) -> list[str]:
        asked = ecs.DescribeManagedInstancesRequest(region_id=REGION)
        found = Ecs(self.config).describe_managed_instances(asked).body.instances
        return [instance.instance_id for instance in found]

    def activation(self) -> tuple[str, str]:
        asked = ecs.CreateActivationRequest(region_id=REGION, instance_count=1)
        made = Ecs(self.config).create_activation(asked).body
        return made.activation_id, made.activation_code

    def install(self, instances: list[str]) -> str:
        asked = hbr.InstallBackupClientsRequest(instance_ids=instances)
        return str(Hbr(self.config).install_backup_clients(asked).body.task_id)

    def clients(self, instances: list[str]) -> dict[str, str]:
        asked = hbr.DescribeBackupClientsRequest(client_type="ECS_CLIENT", instance_ids=instances)
        found = Hbr(self.config).describe_backup_clients(asked).body
        assert found.total_count == len(found.clients)
        return {client.instance_id: client.client_id for client in found.clients}

    def upgrade(self, instances: list[str], clients: list[str]) -> tuple[str, list[tuple[str, bool]]]:
        asked = hbr.UpgradeBackupClientsRequest(instance_ids=instances, client_ids=clients)
        body = Hbr(self.config).upgrade_backup_clients(asked).body
        assert (body.code, body.success) == ("200", True)
        return body.task_id, [(line.instance_id, line.valid_instance) for line in body.instance_statuses]

    def uninstall(self, clients: list[str]) -> str:
        asked = hbr.UninstallBackupClientsRequest(client_ids=clients)
        return str(Hbr(self.config).uninstall_backup_clients(asked).body.task_id)

    def task(self, task_id: str) -> tuple[str, int, list[dict[str, Any]]]:
        body = Hbr(self.config).describe_task(hbr.DescribeTaskRequest(task_id=task_id)).body
        return body.description, body.progress, json.loads(body.result)


@dataclass
class LegacySdk:
    """aliyun-python-sdk-core with aliyun-python-sdk-hbr and -ecs; lists travel as the JSON text the caller writes."""

    client: AcsClient
    endpoint: str
    protocol: str  # one of protocol_type's own: it compares by identity

    def _call(self, request: Any, **parameters: Any) -> dict[str, Any]:
        request.set_endpoint(self.endpoint)
        request.set_protocol_type(self.protocol)
        for name, value in parameters.items():
            getattr(request, f"set_{name}")(value)
        found: dict[str, Any] = json.loads(self.client.do_action_with_exception(request))
        return found

    def managed(self) -> list[str]:
        return [i["InstanceId"] for i in self._call(DescribeManagedInstancesRequest())["Instances"]]

    def activation(self) -> tuple[str, str]:
        made = self._call(CreateActivationRequest(), InstanceCount=1)
        return made["ActivationId"], made["ActivationCode"]

    def install(self, instances: list[str]) -> str:
        return str(self._call(InstallBackupClientsRequest(), InstanceIds=json.dumps(instances))["TaskId"])

    def clients(self, instances: list[str]) -> dict[str, str]:
        # The only one of these operations for which that SDK writes the JSON text itself.
        found = self._call(DescribeBackupClientsRequest(), ClientType="ECS_CLIENT", InstanceIds=instances)["Clients"]
        return {client["InstanceId"]: client["ClientId"] for client in found}

    def upgrade(self, instances: list[str], clients: list[str]) -> tuple[str, list[tuple[str, bool]]]:
        parameters = {"InstanceIds": json.dumps(instances), "ClientIds": json.dumps(clients)}
        body = self._call(UpgradeBackupClientsRequest(), **parameters)
        assert (body["Code"], body["Success"]) == ("200", True)
        return body["TaskId"], [(line["InstanceId"], line["ValidInstance"]) for line in body["InstanceStatuses"]]

    def uninstall(self, clients: list[str]) -> str:
        return str(self._call(UninstallBackupClientsRequest(), ClientIds=json.dumps(clients))["TaskId"])

    def task(self, task_id: str) -> tuple[str, int, list[dict[str, Any]]]:
        body = self._call(DescribeTaskRequest(), TaskId=task_id)
        return body["Description"], body["Progress"], json.loads(body["Result"])


Sdk = NewSdk | LegacySdk


def new_sdk(installation: Installation, protocol: str, algorithm: str | None) -> NewSdk:
    """Only endpoint, protocol and authority differ from a program that calls the cloud."""
    admin = installation.admin()
    return NewSdk(
        Config(
            access_key_id=admin["access_key_id"],
            access_key_secret=admin["access_key_secret"],
            endpoint=f"127.0.0.1:{installation.ports[protocol == 'HTTPS']}",
            protocol=protocol,
            region_id=REGION,
            ca=admin["ca_file"] if protocol == "HTTPS" else None,
            signature_algorithm=algorithm,
            **SDK_TIMEOUTS,
        )
    )


def legacy_sdk(installation: Installation, protocol: str, _algorithm: str | None) -> LegacySdk:
    """The same for the legacy SDK."""
    admin = installation.admin()
    trust = admin["ca_file"] if protocol == "HTTPS" else None
    client = AcsClient(admin["access_key_id"], admin["access_key_secret"], REGION, verify=trust, timeout=SDK_SECONDS)
    return LegacySdk(client, f"127.0.0.1:{installation.ports[protocol == 'HTTPS']}", getattr(protocol_type, protocol))


def finished(sdk: Sdk, task_id: str) -> list[dict[str, Any]]:
    """Poll as users do; return the items of a task that succeeded."""

    def poll() -> tuple[str, int, list[dict[str, Any]]] | None:
        found = sdk.task(task_id)
        return found if found[0] != "created" else None

    description, progress, items = wait_for(poll, LONG)
    assert (description, progress) == ("completed", 100), items
    return items


@pytest.fixture(autouse=True)
def _collected() -> Any:
    """What an SDK left open is closed here, where its warning is expected."""
    yield
    gc.collect()


@pytest.mark.parametrize("protocol", ["HTTP", "HTTPS"])
@pytest.mark.parametrize(
    ("number", "sdk_of", "algorithm"),
    [
        pytest.param(1, new_sdk, None, id="new SDK, signature version 3"),
        pytest.param(2, new_sdk, "v2", id="new SDK, signature version 1"),  # its name for it
        pytest.param(3, legacy_sdk, None, id="legacy SDK"),
    ],
)
def test_the_walk_by_an_official_client(
    installation: Installation, number: int, sdk_of: Callable[..., Sdk], algorithm: str | None, protocol: str
) -> None:
    """Enrol, install, describe, upgrade one host by instance and one by client, uninstall again."""
    sdk = sdk_of(installation, protocol, algorithm)
    host = Host(installation, installation.folder / f"host-{number}-{protocol}")
    host.enrol(*sdk.activation())
    host.start()
    installation.hosts.append(host)
    host.wait_until_running()
    first, second = installation.hosts[0].instance_id, host.instance_id
    assert second in sdk.managed()

    (installed,) = finished(sdk, sdk.install([second]))
    assert installed["clientStatus"] == "ACTIVATED"
    of = sdk.clients([first, second])
    assert of[second] == installed["clientId"]

    version = f"{3 + number}.{protocol == 'HTTPS':d}"
    installation.add_release(version)
    task_id, lines = sdk.upgrade([first], [of[second]])
    assert lines == [(first, True)]
    items = finished(sdk, task_id)
    assert [(item["instanceId"], item["toVersion"]) for item in items] == [(first, version), (second, version)]
    assert installation.hosts[0].runs() == host.runs() == f"courier {version}"

    finished(sdk, sdk.uninstall([of[second]]))
    assert not (host.root / "bin" / "courier").exists()
