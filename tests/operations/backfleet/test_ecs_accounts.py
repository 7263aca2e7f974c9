"""Cloud accounts, as callers store them: on each engine, without a network."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alibabacloud_credentials.utils import auth_constant

from backfleet.carriers import Bootstrap, ecs
from backfleet.carriers.bootstrap import command_for
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs._tables import ecs_accounts
from backfleet.ids import Draw
from backfleet.storage import Database
from backfleet_host.contract import Order
from operations.environment import Environment, make_environment

VERSION = "2026-11-01"
KEY = {"KeyId": "LTAI1", "KeySecret": "hush-hush"}
WHERE = {"AccountName": "cloud", "CloudRegionId": "cn-beijing"}


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn."""
    return make_environment(database, tmp_path, now, draw)


COPY = "https://bucket.example/prefix"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def created(env: Environment, **given: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(VERSION, "CreateEcsAccount", **{"Name": "cloud", **KEY, **given})


def test_secrets_are_sealed_and_shown_to_nobody(env: Environment) -> None:
    status, shown = created(env, ExternalId="external-hush", RoleArn="acs:ram::1234:role/upgrades")
    assert (status, shown["KeyId"], shown["RoleArn"]) == (200, "LTAI1", "acs:ram::1234:role/upgrades")
    assert "hush" not in str(env.ask(VERSION, "ListEcsAccounts"))
    with env.services.database.reading() as tx:
        stored = str([row._mapping for row in tx.rows(sa.select(ecs_accounts))])
    assert "hush" not in stored
    assert created(env)[1]["Code"] == "EntityAlreadyExists.EcsAccount"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"KeyId": ""}, "MissingParameter"),
        ({"KeySecret": ""}, "MissingParameter"),
        ({"CredentialSource": "profile"}, "InvalidParameter"),
        ({"CredentialSource": "profile", "KeyId": "", "KeySecret": ""}, "MissingParameter"),
        ({"CredentialSource": "guess"}, "InvalidParameter"),
        ({"RoleArn": "acs:ram::1:user/bob"}, "InvalidParameter"),
        ({"Endpoint": "https://ecs.example.com/"}, "InvalidParameter"),
        ({"Endpoint": "user@evil"}, "InvalidParameter"),
        ({"Authority": "no certificate"}, "InvalidParameter"),
        ({"Name": "../x"}, "InvalidParameter"),
        ({"DownloadsUrl": "bucket.example"}, "InvalidParameter"),
        ({"DownloadsUrl": "https://user:secret@bucket.example/"}, "InvalidParameter"),
        ({"DownloadsUrl": "https://bucket.example/prefix?token=hush"}, "InvalidParameter"),
        ({"DownloadsUrl": "https://bucket.example/../other"}, "InvalidParameter"),
        ({"DownloadsUrl": "https://bucket.example/'; reboot; '"}, "InvalidParameter"),
        ({"DownloadsUrl": "https://bucket.example", "DownloadsAuthority": "none"}, "InvalidParameter"),
        ({"DownloadsUrl": "http://bucket.example", "DownloadsAuthority": PEM}, "InvalidParameter"),
        ({"DownloadsAuthority": PEM}, "InvalidParameter"),
    ],
)
def test_an_account_that_cannot_be_used_is_refused(env: Environment, given: dict[str, Any], code: str) -> None:
    status, body = created(env, **given)
    assert (status, body["Code"].split(".")[0]) == (400, code)
    assert "hush" not in body["Message"]
    assert env.ask(VERSION, "ListEcsAccounts")[1]["Accounts"] == []


def test_orders_for_its_instances_name_the_copy_of_the_downloads(env: Environment) -> None:
    """With the newest release root and the authority; those of other cloud accounts do not."""
    assert (
        created(env, DownloadsUrl="https://bucket.example/prefix/", DownloadsAuthority=PEM)[1]["DownloadsUrl"] == COPY
    )
    env.ask(VERSION, "CreateEcsAccount", **{"Name": "plain", **KEY})
    with env.services.database.transaction() as tx:
        for name, instance_id in (("cloud", "i-1"), ("plain", "i-2")):
            _store.add_host(tx, ecs.EcsHost(instance_id, env.root.account_id, name, "cn-beijing", instance_id))
        way = ecs.Ecs(Bootstrap("server:8443", "OURS", "0" * 64), lambda tx: b'{"signed": 1}')
        found = way.bootstraps(tx, ["i-1", "i-2", "i-3"])
    assert (found["i-1"].mirror, found["i-1"].mirror_authority, found["i-1"].address) == (COPY, PEM, "server:8443")
    assert [found[each].mirror for each in ("i-2", "i-3")] == ["", ""]
    content = command_for(Order("u-1", "upgrade", "courier", "2.0", "linux-amd64"), found["i-1"])
    assert repr(COPY) in content
    assert "mirror" not in command_for(Order("u-1", "upgrade", "courier", "2.0", "linux-amd64"), found["i-2"])


def test_the_cloud_is_asked_only_where_the_settings_allow_it(env: Environment) -> None:
    created(env, Endpoint="127.0.0.1:9")
    status, body = env.ask(VERSION, "ImportEcsInstances", **WHERE)
    assert (status, body["Code"]) == (409, "EcsRefused")
    assert "`ecs_allowed`" in body["Message"]
    assert env.ask(VERSION, "ListEcsImports")[1]["Imports"] == []


def test_a_cloud_out_of_reach_is_said_at_the_import(env: Environment) -> None:
    env.services = replace(env.services, settings=replace(env.services.settings, ecs_allowed="127.0.0.1/32"))
    created(env, Endpoint="127.0.0.1:9")
    body = env.ask(VERSION, "ImportEcsInstances", **WHERE)[1]
    assert body["Message"].startswith("EcsUnreachable: ecs:DescribeInstances had no answer"), body
    assert (
        env.ask(VERSION, "ImportEcsInstances", **{**WHERE, "AccountName": "other"})[1]["Code"] == "EcsAccountNotFound"
    )


def test_the_servers_own_credentials_are_for_named_accounts_only(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every account could act as the machine that the server runs on."""
    profile = {"name": "fleet", "mode": "AK", "access_key_id": "LTAIservers", "access_key_secret": "s"}
    monkeypatch.setattr(auth_constant, "HOME", str(tmp_path))
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text(json.dumps({"current": "fleet", "profiles": [profile]}))
    settings = replace(env.services.settings, ecs_allowed="127.0.0.1/32")
    env.services = replace(env.services, settings=settings)
    given = {"CredentialSource": "profile", "KeyId": "", "KeySecret": ""}
    found = created(env, Endpoint="127.0.0.1:9", **given, SourceName="fleet")
    assert found[0] == 200, found
    assert "ecs_own_credentials_for" in env.ask(VERSION, "ImportEcsInstances", **WHERE)[1]["Message"]
    settings = replace(settings, ecs_own_credentials_for=f"1, {env.root.account_id}")
    env.services = replace(env.services, settings=settings)
    assert "EcsUnreachable" in env.ask(VERSION, "ImportEcsInstances", **WHERE)[1]["Message"]
    created(env, Name="other", Endpoint="127.0.0.1:9", **given, SourceName="nobody")
    refused = env.ask(VERSION, "ImportEcsInstances", **{**WHERE, "AccountName": "other"})[1]["Message"]
    assert refused.startswith("EcsKeyRefused: no credentials were found"), refused


def test_a_cloud_account_belongs_to_one_account(env: Environment) -> None:
    created(env)
    other = env.other_account
    assert env.ask(VERSION, "ListEcsAccounts", other)[1]["Accounts"] == []
    assert env.ask(VERSION, "ImportEcsInstances", other, **WHERE)[1]["Code"] == "EcsAccountNotFound"
    assert env.ask(VERSION, "DeleteEcsAccount", other, Name="cloud")[1]["Code"] == "EcsAccountNotFound"
    assert env.ask(VERSION, "DeleteEcsAccount", Name="cloud")[0] == 200
    assert env.ask(VERSION, "DeleteEcsImport", ImportId="ei-1")[1]["Code"] == "EcsImportNotFound"
