"""InstallBackupClients and UninstallBackupClients: which package goes where, and what is left alone."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet.fleet import ClientStatus
from backfleet.releases import set_default_package
from backfleet.storage import metadata
from operations.environment import Environment

HBR = "2017-09-08"


def ask(env: Environment, action: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(HBR, f"{action}BackupClients", **parameters)


def items(env: Environment, action: str, **parameters: Any) -> list[dict[str, Any]]:
    """The items of the task that a call starts."""
    status, answer = ask(env, action, **parameters)
    assert (status, answer["Code"], answer["Success"]) == (200, "200", True), answer
    _, task = env.ask(HBR, "DescribeTask", TaskId=answer["TaskId"])
    assert task["Name"] == f"{action}BackupClientsTask"
    found: list[dict[str, Any]] = json.loads(task["Result"])
    return found


def clients(env: Environment) -> list[tuple[str, str, str]]:
    _, found = env.ask(HBR, "DescribeBackupClients", ClientType="ECS_CLIENT")
    return [(c["PackageName"], c["ClientVersion"], c["Status"]) for c in found["Clients"]]


def test_the_only_package_on_offer_is_installed(env: Environment) -> None:
    """A client appears with the task, and is shown as being installed."""
    env.release("2.0")
    (item,) = items(env, "Install", InstanceIds=[env.host()])
    assert (item["packageName"], item["fromVersion"], item["toVersion"]) == ("courier", "", "2.0")
    assert item["clientId"].startswith("c-")
    assert clients(env) == [("courier", "", ClientStatus.INSTALLING)]


@pytest.mark.parametrize(
    ("releases", "parameters", "text"),
    [
        pytest.param([], {}, "offers no package for these instances yet", id="nothing is offered"),
        pytest.param(["courier"], {"Channel": "beta"}, "channel beta offers no package", id="not on this channel"),
        pytest.param(["courier"], {"PackageName": "No Such"}, "PackageName", id="a name that no package can have"),
    ],
)
def test_an_unclear_package_is_an_error_that_lists_the_packages(
    env: Environment, releases: list[str], parameters: dict[str, str], text: str
) -> None:
    """No client is made."""
    for package in releases:
        env.release("2.0", package=package)
    status, answer = ask(env, "Install", InstanceIds=[env.host()], **parameters)
    assert (status, answer["Code"]) == (400, "InvalidParameter")
    assert text in answer["Message"]
    assert (clients(env), env.tasks()) == ([], 0)


def test_a_second_package_on_the_channel_changes_nothing(env: Environment) -> None:
    """The first is what an install gets that names none, until an operator chooses another."""
    env.release("2.0")
    env.release("3.0", package="keeper")
    (item,) = items(env, "Install", InstanceIds=[env.host()])
    assert item["toVersion"] == "2.0"
    with env.services.database.transaction() as tx:
        assert set_default_package(tx, "stable", "keeper", None) == ["linux-amd64"]
    (item,) = items(env, "Install", InstanceIds=[env.host()])
    assert item["toVersion"] == "3.0"


def test_several_packages_of_which_none_is_the_default_are_named(env: Environment) -> None:
    """As on a server that had them before there were defaults; the text names the ways out."""
    for package in ("courier", "keeper"):
        env.release("2.0", package=package)
    with env.services.database.transaction() as tx:
        tx.run(sa.delete(metadata.tables["default_packages"]))
    _, answer = ask(env, "Install", InstanceIds=[env.host()])
    assert "several packages: courier, keeper. Name one" in answer["Message"]
    assert "default_package" in answer["Message"]


def test_a_package_and_a_channel_can_be_named(env: Environment) -> None:
    """By parameters of our own."""
    env.release("2.0")
    env.release("3.0", package="keeper", channel="beta")
    (item,) = items(env, "Install", InstanceIds=[env.host()], PackageName="keeper", Channel="beta")
    assert (item["packageName"], item["toVersion"]) == ("keeper", "3.0")


def test_a_package_that_is_not_offered_for_a_platform_makes_no_client(env: Environment) -> None:
    """The item says which release is missing."""
    env.release("2.0")
    (item,) = items(env, "Install", InstanceIds=[env.host(platform="linux-arm64")], PackageName="courier")
    assert (item["errorCode"], item["clientId"]) == ("NoRelease", "")
    assert "linux-arm64" in item["message"]
    assert "add one" in item["message"]
    assert clients(env) == []


def test_a_package_that_is_misspelled_is_named_as_it_is(env: Environment) -> None:
    """Adding a release of it would be the wrong thing to do."""
    env.release("2.0")
    (item,) = items(env, "Install", InstanceIds=[env.host()], PackageName="courer")
    assert (item["errorCode"], item["message"].endswith("; is courier meant?")) == ("NoRelease", True), item["message"]


def test_an_install_over_a_client_moves_it_to_the_newest_version(env: Environment) -> None:
    """Over the newest version its host is asked whether it has it; over an older one it is an upgrade."""
    env.release("2.0")
    (current, _), (older, _) = env.host_with_client("2.0"), env.host_with_client("1.0")
    first, second = items(env, "Install", InstanceIds=[current, older])
    assert (first["errorCode"], first["fromVersion"], first["toVersion"]) == ("", "2.0", "2.0")
    assert (second["errorCode"], second["fromVersion"], second["toVersion"]) == ("", "1.0", "2.0")


@pytest.mark.parametrize("action", ["Install", "Uninstall"])
def test_twenty_ids_are_accepted_and_one_more_is_not(env: Environment, action: str) -> None:
    """As the public page limits these two."""
    env.release("2.0")
    instance, _ = env.host_with_client()
    status, answer = ask(env, action, InstanceIds=[instance] * 21)
    assert (status, answer["Code"], env.tasks()) == (400, "InvalidParameter", 0)
    assert ask(env, action, InstanceIds=[instance] * 20)[0] == 200


def test_an_install_names_instances(env: Environment) -> None:
    """At least one, and no clients."""
    status, answer = ask(env, "Install", InstanceIds=["c-1"])
    assert (status, answer["Code"]) == (400, "InvalidParameter")
    assert "name its instance" in answer["Message"]
    assert ask(env, "Install")[1]["Code"] == "MissingParameter"


@pytest.mark.parametrize("action", ["Install", "Uninstall"])
def test_one_unreachable_instance_alone_is_an_error_of_the_call(env: Environment, action: str) -> None:
    """As with an upgrade."""
    env.release("2.0")
    status, answer = ask(env, action, InstanceIds=[env.host(stopped=True)])
    assert (status, answer["Code"], env.tasks()) == (400, "InstanceNotRunning", 0)


def test_an_uninstall_removes_every_client_of_an_instance(env: Environment) -> None:
    """Or the one that is named."""
    instance, first = env.host_with_client()
    env.client(instance, package="keeper")
    named = items(env, "Uninstall", ClientIds=[first])
    assert [(item["packageName"], item["toVersion"], item["clientStatus"]) for item in named] == [
        ("courier", "", "UNINSTALLING")
    ]
    both = items(env, "Uninstall", InstanceIds=[instance])
    assert {item["packageName"]: item["errorCode"] for item in both} == {"courier": "UpgradeInProgress", "keeper": ""}


def test_whether_a_removed_client_is_still_there_its_host_says(env: Environment) -> None:
    """Our table may be wrong: the order is sent."""
    instance = env.host()
    env.client(instance, "", status=ClientStatus.NOT_INSTALLED)
    (item,) = items(env, "Uninstall", InstanceIds=[instance])
    assert (item["errorCode"], item["clientStatus"]) == ("", "UNINSTALLING")


@pytest.mark.parametrize("action", ["Install", "Uninstall"])
def test_the_same_asked_again_while_it_runs_is_the_running_task(env: Environment, action: str) -> None:
    """As after a lost answer, or by a second `terraform apply`: in any order of ids, also with a new ClientToken."""
    env.release("2.0")
    hosts = [env.host_with_client()[0], env.host_with_client()[0]]
    status, first = ask(env, action, InstanceIds=hosts)
    assert status == 200
    env.release("3.0")  # a newer one does not change what runs
    for more in ({}, {"ClientToken": "again"}, {"ClientToken": "again"}):
        status, answer = ask(env, action, InstanceIds=hosts[::-1], **more)
        assert (status, answer["TaskId"]) == (200, first["TaskId"])
        assert [line["ValidInstance"] for line in answer["InstanceStatuses"]] == [True, True]
    assert env.tasks() == 1


@pytest.mark.parametrize("more", [{"TryAgain": "true"}, {"PackageName": "keeper"}])
def test_another_install_of_the_same_instances_is_another_task(env: Environment, more: dict[str, str]) -> None:
    """Other parameters, or other targets."""
    env.release("2.0")
    env.release("2.0", package="keeper")
    one, two = env.host(), env.host()
    tasks = {
        ask(env, "Install", InstanceIds=ids, **options)[1]["TaskId"]
        for ids, options in (
            ([one], {"PackageName": "courier"}),
            ([one], {"PackageName": "courier", **more}),
            ([one, two], {"PackageName": "courier"}),
        )
    }
    assert len(tasks) == 3


@pytest.mark.parametrize("action", ["DescribeTask", "InstallBackupClients"])
def test_another_region_is_refused(env: Environment, action: str) -> None:
    """The same rule as in ECS, but that it may be left out here; some official clients always send it."""
    env.release("2.0")
    asked: dict[str, Any] = {"TaskId": "t-1"} if action == "DescribeTask" else {"InstanceIds": [env.host()]}
    status, answer = env.ask("2017-09-08", action, **asked, RegionId="us-east-1")
    assert (status, answer["Code"], env.tasks()) == (404, "InvalidRegionId.NotFound", 0)
    assert "'cn-hangzhou'" in answer["Message"]
    for region in ({}, {"RegionId": "cn-hangzhou"}, {"RegionId": ""}):
        assert env.ask("2017-09-08", action, **asked, **region)[1].get("Code") != "InvalidRegionId.NotFound"
