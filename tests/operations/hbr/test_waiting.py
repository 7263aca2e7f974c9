"""ExpiresInSeconds: hosts that are away are waited for where the caller says so, and only there."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backfleet import fleet, identity, operations, upgrades
from backfleet.carriers import through_gateway
from backfleet.operations.catalogue import BACKFLEET, HBR
from operations.environment import OTHER, REGION, Environment

WEEK = 7 * 86400


def ask(env: Environment, action: str = "UpgradeBackupClients", caller: Any = None, **fields: Any) -> dict[str, Any]:
    product = HBR if action.endswith("BackupClients") else BACKFLEET
    status, body = env.ask(product.version, action, caller, **{"ExpiresInSeconds": str(WEEK), **fields})
    return {**body, "Status": status}


def items(env: Environment, task_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(env.ask(HBR.version, "DescribeTask", TaskId=task_id)[1]["Result"])
    return found


def away(env: Environment) -> tuple[str, str]:
    """A host that is silent, with a client."""
    env.release("2.0")
    host = env.host(silent=True)
    return host, env.client(host)


@pytest.mark.parametrize(
    "action",
    [
        "UpgradeBackupClients", "InstallBackupClients", "UninstallBackupClients", "PrecheckClients", "StageClients",
        "RollBackClients",
    ],
)  # fmt: skip
def test_a_host_that_is_away_is_valid_and_waited_for(env: Environment, action: str) -> None:
    """The item says what it waits for and until when; its client is as it was. Without the parameter it is refused."""
    host, client = away(env)
    assert ask(env, action, InstanceIds=[host], ExpiresInSeconds="")["Code"] == "CloudAssistNotRunningOnInstance"
    body = ask(env, action, InstanceIds=[host])
    assert (body["Status"], body["InstanceStatuses"]) == (
        200,
        [{"InstanceId": host, "ValidInstance": True, "ErrorCode": ""}],
    )
    (item,) = items(env, body["TaskId"])
    assert (item["errorCode"], item["clientId"], item["clientStatus"]) == ("", client, "ACTIVATED")
    assert item["waitsUntil"] == int(env.now.timestamp()) + WEEK
    since, end = (f"{env.now + delta:%Y-%m-%dT%H:%M:%SZ}" for delta in (timedelta(days=-1), timedelta(seconds=WEEK)))
    assert item["message"] == f"waiting: offline since {since}, until {end} at the latest"
    with env.services.database.reading() as tx:
        assert fleet.clients_on(tx, host)[0].status is fleet.ClientStatus.ACTIVATED


def test_without_the_parameter_the_wire_is_as_it_was(env: Environment) -> None:
    host, client = away(env)
    env.heartbeat(host)
    (item,) = items(env, ask(env, ClientIds=[client], ExpiresInSeconds="")["TaskId"])
    assert "waitsUntil" not in item
    assert item["clientStatus"] == "UPGRADING"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"InstanceIds": ["mi-unknown"]}, "InstanceNotExists"),
        ({"ClientIds": ["c-unknown"]}, "ResourceNotFound"),
        ({"ExpiresInSeconds": "59"}, "InvalidParameter"),
        ({"ExpiresInSeconds": "2592001"}, "InvalidParameter"),
        (
            {"CrossAccountType": "CROSS_ACCOUNT", "CrossAccountUserId": OTHER, "CrossAccountRoleName": "cross"},
            "InvalidParameter",
        ),
    ],
)
def test_what_cannot_be_waited_for_is_refused(env: Environment, fields: dict[str, Any], code: str) -> None:
    """Nothing is stored."""
    host, _ = away(env)
    named = {} if {"InstanceIds", "ClientIds"} & fields.keys() else {"InstanceIds": [host]}
    body = ask(env, **named, **fields)
    assert (body["Status"] >= 400, body["Code"]) == (True, code)
    assert env.tasks() == 0


def test_a_caller_is_judged_again_when_the_order_leaves(env: Environment) -> None:
    """As who they were, by the policies of that moment; the secret of nobody is stored."""
    host, client = away(env)
    bob = env.user_with("bob", {"Effect": "Allow", "Action": "hbr:*", "Resource": "*"})
    task = ask(env, caller=bob, ClientIds=[client])["TaskId"]
    with env.services.database.transaction() as tx:
        identity.detach_policy(tx, env.root.account_id, "bob", "bob-policy", "Custom")
    env.now += timedelta(days=1)
    env.heartbeat(host)
    rules = upgrades.Rules(still_may=operations.still_may(REGION))
    services = env.services
    upgrades.run_once(services.database, now=env.now, draw=services.draw, carrier=through_gateway(), rules=rules)
    (item,) = items(env, task)
    assert (item["errorCode"], "user/bob" in item["message"]) == ("NoPermission", True), item
    assert item["clientStatus"] == "ACTIVATED"


def test_the_same_call_again_gets_the_same_task_and_a_later_one_takes_its_place(env: Environment) -> None:
    """By ClientToken; the time to wait is one of its parameters."""
    _, client = away(env)
    first = ask(env, ClientIds=[client], ClientToken="once")["TaskId"]
    assert ask(env, ClientIds=[client], ClientToken="once")["TaskId"] == first
    other = ask(env, ClientIds=[client], ClientToken="once", ExpiresInSeconds="3600")
    assert other["Code"] == "IdempotentParameterMismatch"
    later = ask(env, ClientIds=[client])["TaskId"]
    (item,) = items(env, first)
    assert (item["errorCode"], later in item["message"]) == ("Superseded", True)
