"""UpgradeBackupClients, as docs/api.md describes it, row by row."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from backfleet import fleet, upgrades
from backfleet.fleet import ClientStatus
from backfleet.operations.hbr.lifecycle import MOST_UPGRADES
from operations.environment import OTHER, REGION, Environment

HBR = "2017-09-08"


def upgrade(env: Environment, **parameters: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(HBR, "UpgradeBackupClients", **parameters)


def started(env: Environment, **parameters: Any) -> dict[str, Any]:
    """The answer of a call that started a task."""
    status, answer = upgrade(env, **parameters)
    assert (status, answer["Code"], answer["Message"], answer["Success"]) == (200, "200", "successful", True), answer
    return answer


def items(env: Environment, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What DescribeTask shows of each client."""
    status, task = env.ask(HBR, "DescribeTask", TaskId=answer["TaskId"])
    assert status == 200
    found: list[dict[str, Any]] = json.loads(task["Result"])
    return found


def codes(env: Environment, answer: dict[str, Any]) -> list[str]:
    return [item["errorCode"] for item in items(env, answer)]


def refused(env: Environment, **parameters: Any) -> tuple[int, str, str]:
    """Status, code and message of a refusal, which starts nothing."""
    status, answer = upgrade(env, **parameters)
    assert env.tasks() == 0
    return status, answer["Code"], answer["Message"]


# --- Which ids, in which list ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "swapped", [False, True], ids=["as the parameters are named", "as in the public page's examples"]
)
def test_the_prefix_decides_what_an_id_names(env: Environment, swapped: bool) -> None:
    """In whichever list it comes: instances have mi-, clients c-."""
    env.release("2.0")
    (first, _), (_, second) = env.host_with_client(), env.host_with_client()
    lists = ([second], [first]) if swapped else ([first], [second])
    answer = started(env, InstanceIds=lists[0], ClientIds=lists[1])
    assert answer["InstanceStatuses"] == [{"InstanceId": first, "ValidInstance": True, "ErrorCode": ""}]
    assert [item["toVersion"] for item in items(env, answer)] == ["2.0", "2.0"]


@pytest.mark.parametrize(
    ("parameters", "code", "text"),
    [
        pytest.param({}, "MissingParameter", "InstanceIds or ClientIds", id="no list"),
        pytest.param({"InstanceIds": []}, "MissingParameter", "InstanceIds or ClientIds", id="an empty list"),
        pytest.param({"InstanceIds": ["x-1"]}, "InvalidParameter", "'x-1' names neither", id="another prefix"),
        pytest.param({"InstanceIds": "null"}, "InvalidParameter", "must be a JSON array", id="null"),
        pytest.param({"InstanceIds": '"i-1"'}, "InvalidParameter", "is a string; it must be", id="a string"),
        pytest.param({"InstanceIds": "[1]"}, "InvalidParameter", "has a number in it", id="numbers"),
        pytest.param({"InstanceIds": '[["i-1"]]'}, "InvalidParameter", "in it; it must be", id="nested"),
        pytest.param({"InstanceIds": "i-1"}, "InvalidParameter", "JSON", id="no JSON"),
        pytest.param({"ClientIds": ["c-" + "x" * 80]}, "InvalidParameter", "ClientIds", id="too long"),
    ],
)
def test_the_error_of_a_malformed_list_says_what_was_found(
    env: Environment, parameters: Any, code: str, text: str
) -> None:
    """And what a list must look like."""
    status, found, message = refused(env, **parameters)
    assert (status, found) == (400, code)
    assert text in message


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda ids: {"InstanceIds": json.dumps(ids)}, id="JSON array"),
        pytest.param(lambda ids: {"InstanceIds": json.dumps(dict(enumerate(ids)))}, id="JSON object"),
        pytest.param(lambda ids: {f"InstanceIds.{n}": id_ for n, id_ in enumerate(ids, 1)}, id="repeated"),
    ],
)
def test_every_wire_form_of_a_list_is_accepted(env: Environment, form: Any) -> None:
    """In the order of the request."""
    env.release("2.0")
    ids = [env.host_with_client()[0] for _ in range(2)]
    assert [line["InstanceId"] for line in started(env, **form(ids))["InstanceStatuses"]] == ids


def test_a_hundred_ids_are_accepted_and_one_more_is_not(env: Environment) -> None:
    """Counted as sent over both lists, before duplicates are dropped."""
    instance, client = env.host_with_client()
    env.release("2.0")
    status, code, message = refused(env, InstanceIds=[instance] * MOST_UPGRADES, ClientIds=[client])
    assert (status, code) == (400, "InvalidParameter")
    assert "101" in message
    assert "100" in message
    assert len(items(env, started(env, InstanceIds=[instance] * 99, ClientIds=[client]))) == 1


def test_a_client_beside_its_own_instance_is_one_target(env: Environment) -> None:
    """Whichever comes first."""
    env.release("2.0")
    instance, client = env.host_with_client()
    (item,) = items(env, started(env, ClientIds=[client, client], InstanceIds=[instance]))
    assert (item["clientId"], item["instanceId"]) == (client, instance)


def test_an_item_says_what_people_call_its_host(env: Environment) -> None:
    """Its name, or else its hostname; also after the host has left."""
    env.release("2.0")
    named, nameless = env.host(name="db-berlin"), env.host()
    answer = started(env, ClientIds=[env.client(named), env.client(nameless)])
    hostname = f"web-{next(env.numbers) - 1}"
    assert {item["instanceId"]: item["instanceName"] for item in items(env, answer)} == {
        named: "db-berlin", nameless: hostname
    }  # fmt: skip
    env.ask("2014-05-26", "DeregisterManagedInstance", RegionId=REGION, InstanceId=named)
    assert "db-berlin" in {item["instanceName"] for item in items(env, answer)}


def test_an_instances_id_means_all_of_its_clients(env: Environment) -> None:
    """A host may have several; a client's id means one of them."""
    env.release("2.0")
    env.release("7.0", package="keeper")
    instance, first = env.host_with_client()
    second = env.client(instance, "6.0", package="keeper")
    both = items(env, started(env, InstanceIds=[instance]))
    assert {(item["clientId"], item["packageName"], item["toVersion"]) for item in both} == {
        (first, "courier", "2.0"),
        (second, "keeper", "7.0"),
    }


# --- Reachable or not ------------------------------------------------------------------------------------------------

UNREACHABLE = [
    pytest.param("absent", "InstanceNotExists", id="unknown"),
    pytest.param("elsewhere", "InstanceNotExists", id="of another account"),
    pytest.param("abroad", "InstanceNotExists", id="in another region"),
    pytest.param("stopped", "InstanceNotRunning", id="stopped"),
    pytest.param("silent", "CloudAssistNotRunningOnInstance", id="silent"),
]


def unreachable(env: Environment, why: str) -> str:
    """An instance that cannot be given work."""
    if why == "absent":
        return "mi-" + "0" * 20
    how: dict[str, Any] = {
        "elsewhere": {"account": OTHER}, "abroad": {"region": "cn-shanghai"}, "stopped": {"stopped": True},
        "silent": {"silent": True},
    }[why]  # fmt: skip
    return env.host(**how)


@pytest.mark.parametrize(("why", "code"), UNREACHABLE)
def test_one_unreachable_instance_alone_is_an_error_of_the_call(env: Environment, why: str, code: str) -> None:
    """HTTP 400 and no task."""
    instance = unreachable(env, why)
    status, found, message = refused(env, InstanceIds=[instance])
    assert (status, found) == (400, code)
    assert instance in message


@pytest.mark.parametrize(("why", "code"), UNREACHABLE)
def test_among_reachable_instances_it_is_a_line_and_an_item_that_has_ended(
    env: Environment, why: str, code: str
) -> None:
    """ValidInstance is false exactly when ErrorCode is not empty. The task's progress cannot hide the item."""
    env.release("2.0")
    good, bad = env.host_with_client()[0], unreachable(env, why)
    answer = started(env, InstanceIds=[bad, good])
    assert answer["InstanceStatuses"] == [
        {"InstanceId": bad, "ValidInstance": False, "ErrorCode": code},
        {"InstanceId": good, "ValidInstance": True, "ErrorCode": ""},
    ]
    first, second = items(env, answer)
    assert (first["instanceId"], first["clientId"], first["errorCode"]) == (bad, "", code)
    assert bad in first["message"]
    assert first["completedTime"] == int(env.now.timestamp())
    assert (second["instanceId"], second["errorCode"]) == (good, "")


@pytest.mark.parametrize("dials_in", [None, 880, 1500], ids=["not known", "too late", "after the task"])
def test_an_agent_without_a_connection_is_not_running(env: Environment, dials_in: float | None) -> None:
    """Its heartbeats say only that the machine lives. Every operation says the same of it."""
    env.release("2.0")
    deaf = env.deaf_host(dials_in=dials_in)
    env.client(deaf)
    assert refused(env, InstanceIds=[deaf])[:2] == (400, "CloudAssistNotRunningOnInstance")
    ecs = {"RegionId": REGION}
    _, managed = env.ask("2014-05-26", "DescribeManagedInstances", **ecs)
    _, not_connected = env.ask("2014-05-26", "DescribeManagedInstances", Connected="false", **ecs)
    _, agents = env.ask("2014-05-26", "DescribeCloudAssistantStatus", **ecs)
    _, server = env.ask("2026-11-01", "DescribeServer")
    assert [instance["Connected"] for instance in managed["Instances"]] == [False]
    assert [instance["InstanceId"] for instance in not_connected["Instances"]] == [deaf]
    (agent,) = agents["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"]
    assert agent["CloudAssistantStatus"] == "false"
    assert agent["LastHeartbeatTime"] == "2026-01-02T03:04:05Z"
    assert server["ConnectedInstances"] == 0


def test_an_agent_that_will_connect_while_the_task_has_time_is_waited_for(env: Environment) -> None:
    """The line and the item say when; the order goes out when it connects."""
    env.release("2.0")
    deaf = env.deaf_host(dials_in=600)
    env.client(deaf)
    answer = started(env, InstanceIds=[deaf])
    at = int(env.now.timestamp()) + 600
    assert answer["InstanceStatuses"] == [
        {"InstanceId": deaf, "ValidInstance": True, "ErrorCode": "", "ConnectsTime": at}
    ]
    (item,) = items(env, answer)
    assert (item["clientStatus"], item["errorCode"]) == ("UPGRADING", "")
    assert "connects again by itself at 2026-01-02T03:14:05Z" in item["message"]
    _, shown = env.ask("2026-11-01", "DescribeInstance", InstanceId=deaf)
    assert shown["ConnectsTime"] == at


def test_without_a_reachable_instance_there_is_no_task(env: Environment) -> None:
    """Success is false, the HTTP status is 200, and the list says why for each."""
    bad = [unreachable(env, "stopped"), unreachable(env, "silent")]
    status, answer = upgrade(env, InstanceIds=bad)
    assert (status, answer["Code"], answer["Success"]) == (200, "NoValidInstance", False)
    assert "TaskId" not in answer
    assert [line["ErrorCode"] for line in answer["InstanceStatuses"]] == [
        "InstanceNotRunning",
        "CloudAssistNotRunningOnInstance",
    ]
    assert env.tasks() == 0


def test_a_client_on_an_unreachable_instance_is_refused(env: Environment) -> None:
    """Alone the call is refused; among others its item ends at once."""
    env.release("2.0")
    silent = env.host(silent=True)
    client = env.client(silent)
    assert refused(env, ClientIds=[client])[:2] == (400, "CloudAssistNotRunningOnInstance")
    other = env.host_with_client()[1]
    answer = started(env, ClientIds=[client, other])
    assert answer["InstanceStatuses"] == []
    assert codes(env, answer) == ["HostUnreachable", ""]


@pytest.mark.parametrize("of_other_account", [False, True], ids=["unknown", "of another account"])
def test_an_unknown_client_is_refused(env: Environment, of_other_account: bool) -> None:
    """Alone with 404; among others its item ends with ClientNotExists, and does not show whose it is."""
    client = "c-" + "0" * 20
    if of_other_account:
        client = env.client(env.host(account=OTHER), account=OTHER)
    assert refused(env, ClientIds=[client])[:2] == (404, "ResourceNotFound")
    env.release("2.0")
    answer = started(env, ClientIds=[client, env.host_with_client()[1]])
    first, second = items(env, answer)
    assert (first["errorCode"], first["instanceId"], first["packageName"]) == ("ClientNotExists", "", "")
    assert second["errorCode"] == ""


def test_an_instance_without_a_client_is_valid_and_its_item_is_refused(env: Environment) -> None:
    """ValidInstance is about Cloud Assistant."""
    answer = started(env, InstanceIds=[env.host()])
    assert [line["ValidInstance"] for line in answer["InstanceStatuses"]] == [True]
    assert codes(env, answer) == ["ClientNotInstalled"]


def test_another_agent_without_a_host_program_is_refused(env: Environment) -> None:
    """Its item ends at once, and nothing is sent to the host."""
    env.release("2.0")
    instance = env.host(agent="2.2.3.1000", platform="windows-amd64")
    env.client(instance)
    assert codes(env, started(env, InstanceIds=[instance])) == ["UnsupportedPlatform"]


# --- Which version --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "client", "to", "code"),
    [
        pytest.param([("1.5", {}), ("2.0", {})], {}, "2.0", "", id="the newest release"),
        pytest.param([("2.0", {}), ("3.0", {"withdrawn": True})], {}, "2.0", "", id="not a withdrawn release"),
        pytest.param([("2.0", {}), ("3.0", {"channel": "beta"})], {}, "2.0", "", id="not from another channel"),
        pytest.param(
            [("2.0", {}), ("3.0", {"channel": "beta"})], {"channel": "beta"}, "3.0", "", id="from its own channel"
        ),
        pytest.param([("2.0", {}), ("3.0", {"platform": "linux-arm64"})], {}, "2.0", "", id="for its platform"),
        pytest.param([("1.9", {}), ("2.0", {})], {"pin": "<2"}, "1.9", "", id="within its pin"),
        pytest.param([("2.0", {})], {"pin": "<2"}, "", "Pinned", id="nothing within its pin"),
        pytest.param([], {}, "", "NoRelease", id="nothing at all"),
        pytest.param([("0.9", {})], {}, "1.0", "", id="never a downgrade"),
        pytest.param([("1.0", {})], {}, "1.0", "", id="current already"),
        pytest.param(
            [("1.5", {}), ("2.0", {"upgrades_from": ">=1.5"})], {}, "2.0", "", id="over an intermediate version"
        ),
        pytest.param(
            [("2.0", {"upgrades_from": ">=1.5"})], {}, "", "NotAllowedFrom", id="a missing intermediate version"
        ),
    ],
)
def test_which_version_a_client_moves_to(
    env: Environment, offered: list[tuple[str, dict[str, Any]]], client: dict[str, Any], to: str, code: str
) -> None:
    """Decided once, when the task is started."""
    for version, options in offered:
        env.release(version, **options)
    instance, _ = env.host_with_client(**client)
    (item,) = items(env, started(env, InstanceIds=[instance]))
    assert (item["fromVersion"], item["toVersion"], item["errorCode"]) == ("1.0", to, code)


def test_a_client_with_drift_is_repaired(env: Environment) -> None:
    """It has the newest version, but not all of it: it gets that version again."""
    env.release("1.0")
    instance, client = env.host_with_client("1.0")
    with env.services.database.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(client, drift="its program was changed")], now=env.now)
    (item,) = items(env, started(env, InstanceIds=[instance]))
    assert (item["toVersion"], item["errorCode"]) == ("1.0", "")
    assert item["clientStatus"] == "UPGRADING"


def test_only_the_host_says_that_a_client_is_current(env: Environment) -> None:
    """The task waits for its answer: the machine may have been reverted to a snapshot since its last report."""
    env.release("1.0")
    instance, _ = env.host_with_client()
    answer = started(env, InstanceIds=[instance])
    _, task = env.ask(HBR, "DescribeTask", TaskId=answer["TaskId"])
    assert (task["Description"], task["Progress"]) == ("created", 0)
    assert items(env, answer)[0]["clientStatus"] == "UPGRADING"


@pytest.mark.parametrize("options", [{}, {"TryAgain": "true"}], ids=["without TryAgain", "with TryAgain"])
@pytest.mark.parametrize("action", ["UpgradeBackupClients", "InstallBackupClients"])
def test_f15_a_quarantined_version_is_tried_again_on_request(
    env: Environment, action: str, options: dict[str, str]
) -> None:
    """TryAgain is our own parameter; the host gets it with its order."""
    env.release("2.0")
    instance = env.host() if action.startswith("Install") else env.host_with_client()[0]
    status, answer = env.ask(HBR, action, InstanceIds=json.dumps([instance]), **options)
    assert status == 200, answer
    with env.services.database.reading() as tx:
        task = upgrades.read(tx, env.root.account_id, answer["TaskId"], now=env.now)
    assert task is not None
    assert task.items[0].order().tries_again is bool(options)


# --- Again ----------------------------------------------------------------------------------------------------------


def test_a_client_that_is_being_upgraded_is_left_to_that_task(env: Environment) -> None:
    """Its item names that task, which goes on undisturbed."""
    env.release("2.0")
    instance, client = env.host_with_client()
    first = started(env, InstanceIds=[instance])
    second = started(env, ClientIds=[client])
    (item,) = items(env, second)
    assert item["errorCode"] == "UpgradeInProgress"
    assert first["TaskId"] in item["message"]
    assert codes(env, first) == [""]
    _, found = env.ask(HBR, "DescribeBackupClients", ClientType="ECS_CLIENT")
    assert [c["Status"] for c in found["Clients"]] == [ClientStatus.UPGRADING]


def test_the_same_token_gives_the_same_task(env: Environment) -> None:
    """Even if the instance has gone silent since: it was valid, and is part of the task."""
    env.release("2.0")
    instance, _ = env.host_with_client()
    first = started(env, InstanceIds=[instance], ClientToken="once")
    env.now += timedelta(hours=23)
    again = started(env, InstanceIds=[instance], ClientToken="once")
    assert (again["TaskId"], again["InstanceStatuses"]) == (first["TaskId"], first["InstanceStatuses"])
    assert env.tasks() == 1


def test_the_same_token_with_other_parameters_is_refused(env: Environment) -> None:
    """Other ids, or another operation. What it started goes on."""
    env.release("2.0")
    instance, client = env.host_with_client()
    started(env, InstanceIds=[instance], ClientToken="once")
    for status, answer in (
        upgrade(env, InstanceIds=[instance], ClientIds=[client], ClientToken="once"),
        env.ask(HBR, "UninstallBackupClients", InstanceIds=[instance], ClientToken="once"),
    ):
        assert (status, answer["Code"]) == (400, "IdempotentParameterMismatch")
    assert env.tasks() == 1


def test_a_token_is_forgotten_after_a_day(env: Environment) -> None:
    """Each account has its own tokens."""
    env.release("2.0")
    instance, _ = env.host_with_client()
    first = started(env, InstanceIds=[instance], ClientToken="once")
    env.now += timedelta(hours=24, seconds=1)
    env.heartbeat(instance)
    assert started(env, InstanceIds=[instance], ClientToken="once")["TaskId"] != first["TaskId"]
    status, answer = env.ask(HBR, "UpgradeBackupClients", env.other_account, InstanceIds=[instance], ClientToken="once")
    assert (status, answer["Code"]) == (400, "InstanceNotExists")


def test_a_token_that_is_too_long_is_refused(env: Environment) -> None:
    """More than 64 characters."""
    status, code, message = refused(env, InstanceIds=["mi-1"], ClientToken="x" * 65)
    assert (status, code) == (400, "InvalidParameter")
    assert "ClientToken" in message


# --- Which account -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        pytest.param({"CrossAccountType": "CROSS_ACCOUNT"}, 400, "MissingParameter", id="without a user"),
        pytest.param(
            {"CrossAccountType": "CROSS_ACCOUNT", "CrossAccountUserId": "1"},
            400, "MissingParameter", id="without a role",
        ),
        pytest.param(
            {"CrossAccountType": "CROSS_ACCOUNT", "CrossAccountUserId": "1", "CrossAccountRoleName": "r"},
            403, "AssumeRoleFail", id="no such account",
        ),
        pytest.param({"CrossAccountUserId": "1"}, 400, "InvalidParameter", id="a user without the type"),
        pytest.param({"CrossAccountRoleName": "r"}, 400, "InvalidParameter", id="a role without the type"),
        pytest.param(
            {"CrossAccountType": "SELF_ACCOUNT", "CrossAccountUserId": "1"},
            400, "InvalidParameter", id="a user with self",
        ),
        pytest.param({"CrossAccountType": "OTHER"}, 400, "InvalidParameter", id="another type"),
        pytest.param(
            {"CrossAccountType": "CROSS_ACCOUNT", "CrossAccountUserId": "me", "CrossAccountRoleName": "r"},
            400, "InvalidParameter", id="a user that is no number",
        ),
    ],
)  # fmt: skip
def test_cross_account_parameters_that_do_not_fit_together_are_refused(
    env: Environment, parameters: dict[str, str], status: int, code: str
) -> None:
    """Before anything is read."""
    assert refused(env, InstanceIds=["mi-1"], **parameters)[:2] == (status, code)


def test_self_account_means_the_callers_own(env: Environment) -> None:
    """As without the parameter."""
    env.release("2.0")
    instance, _ = env.host_with_client()
    assert started(env, InstanceIds=[instance], CrossAccountType="SELF_ACCOUNT")["TaskId"].startswith("t-")


def test_a_caller_without_permission_is_refused_and_starts_nothing(env: Environment) -> None:
    """Before the ids are resolved."""
    status, answer = env.ask(HBR, "UpgradeBackupClients", env.user("nobody"), InstanceIds=["mi-1"])
    assert (status, answer["Code"]) == (403, "NoPermission")
    assert env.tasks() == 0


def test_a_race_for_one_client_is_decided_within_the_call(env: Environment) -> None:
    """Two calls at once: one task gets the client, the other one says so."""
    env.release("2.0")
    instance, _ = env.host_with_client()
    found: list[dict[str, Any]] = []
    both = [threading.Thread(target=lambda: found.append(started(env, InstanceIds=[instance]))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(codes(env, found[0]) + codes(env, found[1])) == ["", "UpgradeInProgress"]
