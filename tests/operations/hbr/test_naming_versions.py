"""ReleaseVersion, RollBackClients, withdrawn versions, and tasks with instances that cannot be given work."""

import json
from typing import Any

import pytest

from backfleet import fleet, releases
from backfleet.operations.catalogue import BACKFLEET, HBR
from operations.environment import OTHER, PLATFORM, Environment


def ask(env: Environment, action: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
    product = BACKFLEET if action == "RollBackClients" else HBR
    return env.ask(product.version, action, **parameters)


def task_of(env: Environment, action: str, **parameters: Any) -> dict[str, Any]:
    """Return DescribeTask of the task that a call started, its Result read."""
    status, answer = ask(env, action, **parameters)
    assert (status, answer["Success"]) == (200, True), answer
    _, task = env.ask(HBR.version, "DescribeTask", TaskId=answer["TaskId"])
    return {**task, "Result": json.loads(task["Result"])}


def item_of(env: Environment, action: str, **parameters: Any) -> dict[str, Any]:
    """Return the one item of the task that a call started."""
    (item,) = task_of(env, action, **parameters)["Result"]
    found: dict[str, Any] = item
    return found


def withdraw(env: Environment, version: str) -> None:
    with env.services.database.transaction() as tx:
        releases.withdraw(tx, env.services.repository, "courier", version, PLATFORM, now=env.now)


def state_of(env: Environment, client: str) -> str:
    _, answer = env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT", ClientIds=[client])
    (found,) = answer["Clients"]
    return str(found["OfferState"])


@pytest.fixture
def shop(env: Environment) -> Environment:
    """1.0, 2.0 and 3.0 are offered; 2.5 was withdrawn."""
    for version in ("1.0", "2.0", "3.0"):
        env.release(version)
    env.release("2.5", withdrawn=True)
    return env


NAMED = [
    ("UpgradeBackupClients", "2.0", "", "2.0", ""),
    ("UpgradeBackupClients", "1.5", "", "1.5", ""),
    ("UpgradeBackupClients", "2.5", "NoRelease", "", "was withdrawn; offered are 3.0, 2.0, 1.5, 1.0"),
    ("UpgradeBackupClients", "7.0", "NoRelease", "", "7.0 is not offered"),
    ("UpgradeBackupClients", "1.0", "NotAllowedFrom", "", "client roll-back --version 1.0"),
    ("RollBackClients", "1.0", "", "1.0", ""),
    ("RollBackClients", "", "", "", ""),
    ("RollBackClients", "2.0", "NotAllowedFrom", "", "an upgrade goes there"),
    ("RollBackClients", "0.1", "NoRelease", "", "is not a release for its platform"),
    ("RollBackClients", "2.5", "NoRelease", "", "was withdrawn"),
]


@pytest.mark.parametrize(("action", "version", "code", "goal", "text"), NAMED)
def test_a_named_version_is_the_target_or_a_refused_item(
    shop: Environment, action: str, version: str, code: str, goal: str, text: str
) -> None:
    """The message says what to do."""
    shop.release("1.5")
    named = {"ReleaseVersion": version} if version else {}
    item = item_of(shop, action, ClientIds=[shop.host_with_client("1.5")[1]], **named)
    assert (item["errorCode"], item["toVersion"]) == (code, goal)
    assert text in item["message"]


@pytest.mark.parametrize("action", ["UpgradeBackupClients", "RollBackClients"])
def test_a_named_version_outside_the_pin_is_refused(shop: Environment, action: str) -> None:
    pin, installed, goal = ("<3", "1.0", "3.0") if action == "UpgradeBackupClients" else (">=2", "3.0", "1.0")
    client = shop.host_with_client(installed, pin=pin)[1]
    item = item_of(shop, action, ClientIds=[client], ReleaseVersion=goal)
    assert (item["errorCode"], pin in item["message"]) == ("Pinned", True)


@pytest.mark.parametrize(
    ("version", "code", "goal"), [("2.0", "", "2.0"), ("2.5", "NoRelease", ""), ("9", "NoRelease", "")]
)
def test_an_install_goes_to_the_named_version(shop: Environment, version: str, code: str, goal: str) -> None:
    """A client is made only where there is something to install."""
    host = shop.host()
    item = item_of(shop, "InstallBackupClients", InstanceIds=[host], ReleaseVersion=version)
    assert (item["errorCode"], item["toVersion"], bool(item["clientId"])) == (code, goal, not code)


def test_a_running_install_of_another_version_is_not_the_answer(shop: Environment) -> None:
    """The same version is."""
    host = shop.host()
    _, first = ask(shop, "InstallBackupClients", InstanceIds=[host], ReleaseVersion="2.0")
    _, same = ask(shop, "InstallBackupClients", InstanceIds=[host], ReleaseVersion="2.0")
    assert same["TaskId"] == first["TaskId"]
    item = item_of(shop, "InstallBackupClients", InstanceIds=[host], ReleaseVersion="3.0")
    assert item["errorCode"] == "UpgradeInProgress"


def test_a_client_on_a_withdrawn_version_is_listed_and_moves_to_the_newest_that_is_offered(shop: Environment) -> None:
    """Even to an older one: the host allows it, as signed metadata withdraws what it has."""
    client = shop.host_with_client("3.0")[1]
    assert state_of(shop, client) == "Current"
    withdraw(shop, "3.0")
    assert state_of(shop, client) == "Withdrawn"
    assert shop.ask(BACKFLEET.version, "DescribeServer")[1]["WithdrawnClients"] == 1
    item = item_of(shop, "UpgradeBackupClients", ClientIds=[client])
    assert (item["fromVersion"], item["toVersion"], item["errorCode"]) == ("3.0", "2.0", "")


def test_a_client_with_an_older_version_is_behind(shop: Environment) -> None:
    assert state_of(shop, shop.host_with_client("2.0")[1]) == "Behind"


def test_a_named_older_version_is_allowed_from_a_withdrawn_one(shop: Environment) -> None:
    client = shop.host_with_client("2.5")[1]
    item = item_of(shop, "UpgradeBackupClients", ClientIds=[client], ReleaseVersion="1.0")
    assert (item["toVersion"], item["errorCode"]) == ("1.0", "")


def test_a_roll_back_marks_its_clients_and_has_a_name_of_its_own(shop: Environment) -> None:
    host, _ = shop.host_with_client("2.0")
    task = task_of(shop, "RollBackClients", InstanceIds=[host])
    assert (task["Name"], task["Progress"]) == ("RollBackClientsTask", 0)
    assert task["Result"][0]["clientStatus"] == fleet.ClientStatus.UPGRADING.value


def test_a_roll_back_needs_permission_on_each_client(shop: Environment) -> None:
    """One refused client refuses the call."""
    first, second = shop.host_with_client("2.0")[1], shop.host_with_client("2.0")[1]
    arn = f"acs:hbr:*:*:client/{first}"
    ann = shop.user_with("ann", {"Effect": "Allow", "Action": "backfleet:RollBackClients", "Resource": arn})
    assert ask(shop, "RollBackClients", caller=ann, ClientIds=[first, second])[0] == 403
    assert ask(shop, "RollBackClients", caller=ann, ClientIds=[first])[0] == 200
    stranger = shop.other_account
    assert ask(shop, "RollBackClients", caller=stranger, ClientIds=[second])[1]["Code"] == "ResourceNotFound"


def test_a_token_makes_a_roll_back_idempotent(shop: Environment) -> None:
    client = shop.host_with_client("2.0")[1]
    _, first = ask(shop, "RollBackClients", ClientIds=[client], ClientToken="once")
    _, again = ask(shop, "RollBackClients", ClientIds=[client], ClientToken="once")
    assert first["TaskId"] == again["TaskId"]
    status, other = ask(shop, "RollBackClients", ClientIds=[client], ClientToken="once", ReleaseVersion="1.0")
    assert (status, other["Code"]) == (400, "IdempotentParameterMismatch")


# --- Instances that cannot be given work ------------------------------------------------------------------------------


ACTIONS = ["UpgradeBackupClients", "UninstallBackupClients", "InstallBackupClients", "RollBackClients"]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_unreachable_instance_is_an_item_in_request_order(shop: Environment, action: str) -> None:
    """A task whose other items succeed ends at -1: Progress alone cannot mislead."""
    fit, silent = shop.host_with_client("1.0")[0], shop.host(silent=True)
    task = task_of(shop, action, InstanceIds=[silent, fit])
    assert [item["instanceId"] for item in task["Result"]] == [silent, fit]
    assert task["Result"][0]["errorCode"] == "CloudAssistNotRunningOnInstance"
    assert task["Progress"] < 100


def test_a_task_with_an_unreachable_instance_never_reaches_100(shop: Environment) -> None:
    """All its items have ended at once here."""
    task = task_of(shop, "UpgradeBackupClients", InstanceIds=[shop.host(), shop.host(silent=True)])
    assert (task["Description"], task["Progress"]) == ("completed", -1)


def test_a_client_beside_its_own_unreachable_instance_is_one_item(shop: Environment) -> None:
    silent = shop.host(silent=True)
    client = shop.client(silent)
    fit = shop.host_with_client()[0]
    task = task_of(shop, "UpgradeBackupClients", InstanceIds=[silent, fit], ClientIds=[client])
    assert [item["errorCode"] for item in task["Result"]] == ["HostUnreachable", ""]


@pytest.mark.parametrize("instances", [0, 50])
@pytest.mark.parametrize("action", ["UpgradeBackupClients", "RollBackClients"])
def test_where_nothing_is_known_there_is_no_task(shop: Environment, action: str, instances: int) -> None:
    """Neither an instance that can be given work nor a client that exists."""
    named = {"InstanceIds": [f"mi-{number:020d}" for number in range(instances)]} if instances else {}
    status, answer = ask(shop, action, ClientIds=[f"c-{number:020d}" for number in range(50)], **named)
    assert (status, answer["Success"], answer["Code"]) == (200, False, "NoValidInstance")
    assert "TaskId" not in answer
    assert len(answer["InstanceStatuses"]) == instances
    assert shop.tasks() == 0


def test_a_repeated_call_shows_an_unreachable_instance_as_before(shop: Environment) -> None:
    fit, abroad = shop.host_with_client()[0], shop.host(account=OTHER)
    asked = {"InstanceIds": [fit, abroad], "ClientToken": "once"}
    _, first = ask(shop, "UpgradeBackupClients", **asked)
    _, again = ask(shop, "UpgradeBackupClients", **asked)
    assert first == again
