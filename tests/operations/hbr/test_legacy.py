"""The older forms, and forgetting clients."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backfleet import fleet
from backfleet.fleet import ClientStatus
from backfleet.operations.catalogue import HBR
from operations.environment import OTHER, Environment


def ask(env: Environment, action: str, **said: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(HBR.version, action, **said)


def items(env: Environment, task_id: str) -> tuple[str, list[dict[str, Any]]]:
    task = ask(env, "DescribeTask", TaskId=task_id)[1]
    return task["Name"], json.loads(task["Result"])


# --- One client -----------------------------------------------------------------------------------------------------


def test_one_client_is_upgraded(env: Environment) -> None:
    """By a task of its own name, without a list of instances."""
    _, client_id = env.host_with_client("1.0")
    env.release("2.0")
    status, body = ask(env, "UpgradeClient", ClientId=client_id, VaultId="v-1", ResourceGroupId="rg-1")
    assert (status, set(body)) == (200, {"Code", "Message", "Success", "TaskId"})
    name, (item,) = items(env, body["TaskId"])
    assert (name, item["clientId"], item["toVersion"]) == ("UpgradeClientTask", client_id, "2.0")
    listed = env.ask("2026-11-01", "ListTasks")[1]["Tasks"]
    assert [task["Name"] for task in listed] == ["UpgradeClientTask"]


def test_one_client_is_uninstalled(env: Environment) -> None:
    """Likewise."""
    _, client_id = env.host_with_client("1.0")
    _, body = ask(env, "UninstallClient", ClientId=client_id)
    name, (item,) = items(env, body["TaskId"])
    assert (name, item["clientStatus"]) == ("UninstallClientTask", "UNINSTALLING")


@pytest.mark.parametrize("action", ["UpgradeClient", "UninstallClient"])
@pytest.mark.parametrize(
    ("client_id", "status", "code"),
    [
        pytest.param("", 400, "MissingParameter", id="none"),
        pytest.param("mi-1", 400, "InvalidParameter", id="an instance"),
        pytest.param("x", 400, "InvalidParameter", id="neither"),
        pytest.param("c-" + "x" * 63, 400, "InvalidParameter", id="too long"),
        pytest.param("c-none", 404, "ResourceNotFound", id="nobody's"),
        pytest.param("THEIRS", 404, "ResourceNotFound", id="somebody else's"),
        pytest.param("SILENT", 400, "CloudAssistNotRunningOnInstance", id="on a silent host"),
        pytest.param("STOPPED", 400, "InstanceNotRunning", id="on a stopped host"),
    ],
)
def test_one_client_that_cannot_be_moved(env: Environment, action: str, client_id: str, status: int, code: str) -> None:
    """The call's own error, and no task."""
    places = {
        "THEIRS": lambda: env.client(env.host(account=OTHER), account=OTHER),
        "SILENT": lambda: env.client(env.host(silent=True)),
        "STOPPED": lambda: env.client(env.host(stopped=True)),
    }
    named = places[client_id]() if client_id in places else client_id
    told, body = ask(env, action, ClientId=named)
    assert (told, body["Code"]) == (status, code)
    assert env.tasks() == 0


# --- DescribeClients ------------------------------------------------------------------------------------------------


def test_clients_in_the_older_shape(env: Environment) -> None:
    """A list inside an object, with what was set."""
    instance_id, client_id = env.host_with_client("1.0")
    env.release("2.0")
    ask(env, "UpdateClientSettings", ClientId=client_id, UseHttps="false", DataNetworkType="VPC")
    body = ask(env, "DescribeClients", ClientType="ECS_AGENT", SourceType="HANA")[1]
    (client,) = body["Clients"]["Client"]
    assert (client["ClientId"], client["InstanceId"], body["TotalCount"]) == (client_id, instance_id, 1)
    assert (client["ClientVersion"], client["MaxVersion"]) == ("1.0", "2.0")
    assert (client["UseHttps"], client["NetworkType"], client["Status"]) == (False, "VPC", "ACTIVATED")


@pytest.mark.parametrize(
    "said", [{"ClientId": "c-none"}, {"ClientType": "ECS_CLIENT"}, {"ClusterId": "cl-1"}, {"PageNumber": "2"}]
)
def test_what_nobody_has_is_an_empty_list(env: Environment, said: dict[str, str]) -> None:
    """Of the same shape."""
    env.host_with_client()
    env.client(env.host(account=OTHER), account=OTHER)
    status, body = ask(env, "DescribeClients", **said)
    assert (status, body["Clients"]) == (200, {"Client": []})


# --- CreateClients --------------------------------------------------------------------------------------------------


def test_clients_are_created_by_installing(env: Environment) -> None:
    """The newest release, on each; what is secret in it is not looked at."""
    env.release("2.0")
    fit, silent = env.host(), env.host(silent=True)
    info = [
        {"instanceId": fit, "accessKeyId": "LTAI", "accessKeySecret": "hush", "sourceTypes": ["HANA"]},
        {"instanceId": silent},
    ]
    status, body = ask(env, "CreateClients", VaultId="v-1", ClientInfo=info, UseHttps="true")
    assert status == 200
    lines = body["InstanceStatuses"]["InstanceStatus"]
    assert [(line["InstanceId"], line["ValidInstance"]) for line in lines] == [(fit, True), (silent, False)]
    name, (item,) = items(env, body["TaskId"])
    assert (name, item["toVersion"]) == ("InstallBackupClientsTask", "2.0")


@pytest.mark.parametrize(
    ("info", "code"),
    [
        pytest.param("", "MissingParameter", id="nothing"),
        pytest.param("[]", "MissingParameter", id="nobody"),
        pytest.param("hush", "InvalidParameter", id="no JSON"),
        pytest.param('{"instanceId":"hush"}', "InvalidParameter", id="an object"),
        pytest.param('["hush"]', "InvalidParameter", id="text in it"),
        pytest.param('[{"accessKeySecret":"hush"}]', "InvalidParameter", id="an entry without an instance"),
        pytest.param('[{"instanceId":7,"accessKeySecret":"hush"}]', "InvalidParameter", id="a number for one"),
        pytest.param(json.dumps([{"instanceId": "mi-1"}] * 21), "InvalidParameter", id="too many"),
        pytest.param("hush" * 20_000, "InvalidParameter", id="too long"),
        pytest.param("[" * 60_000, "InvalidParameter", id="deep"),
    ],
)
def test_bad_client_info_is_not_repeated(env: Environment, info: str, code: str) -> None:
    """It may hold secrets."""
    status, body = ask(env, "CreateClients", VaultId="v-1", ClientInfo=info)
    assert (status, body["Code"]) == (400, code)
    assert "hush" not in str(body)
    assert env.tasks() == 0


def test_a_vault_must_be_named(env: Environment) -> None:
    """As in the cloud, though none is needed here."""
    assert ask(env, "CreateClients", ClientInfo=[{"instanceId": "mi-1"}])[1]["Code"] == "MissingParameter"


def test_the_service_is_open(env: Environment) -> None:
    """There is nothing to order."""
    assert ask(env, "OpenHbrService") == (200, {"OrderId": ""})


# --- Forgetting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["DeleteBackupClient", "DeleteClient"])
class TestForgetting:
    """DeleteBackupClient, and its older form."""

    def test_one_that_was_uninstalled(self, env: Environment, action: str) -> None:
        """However lately its host was heard; with what was set for it."""
        instance_id, client_id = env.host_with_client("", status=ClientStatus.NOT_INSTALLED)
        ask(env, "UpdateClientSettings", ClientId=client_id, MaxCpuCore="1")
        assert ask(env, action, ClientId=client_id)[0] == 200
        assert ask(env, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"] == []
        assert ask(env, action, ClientId=client_id)[1]["Code"] == "ResourceNotFound"
        again = env.client(instance_id)
        assert again != client_id

    def test_one_at_work_is_kept(self, env: Environment, action: str) -> None:
        """Until its host is silent for an hour."""
        _, client_id = env.host_with_client("1.0")
        status, body = ask(env, action, ClientId=client_id)
        assert (status, body["Code"]) == (409, "ClientIsActive")
        env.now += timedelta(minutes=59)
        assert ask(env, action, ClientId=client_id)[0] == 409
        env.now += timedelta(minutes=1)
        assert ask(env, action, ClientId=client_id)[0] == 200

    def test_one_that_is_moved_is_kept(self, env: Environment, action: str) -> None:
        """Also if its host was silent for long."""
        _, client_id = env.host_with_client("1.0")
        env.release("2.0")
        ask(env, "UpgradeClient", ClientId=client_id)
        status, body = ask(env, action, ClientId=client_id)
        assert (status, body["Code"]) == (409, "OperationConflict")
        assert "moving" in body["Message"]

    def test_another_accounts_is_not_there(self, env: Environment, action: str) -> None:
        """And stays."""
        theirs = env.client(env.host(account=OTHER), "", account=OTHER, status=ClientStatus.NOT_INSTALLED)
        assert ask(env, action, ClientId=theirs)[1]["Code"] == "ResourceNotFound"
        with env.services.database.reading() as tx:
            assert theirs in fleet.resolve(tx, OTHER, "cn-hangzhou", [], [theirs]).clients


# --- Filters and tags -----------------------------------------------------------------------------------------------


class Three:
    """Three clients on three hosts that differ."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.web = env.client(env.host(name="web"), "1.0")
        self.shop_host = env.host(name="shop")
        self.shop = env.client(self.shop_host, "2.0", package="other")
        self.gone = env.client(env.host(name="gone"), "", status=ClientStatus.NOT_INSTALLED, channel="beta")
        env.ask(
            "2014-05-26", "TagResources", RegionId="cn-hangzhou", ResourceType="managedinstance",
            **{"ResourceId.1": self.shop_host, "Tag.1.Key": "team", "Tag.1.Value": "shop"},
        )  # fmt: skip

    def found(self, **said: str) -> list[str]:
        status, body = ask(self.env, "DescribeBackupClients", ClientType="ECS_CLIENT", **said)
        assert status == 200, body
        names = {self.web: "web", self.shop: "shop", self.gone: "gone"}
        assert body["TotalCount"] == len(body["Clients"])
        return [names[client["ClientId"]] for client in body["Clients"]]


def filters(*keys_and_values: tuple[str, list[str]]) -> dict[str, str]:
    flat = {}
    for number, (key, values) in enumerate(keys_and_values, 1):
        flat[f"Filters.{number}.Key"] = key
        flat |= {f"Filters.{number}.Values.{index}": value for index, value in enumerate(values, 1)}
    return flat


FILTERED = [
    pytest.param(filters(("Status", ["ACTIVATED"])), ["web", "shop"], id="a status"),
    pytest.param(filters(("status", ["ACTIVATED", "NOT_INSTALLED"])), ["web", "shop", "gone"], id="either of two"),
    pytest.param(filters(("ClientVersion", ["2.0"])), ["shop"], id="a version"),
    pytest.param(filters(("PackageName", ["other"])), ["shop"], id="a package"),
    pytest.param(filters(("Channel", ["beta"])), ["gone"], id="a channel"),
    pytest.param(filters(("InstanceName", ["web", "gone"])), ["web", "gone"], id="names"),
    pytest.param(filters(("Status", ["ACTIVATED"]), ("InstanceName", ["gone"])), [], id="both must hold"),
    pytest.param({"Tag.1.Key": "team", "Tag.1.Value": "shop"}, ["shop"], id="a tag"),
    pytest.param({"Tag.1.Key": "team"}, ["shop"], id="a tag of any value"),
    pytest.param({"Tag.1.Key": "team", "Tag.1.Value": "web"}, [], id="a tag of another value"),
    pytest.param({"ClusterId": "cl-1"}, [], id="a cluster"),
]


@pytest.mark.parametrize(("said", "expected"), FILTERED)
def test_filters_and_tags(env: Environment, said: dict[str, str], expected: list[str]) -> None:
    """What is listed is counted, too."""
    assert Three(env).found(**said) == expected


def test_tags_of_the_machine_are_shown(env: Environment) -> None:
    """As a plain list."""
    three = Three(env)
    listed = ask(env, "DescribeBackupClients", ClientType="ECS_CLIENT", ClientIds=[three.shop])[1]["Clients"]
    assert listed[0]["Tags"] == [{"Key": "team", "Value": "shop"}]


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        pytest.param(filters(("Colour", ["red"])), "InvalidParameter", "Status, ClientVersion", id="no such key"),
        pytest.param({"Filters.1.Key": "Status"}, "MissingParameter", "Filters.1.Values", id="no values"),
        pytest.param({"Filters.1.Values.1": "x"}, "MissingParameter", "Filters.1.Key", id="no key"),
        pytest.param(filters(("Status", ["A"]), ("status", ["B"])), "InvalidParameter", "second time", id="twice"),
    ],
)
def test_filters_that_say_nothing(env: Environment, said: dict[str, str], code: str, word: str) -> None:
    """An answer that ignored them would be wrong."""
    status, body = ask(env, "DescribeBackupClients", ClientType="ECS_CLIENT", **said)
    assert (status, body["Code"], word in body["Message"]) == (400, code, True), body
