"""Accounts of AWS, as callers store them: on each engine, without a network."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import Environment, make_environment

VERSION = "2026-11-01"
KEY = {"KeyId": "AKIA1", "KeySecret": "hush-hush"}
WHERE = {"AccountName": "aws", "CloudRegionId": "eu-central-1"}
ROLE = "arn:aws:iam::123456789012:role/upgrades"


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn."""
    return make_environment(database, tmp_path, now, draw)


def created(env: Environment, **given: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(VERSION, "CreateSsmAccount", **{"Name": "aws", **KEY, **given})


def test_accounts_of_two_clouds_are_kept_apart(env: Environment) -> None:
    """And their secrets are shown to nobody."""
    status, shown = created(env, RoleArn=ROLE, ExternalId="external-hush")
    assert (status, shown["KeyId"], shown["RoleArn"]) == (200, "AKIA1", ROLE)
    env.ask(VERSION, "CreateEcsAccount", **{"Name": "cloud", **KEY})
    for action, names in (("ListSsmAccounts", ["aws"]), ("ListEcsAccounts", ["cloud"])):
        listed = env.ask(VERSION, action)[1]
        assert [each["Name"] for each in listed["Accounts"]] == names
        assert "hush" not in str(listed)
    assert env.ask(VERSION, "DeleteEcsAccount", Name="aws")[1]["Code"] == "EcsAccountNotFound"
    assert env.ask(VERSION, "DeleteSsmAccount", Name="cloud")[1]["Code"] == "SsmAccountNotFound"
    assert env.ask(VERSION, "ImportSsmInstances", **{**WHERE, "AccountName": "cloud"})[1]["Code"] == (
        "SsmAccountNotFound"
    )
    assert created(env, Name="cloud")[1]["Code"] == "EntityAlreadyExists.SsmAccount"
    assert env.ask(VERSION, "DeleteSsmAccount", Name="aws")[0] == 200


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"KeySecret": ""}, "MissingParameter"),
        ({"CredentialSource": "profile", "KeyId": "", "KeySecret": ""}, "MissingParameter"),
        ({"RoleArn": "arn:aws:iam::123456789012:user/bob"}, "InvalidParameter"),
        ({"RoleArn": "acs:ram::1234:role/upgrades"}, "InvalidParameter"),
        ({"Endpoint": "https://ssm.example.com/"}, "InvalidParameter"),
        ({"Authority": "no certificate"}, "InvalidParameter"),
    ],
)
def test_an_account_that_cannot_be_used_is_refused(env: Environment, given: dict[str, Any], code: str) -> None:
    status, body = created(env, **given)
    assert (status, body["Code"].split(".")[0]) == (400, code)
    assert "hush" not in body["Message"]


def test_what_is_wrong_is_said_at_the_import(env: Environment) -> None:
    """Where the server may not go, whose credentials it may not use, and that nobody answers."""
    created(env, Endpoint="127.0.0.1:9")
    assert "`ssm_allowed`" in env.ask(VERSION, "ImportSsmInstances", **WHERE)[1]["Message"]
    env.services = replace(env.services, settings=replace(env.services.settings, ssm_allowed="127.0.0.1/32"))
    body = env.ask(VERSION, "ImportSsmInstances", **WHERE)[1]
    assert body["Message"].startswith("SsmUnreachable: ssm:DescribeInstanceInformation had no answer"), body
    created(env, Name="own", CredentialSource="chain", KeyId="", KeySecret="")
    refused = env.ask(VERSION, "ImportSsmInstances", **{**WHERE, "AccountName": "own"})[1]["Message"]
    assert "ssm_own_credentials_for" in refused
    assert env.ask(VERSION, "ListSsmImports")[1]["Imports"] == []
    assert env.ask(VERSION, "DeleteSsmImport", ImportId="ei-1")[1]["Code"] == "SsmImportNotFound"
