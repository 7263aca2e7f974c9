"""The older operations, deleting clients, and filters of DescribeBackupClients."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backfleet import fleet
from backfleet.fleet import ClientStatus
from backfleet.operations.catalogue import HBR
from operations.environment import OTHER, Environment


def ask(env: Environment, action: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(HBR.version, action, **parameters)


def items(env: Environment, task_id: str) -> tuple[str, list[dict[str, Any]]]:
    task = ask(env, "DescribeTask", TaskId=task_id)[1]
    return task["Name"], json.loads(task["Result"])


# --- One client -----------------------------------------------------------------------------------------------------


def test_one_client_is_upgraded(env: Environment) -> None:
    """The task has a name of its own, and the answer no list of instances."""
    _, client_id = env.host_with_client("1.0")
    env.release("2.0")
    status, body = ask(env, "UpgradeClient", ClientId=client_id, VaultId="v-1", ResourceGroupId="rg-1")
    assert (status, set(body)) == (200, {"Code", "Message", "Success", "TaskId"})
    name, (item,) = items(env, body["TaskId"])
    assert (name, item["clientId"], item["toVersion"]) == ("UpgradeClientTask", client_id, "2.0")
    listed = env.ask("2026-11-01", "ListTasks")[1]["Tasks"]
    assert [task["Name"] for task in listed] == ["UpgradeClientTask"]


def test_one_client_is_uninstalled(env: Environment) -> None:
    """The task has a name of its own, too."""
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
        pytest.param("c-none", 404, "ResourceNotFound", id="unknown"),
        pytest.param("THEIRS", 404, "ResourceNotFound", id="of another account"),
        pytest.param("SILENT", 400, "CloudAssistNotRunningOnInstance", id="on a silent host"),
        pytest.param("STOPPED", 400, "InstanceNotRunning", id="on a stopped host"),
    ],
)
def test_one_client_that_cannot_be_moved_is_an_error(
    env: Environment, action: str, client_id: str, status: int, code: str
) -> None:
    """There is no task."""
    places = {
        "THEIRS": lambda: env.client(env.host(account=OTHER), account=OTHER),
        "SILENT": lambda: env.client(env.host(silent=True)),
        "STOPPED": lambda: env.client(env.host(stopped=True)),
    }
    named = places[client_id]() if client_id in places else client_id
    found, body = ask(env, action, ClientId=named)
    assert (found, body["Code"]) == (status, code)
    assert env.tasks() == 0


# --- DescribeClients ------------------------------------------------------------------------------------------------


def test_clients_are_listed_in_the_older_shape(env: Environment) -> None:
    """A list inside an object, with settings."""
    instance_id, client_id = env.host_with_client("1.0")
    env.release("2.0")
    ask(env, "UpdateClientSettings", ClientId=client_id, UseHttps="false", DataNetworkType="VPC")
    body = ask(env, "DescribeClients", ClientType="ECS_AGENT", SourceType="HANA")[1]
    (client,) = body["Clients"]["Client"]
    assert (client["ClientId"], client["InstanceId"], body["TotalCount"]) == (client_id, instance_id, 1)
    assert (client["ClientVersion"], client["MaxVersion"]) == ("1.0", "2.0")
    assert (client["UseHttps"], client["NetworkType"], client["Status"]) == (False, "VPC", "ACTIVATED")


@pytest.mark.parametrize(
    "parameters", [{"ClientId": "c-none"}, {"ClientType": "ECS_CLIENT"}, {"ClusterId": "cl-1"}, {"PageNumber": "2"}]
)
def test_a_filter_that_nothing_fits_gives_an_empty_list(env: Environment, parameters: dict[str, str]) -> None:
    """Of the same shape."""
    env.host_with_client()
    env.client(env.host(account=OTHER), account=OTHER)
    status, body = ask(env, "DescribeClients", **parameters)
    assert (status, body["Clients"]) == (200, {"Client": []})


# --- CreateClients --------------------------------------------------------------------------------------------------


def test_creating_clients_installs_them(env: Environment) -> None:
    """The newest release, on each; the secrets in ClientInfo are ignored."""
    env.release("2.0")
    good, silent = env.host(), env.host(silent=True)
    info = [
        {"instanceId": good, "accessKeyId": "LTAI", "accessKeySecret": "hush", "sourceTypes": ["HANA"]},
        {"instanceId": silent},
    ]
    status, body = ask(env, "CreateClients", VaultId="v-1", ClientInfo=info, UseHttps="true")
    assert status == 200
    lines = body["InstanceStatuses"]["InstanceStatus"]
    assert [(line["InstanceId"], line["ValidInstance"]) for line in lines] == [(good, True), (silent, False)]
    name, (item, unfit) = items(env, body["TaskId"])
    assert (name, item["toVersion"]) == ("InstallBackupClientsTask", "2.0")
    assert (unfit["instanceId"], unfit["errorCode"]) == (silent, "CloudAssistNotRunningOnInstance")


@pytest.mark.parametrize(
    ("info", "code"),
    [
        pytest.param("", "MissingParameter", id="nothing"),
        pytest.param("[]", "MissingParameter", id="an empty list"),
        pytest.param("hush", "InvalidParameter", id="no JSON"),
        pytest.param('{"instanceId":"hush"}', "InvalidParameter", id="an object"),
        pytest.param('["hush"]', "InvalidParameter", id="text in it"),
        pytest.param('[{"accessKeySecret":"hush"}]', "InvalidParameter", id="an entry without an instance"),
        pytest.param('[{"instanceId":7,"accessKeySecret":"hush"}]', "InvalidParameter", id="a number for one"),
        pytest.param(json.dumps([{"instanceId": "mi-1"}] * 21), "InvalidParameter", id="too many"),
        pytest.param("hush" * 20_000, "InvalidParameter", id="too long"),
        pytest.param("[" * 60_000, "InvalidParameter", id="deeply nested"),
    ],
)
def test_an_error_repeats_nothing_of_client_info(env: Environment, info: str, code: str) -> None:
    """It may hold secrets."""
    status, body = ask(env, "CreateClients", VaultId="v-1", ClientInfo=info)
    assert (status, body["Code"]) == (400, code)
    assert "hush" not in str(body)
    assert env.tasks() == 0


def test_a_vault_must_be_named(env: Environment) -> None:
    """As in the cloud, although it has no effect here."""
    assert ask(env, "CreateClients", ClientInfo=[{"instanceId": "mi-1"}])[1]["Code"] == "MissingParameter"


def test_the_service_is_always_open(env: Environment) -> None:
    """There is nothing to order."""
    assert ask(env, "OpenHbrService") == (200, {"OrderId": ""})


# --- Deleting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["DeleteBackupClient", "DeleteClient"])
class TestDeleting:
    """DeleteBackupClient, and its older form."""

    def test_an_uninstalled_client_is_forgotten(self, env: Environment, action: str) -> None:
        """With its settings, however lately its host was heard of."""
        instance_id, client_id = env.host_with_client("", status=ClientStatus.NOT_INSTALLED)
        ask(env, "UpdateClientSettings", ClientId=client_id, MaxCpuCore="1")
        assert ask(env, action, ClientId=client_id)[0] == 200
        assert ask(env, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"] == []
        assert ask(env, action, ClientId=client_id)[1]["Code"] == "ResourceNotFound"
        again = env.client(instance_id)
        assert again != client_id

    def test_a_client_in_use_is_kept(self, env: Environment, action: str) -> None:
        """Until its host has been silent for an hour."""
        _, client_id = env.host_with_client("1.0")
        status, body = ask(env, action, ClientId=client_id)
        assert (status, body["Code"]) == (409, "ClientIsActive")
        env.now += timedelta(minutes=59)
        assert ask(env, action, ClientId=client_id)[0] == 409
        env.now += timedelta(minutes=1)
        assert ask(env, action, ClientId=client_id)[0] == 200

    def test_a_client_that_is_being_moved_is_kept(self, env: Environment, action: str) -> None:
        """The error says that a task is moving it."""
        _, client_id = env.host_with_client("1.0")
        env.release("2.0")
        ask(env, "UpgradeClient", ClientId=client_id)
        status, body = ask(env, action, ClientId=client_id)
        assert (status, body["Code"]) == (409, "OperationConflict")
        assert "moving" in body["Message"]

    def test_another_accounts_client_cannot_be_deleted(self, env: Environment, action: str) -> None:
        """It is treated as one that does not exist."""
        theirs = env.client(env.host(account=OTHER), "", account=OTHER, status=ClientStatus.NOT_INSTALLED)
        assert ask(env, action, ClientId=theirs)[1]["Code"] == "ResourceNotFound"
        with env.services.database.reading() as tx:
            assert theirs in fleet.resolve(tx, OTHER, "cn-hangzhou", [], [theirs]).clients


# --- Filters and tags -----------------------------------------------------------------------------------------------


class ThreeClients:
    """Three different clients on three hosts."""

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

    def found(self, **parameters: str) -> list[str]:
        status, body = ask(self.env, "DescribeBackupClients", ClientType="ECS_CLIENT", **parameters)
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


@pytest.mark.parametrize(("parameters", "expected"), FILTERED)
def test_filters_and_tags_select_clients(env: Environment, parameters: dict[str, str], expected: list[str]) -> None:
    """The count is that of the selected ones."""
    assert ThreeClients(env).found(**parameters) == expected


def test_a_client_shows_the_tags_of_its_instance(env: Environment) -> None:
    """As a plain list."""
    three = ThreeClients(env)
    listed = ask(env, "DescribeBackupClients", ClientType="ECS_CLIENT", ClientIds=[three.shop])[1]["Clients"]
    assert listed[0]["Tags"] == [{"Key": "team", "Value": "shop"}]


@pytest.mark.parametrize(
    ("parameters", "code", "text"),
    [
        pytest.param(filters(("Colour", ["red"])), "InvalidParameter", "Status, ClientVersion", id="no such key"),
        pytest.param({"Filters.1.Key": "Status"}, "MissingParameter", "Filters.1.Values", id="no values"),
        pytest.param({"Filters.1.Values.1": "x"}, "MissingParameter", "Filters.1.Key", id="no key"),
        pytest.param(filters(("Status", ["A"]), ("status", ["B"])), "InvalidParameter", "second time", id="twice"),
    ],
)
def test_malformed_filters_are_refused(env: Environment, parameters: dict[str, str], code: str, text: str) -> None:
    """To ignore them would list too much."""
    status, body = ask(env, "DescribeBackupClients", ClientType="ECS_CLIENT", **parameters)
    assert (status, body["Code"], text in body["Message"]) == (400, code, True), body
