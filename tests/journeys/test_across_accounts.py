"""One account has the servers, another manages them, with real hosts and the official SDK."""

import gc
import json
from dataclasses import replace
from typing import Any

import pytest
from alibabacloud_hbr20170908 import models as hbr
from alibabacloud_hbr20170908.client import Client as Hbr
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config

from backfleet.cli._client import Client
from backfleet.wire.credentials import Credentials
from journeys.installation import LONG, Host, Installation, wait_for
from sdk_timeouts import SDK_TIMEOUTS

REGION = "cn-hangzhou"
ROLE = "hbrcrossrole"
SERVICE = "crossbackup.hbr.aliyuncs.com"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


class Theirs:
    """The account with the servers: a root key, a host whose agent runs, and a role that trusts the service."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        made = installation.call("CreateAccount", "backfleet", AccountName="shop")
        self.account = made["AccountId"]
        ours = installation.client()
        key = Credentials(made["AccessKeyId"], made["AccessKeySecret"])
        self.client = Client(replace(ours.connection, credentials=key), ours.clock)
        code = self.client.call("ecs", "CreateActivation", RegionId=REGION, InstanceCount=1)
        self.host = Host(installation, installation.folder / "their-host")
        self.host.enrol(code["ActivationId"], code["ActivationCode"])
        self.host.start()
        installation.hosts.append(self.host)  # it ends with the installation
        self.host.wait_until_running()
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": SERVICE}}
        document = json.dumps({"Version": "1", "Statement": [trust]})
        self.client.call("ram", "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=document)
        self.client.call(
            "ram", "AttachPolicyToRole", PolicyName="AliyunHBRFullAccess", PolicyType="System", RoleName=ROLE
        )

    def trail(self, client: Client) -> list[tuple[str, str]]:
        found = client.call("backfleet", "LookupEvents", MaxResults=200)["Events"]
        return [(event["eventName"], event["recipientAccountId"]) for event in found]


@pytest.fixture
def theirs(installation: Installation) -> Any:
    yield Theirs(installation)
    gc.collect()  # the SDK leaves its TLS connections to the collector; let that be here


def test_another_accounts_client_is_installed_and_upgraded(installation: Installation, theirs: Theirs) -> None:
    """Refused until the pair is registered; then it goes as at home, both trails say so, and settings arrive."""
    admin = installation.admin()
    sdk = Hbr(
        Config(
            access_key_id=admin["access_key_id"], access_key_secret=admin["access_key_secret"], protocol="HTTPS",
            endpoint=installation.https, region_id=REGION, ca=admin["ca_file"],
            **SDK_TIMEOUTS,
        )
    )  # fmt: skip
    cross_account: dict[str, Any] = {
        "cross_account_type": "CROSS_ACCOUNT",
        "cross_account_user_id": int(theirs.account),
        "cross_account_role_name": ROLE,
    }
    host = theirs.host

    def finished(task_id: str) -> dict[str, Any]:
        def poll() -> Any:
            body = sdk.describe_task(hbr.DescribeTaskRequest(task_id=task_id)).body
            return body if body.description != "created" else None

        body = wait_for(poll, LONG)
        (item,) = json.loads(body.result)
        assert (body.description, body.progress) == ("completed", 100), item
        return dict(item)

    asked = hbr.InstallBackupClientsRequest(instance_ids=[host.instance_id], **cross_account)
    with pytest.raises(ClientException) as refused:
        sdk.install_backup_clients(asked)
    assert refused.value.code == "AssumeRoleFail"
    sdk.add_cross_account(
        hbr.AddCrossAccountRequest(cross_account_user_id=int(theirs.account), cross_account_role_name=ROLE)
    )
    installed = finished(sdk.install_backup_clients(asked).body.task_id)
    theirs.client.call("hbr", "UpdateClientSettings", ClientId=installed["clientId"], MaxWorker=3)

    installation.add_release("7.9")
    upgrade = hbr.UpgradeBackupClientsRequest(client_ids=[installed["clientId"]], **cross_account)
    item = finished(sdk.upgrade_backup_clients(upgrade).body.task_id)
    assert (item["toVersion"], item["errorCode"]) == ("7.9", "")
    assert host.runs() == "courier 7.9"
    assert json.loads((host.root / "courier" / "settings.json").read_text()) == {"most_workers": 3}

    for client, account in ((installation.client(), admin["account_id"]), (theirs.client, theirs.account)):
        assert ("UpgradeBackupClients", account) in theirs.trail(client)
    found = sdk.describe_backup_clients(
        hbr.DescribeBackupClientsRequest(client_type="ECS_CLIENT", instance_ids=[host.instance_id], **cross_account)
    ).body.clients
    assert [(client.client_version, client.settings.max_worker) for client in found] == [("7.9", "3")]
    at_home = hbr.DescribeBackupClientsRequest(client_type="ECS_CLIENT", instance_ids=[host.instance_id])
    assert sdk.describe_backup_clients(at_home).body.clients == []
