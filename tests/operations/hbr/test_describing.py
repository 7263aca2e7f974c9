"""DescribeBackupClients, DescribeTask and DescribeRegions: exact shapes, pages, and nothing of other accounts."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import fleet, upgrades
from backfleet.fleet import Change, Failure
from backfleet.upgrades import _store as upgrades_store
from backfleet.upgrades._tables import items
from operations.environment import OTHER, REGION, Environment

HBR = "2017-09-08"


def clients(env: Environment, caller: Any = None, **parameters: Any) -> dict[str, Any]:
    status, answer = env.ask(HBR, "DescribeBackupClients", caller, ClientType="ECS_CLIENT", **parameters)
    assert status == 200, answer
    return answer


def test_a_client_is_described_in_every_field(env: Environment) -> None:
    """Types as the SDKs' models have them; times in Unix seconds."""
    env.release("2.0")
    env.release("3.0", channel="beta")
    instance, client = env.host_with_client()
    answer = clients(env)
    (found,) = answer.pop("Clients")
    assert answer == {
        "Code": "200", "Message": "successful", "Success": True, "PageNumber": 1, "PageSize": 10, "TotalCount": 1
    }  # fmt: skip
    at = int(env.now.timestamp())
    assert found == {
        "ClientId": client, "ClientType": "ECS_CLIENT", "PackageName": "courier", "ClientVersion": "1.0",
        "MaxClientVersion": "2.0",
        "OfferState": "Behind", "Channel": "stable", "VersionScheme": "pep440", "HostVersion": "0.1.0",
        "InstanceId": instance, "InstanceName": found["InstanceName"], "Hostname": "web-0",
        "OsType": "linux", "ArchType": "amd64", "PrivateIpV4": "10.0.0.1", "ZoneId": "", "Status": "ACTIVATED",
        "BackupStatus": "UNPROTECTED", "Appliance": False, "CreatedTime": at, "UpdatedTime": at,
        "LastHeartBeatTime": at, "Settings": {}, "Tags": [], "Confirmed": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "hours", "confirmed"),
    [
        pytest.param({"version": "1.1"}, 24, True, id="a day ago"),
        pytest.param({"version": "1.1"}, 26, False, id="longer ago than a checkup takes"),
        pytest.param({"version": "1.1", "unsure": True}, 1, True, id="by the report of an order"),
        pytest.param({"confirmed": True}, 1, True, id="by a checkup without news"),
        pytest.param(None, 1, False, id="never"),
    ],
)
def test_a_client_whose_host_has_not_spoken_lately_is_not_confirmed(
    env: Environment, change: dict[str, Any] | None, hours: float, confirmed: bool
) -> None:
    """With the moment since when; then an order puts it in doubt, and it is not confirmed at once."""
    _, client = env.host_with_client()
    asked_at = env.now
    if change is not None:
        with env.services.database.transaction() as tx:
            fleet.set_clients(tx, [Change(client, **change)], now=asked_at - timedelta(hours=hours))
    (found,) = clients(env)["Clients"]
    since = int((asked_at - timedelta(hours=hours)).timestamp()) if change else None
    assert (found["Confirmed"], found.get("ConfirmedTime")) == (confirmed, since)
    with env.services.database.transaction() as tx:
        fleet.set_clients(tx, [Change(client, unsure=True)], now=asked_at)
    (found,) = clients(env)["Clients"]
    assert (found["Confirmed"], found.get("ConfirmedTime")) == (False, since)
    _, older = env.ask(HBR, "DescribeClients")
    (found,) = older["Clients"]["Client"]
    message = "never confirmed by its host" if change is None else "not confirmed since 20"
    assert found["StatusMessage"].startswith(message)


def test_pages_hold_every_client_once(env: Environment) -> None:
    """In one order."""
    wanted = {env.host_with_client()[1] for _ in range(5)}
    pages = [clients(env, PageNumber=n, PageSize=2)["Clients"] for n in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert {c["ClientId"] for page in pages for c in page} == wanted


def test_ids_filter_and_unknown_ones_are_left_out(env: Environment) -> None:
    """So are those of other accounts and regions."""
    instance, client = env.host_with_client()
    other, second = env.host_with_client()
    theirs = env.host(account=OTHER)
    hidden = env.client(theirs, account=OTHER)
    assert [c["ClientId"] for c in clients(env, ClientIds=[client, hidden, "c-none"])["Clients"]] == [client]
    assert [c["ClientId"] for c in clients(env, InstanceIds=[other, theirs])["Clients"]] == [second]
    assert clients(env, ClientIds=[client], InstanceIds=[other])["TotalCount"] == 0
    assert clients(env, InstanceIds=[])["TotalCount"] == 2
    assert [c["ClientId"] for c in clients(env, env.other_account)["Clients"]] == [hidden]
    assert instance not in str(clients(env, env.other_account))


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param({}, "MissingParameter", id="no type"),
        pytest.param({"ClientType": "MOON"}, "InvalidParameter", id="no such type"),
        pytest.param({"ClientType": "ECS_CLIENT", "PageSize": 100}, "InvalidParameter", id="too large a page"),
        pytest.param({"ClientType": "ECS_CLIENT", "PageNumber": 0}, "InvalidParameter", id="no page"),
        pytest.param({"ClientType": "ECS_CLIENT", "PageSize": "ten"}, "InvalidParameter", id="no number"),
        pytest.param({"ClientType": "ECS_CLIENT", "ClientIds": ["c-1"] * 101}, "InvalidParameter", id="too many ids"),
        pytest.param({"ClientType": "ECS_CLIENT", "Tag.1.Key": "acs:x"}, "InvalidParameter", id="a forbidden tag"),
        pytest.param(
            {"ClientType": "ECS_CLIENT", "CrossAccountType": "CROSS_ACCOUNT"}, "MissingParameter", id="across accounts"
        ),
    ],
)
def test_malformed_parameters_are_refused(env: Environment, parameters: dict[str, Any], code: str) -> None:
    """With the code for what is wrong."""
    status, answer = env.ask(HBR, "DescribeBackupClients", **parameters)
    assert (status, answer["Code"]) == (400, code)


@pytest.mark.parametrize("kind", ["CONTAINER_CLIENT", "LOCAL_CLIENT"])
def test_other_types_of_client_do_not_exist_here(env: Environment, kind: str) -> None:
    """An empty list, not an error."""
    env.host_with_client()
    status, answer = env.ask(HBR, "DescribeBackupClients", ClientType=kind)
    assert (status, answer["Clients"], answer["TotalCount"]) == (200, [], 0)


# --- DescribeTask ---------------------------------------------------------------------------------------------------


def open_task(env: Environment) -> tuple[str, str]:
    """A task under way, and its client."""
    env.release("2.0")
    instance, client = env.host_with_client()
    _, answer = env.ask(HBR, "UpgradeBackupClients", InstanceIds=[instance])
    return answer["TaskId"], client


def test_an_open_task_is_described_in_every_field(env: Environment) -> None:
    """No CompletedTime until it is over."""
    task_id, client = open_task(env)
    status, found = env.ask(HBR, "DescribeTask", TaskId=task_id)
    at = int(env.now.timestamp())
    assert status == 200
    result = found.pop("Result")
    assert found == {
        "Code": "200", "Message": "successful", "Success": True, "Name": "UpgradeBackupClientsTask",
        "Description": "created", "Progress": 0, "CreatedTime": at, "UpdatedTime": at, "TaskId": task_id,
    } | ({"CompletedTime": None} if "CompletedTime" in found else {})  # fmt: skip
    assert isinstance(result, str)
    assert f'"clientId":"{client}"' in result
    assert '"clientStatus":"UPGRADING"' in result


def test_what_a_version_printed_is_in_its_item(env: Environment) -> None:
    """Exactly as it was reported, on several lines."""
    task_id, _ = open_task(env)
    with env.services.database.transaction() as tx:
        (item,) = upgrades_store.task(tx, env.root.account_id, task_id).items  # type: ignore[union-attr] # it is there
        upgrades_store.update(tx, [replace(item, evidence="Traceback\n  OSError")])
    _, found = env.ask(HBR, "DescribeTask", TaskId=task_id)
    assert json.loads(found["Result"])[0]["evidence"] == "Traceback\n  OSError"


def test_an_item_is_described_in_every_field(env: Environment) -> None:
    """Whatever text is in it; with `waitsUntil` only where it waits for its host."""
    task_id, client = open_task(env)
    odd, at = '"quoted" \\ back\\slash %s {} \t é 漢 🙂 \x7f', int(env.now.timestamp())
    with env.services.database.transaction() as tx:
        (item,) = upgrades_store.task(tx, env.root.account_id, task_id).items  # type: ignore[union-attr] # it is there
        upgrades_store.update(tx, [replace(item, evidence=odd, message=odd, code=odd, started_at=env.now)])
    _, found = env.ask(HBR, "DescribeTask", TaskId=task_id)
    wanted = {
        "instanceId": item.instance_id, "instanceName": "web-0", "clientId": client, "clientStatus": "UPGRADING",
        "errorCode": odd, "message": odd, "stage": "", "packageName": "courier", "fromVersion": "1.0",
        "toVersion": "2.0", "currentVersion": "1.0", "startedTime": at, "completedTime": None, "evidence": odd,
    }  # fmt: skip
    assert list(json.loads(found["Result"])[0].items()) == list(wanted.items())
    assert found["Result"].isascii()
    with env.services.database.transaction() as tx:
        tx.run(sa.update(items).values(waits_until=env.now + timedelta(hours=1), state="sent"))
    _, found = env.ask(HBR, "DescribeTask", TaskId=task_id)
    assert json.loads(found["Result"])[0]["waitsUntil"] == at + 3600


def test_a_client_is_described_with_what_failed_last(env: Environment) -> None:
    """Until an order succeeds."""
    _, client = env.host_with_client()
    failure = Failure("RolledBack", "why", "2.0", env.now, "printed", env.now + timedelta(hours=1))
    store(env, Change(client, failure=failure))
    (found,) = clients(env)["Clients"]
    at = int(env.now.timestamp())
    assert found["LastFailure"] == {
        "Code": "RolledBack", "Message": "why", "ClientVersion": "2.0", "Output": "printed", "Time": at,
        "QuarantinedUntil": at + 3600,
    }  # fmt: skip
    store(env, Change(client, drift="changed by hand"))
    (found,) = clients(env)["Clients"]
    assert found["LastFailure"]["Code"] == "RolledBack"
    _, server = env.ask("2026-11-01", "DescribeServer")
    assert server["ChangedClients"] == 1
    store(env, Change(client, has_succeeded=True))
    (found,) = clients(env)["Clients"]
    assert "LastFailure" not in found


def store(env: Environment, change: Change) -> None:
    with env.services.database.transaction() as tx:
        fleet.set_clients(tx, [change], now=env.now)


def test_task_ids_cannot_be_guessed(env: Environment) -> None:
    """`t-` and at least 16 characters."""
    task_id, _ = open_task(env)
    assert task_id.startswith("t-")
    assert len(task_id) >= 18


def test_a_task_past_its_deadline_is_shown_as_expired_before_any_worker_notes_it(env: Environment) -> None:
    """To the second: fifteen minutes after it was made."""
    task_id, _ = open_task(env)
    env.now += timedelta(seconds=899)
    assert env.ask(HBR, "DescribeTask", TaskId=task_id)[1]["Description"] == "created"
    env.now += timedelta(seconds=1)
    _, found = env.ask(HBR, "DescribeTask", TaskId=task_id)
    assert (found["Description"], found["Progress"]) == ("expired", -1)
    assert found["CompletedTime"] == found["CreatedTime"] + 900
    assert '"errorCode":"TaskExpired"' in found["Result"]


def test_a_cancelled_task_is_shown_as_cancelled(env: Environment) -> None:
    """With each item's code."""
    task_id, _ = open_task(env)
    with env.services.database.transaction() as tx:
        assert upgrades.cancel(tx, env.root.account_id, task_id, now=env.now)
    _, found = env.ask(HBR, "DescribeTask", TaskId=task_id)
    assert (found["Description"], found["Progress"]) == ("cancelled", -1)
    assert '"errorCode":"TaskCancelled"' in found["Result"]


def test_another_accounts_task_is_not_found(env: Environment) -> None:
    """The answer is that for a task that does not exist."""
    task_id, _ = open_task(env)
    theirs = env.ask(HBR, "DescribeTask", env.other_account, TaskId=task_id)
    never = env.ask(HBR, "DescribeTask", TaskId="t-" + "0" * 20)
    assert theirs == never
    assert (theirs[0], theirs[1]["Code"], theirs[1]["Message"]) == (
        404,
        "TaskNotFound",
        "The specified task doesn't exist.",
    )


def test_a_task_must_be_named(env: Environment) -> None:
    """The public page marks TaskId optional, but nothing works without it."""
    assert env.ask(HBR, "DescribeTask")[1]["Code"] == "MissingParameter"


def test_the_only_region_is_this_installations(env: Environment) -> None:
    """In a wrapped list, as in the cloud."""
    _, found = env.ask(HBR, "DescribeRegions")
    assert found["Regions"] == {"Region": [{"RegionId": REGION, "LocalName": REGION}]}
