"""Hosts without an agent, as callers register them: on each engine, without a network."""

import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import sqlalchemy as sa

from backfleet.carriers.ssh._tables import ssh_keys
from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import REGION, Environment, make_environment

VERSION = "2026-11-01"
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
PLACE = {"Hosts.1.Address": "10.0.0.7", "Hosts.1.HostKeys.1": HOST_KEY}


def private(folder: Path, passphrase: str = "") -> str:
    """Return a private key as ssh-keygen writes it."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(folder / "key")]
    subprocess.run(words, check=True)
    return (folder / "key").read_text()


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn."""
    return make_environment(database, tmp_path, now, draw)


@pytest.fixture
def allowing(env: Environment) -> Environment:
    """An environment whose server may go to a network and to a name, and has a key."""
    settings = replace(env.services.settings, ssh_allowed="10.0.0.0/24, *.example.com")
    env.services = replace(env.services, settings=settings)
    assert env.ask(VERSION, "CreateSshKey", Name="fleet")[0] == 200
    return env


def imported(env: Environment, **given: Any) -> tuple[int, dict[str, Any]]:
    status, body = env.ask(VERSION, "ImportSshHosts", KeyName="fleet", **{**PLACE, **given})
    return status, body["Hosts"][0] if status == 200 else body


def test_a_key_is_made_here_and_its_private_half_is_sealed(allowing: Environment, tmp_path: Path) -> None:
    (shown,) = allowing.ask(VERSION, "ListSshKeys")[1]["Keys"]
    assert shown["PublicKey"].startswith("ssh-ed25519 ")
    given = private(tmp_path)
    assert allowing.ask(VERSION, "CreateSshKey", Name="given", PrivateKey=given)[0] == 200
    with allowing.services.database.reading() as tx:
        stored = [str(row._mapping) for row in tx.rows(sa.select(ssh_keys))]
    assert not any("PRIVATE KEY" in row for row in stored)
    assert allowing.ask(VERSION, "CreateSshKey", Name="given")[1]["Code"] == "EntityAlreadyExists.SshKey"


@pytest.mark.parametrize("why", ["passphrase", "no private key"])
def test_a_key_that_cannot_be_used_is_refused_with_the_reason(env: Environment, tmp_path: Path, why: str) -> None:
    key = private(tmp_path, "secret") if why == "passphrase" else "nonsense"
    status, body = env.ask(VERSION, "CreateSshKey", Name="fleet", PrivateKey=key)
    assert (status, body["Code"]) == (400, "InvalidParameter")
    assert why in body["Message"]
    assert key not in body["Message"]


def test_a_host_imported_twice_is_one_instance(allowing: Environment) -> None:
    _, first = imported(allowing)
    _, again = imported(allowing, **{"Hosts.1.Name": "db-1", "Hosts.1.Sudo": "true"})
    assert (first["Created"], again["Created"], again["InstanceId"]) == (True, False, first["InstanceId"])
    shown = allowing.ask(VERSION, "DescribeInstance", InstanceId=first["InstanceId"])[1]
    assert (shown["Carrier"], shown["Ssh"]["Sudo"], shown["Ssh"]["Port"]) == ("ssh", True, 22)
    _, other = imported(allowing, **{"Hosts.1.Root": "/srv/other"})
    assert other["Created"]


def test_a_key_in_use_stays(allowing: Environment) -> None:
    _, made = imported(allowing)
    status, body = allowing.ask(VERSION, "DeleteSshKey", Name="fleet")
    assert (status, body["Code"]) == (409, "DeleteConflict.SshKey")
    gone = {"RegionId": REGION, "InstanceId": made["InstanceId"]}
    assert allowing.ask("2014-05-26", "DeregisterManagedInstance", **gone)[0] == 200
    assert allowing.ask(VERSION, "DeleteSshKey", Name="fleet")[0] == 200
    assert allowing.ask(VERSION, "DeleteSshKey", Name="fleet")[1]["Code"] == "SshKeyNotFound"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Hosts.1.Address": "10.0.1.7"}, "SshNotAllowed"),
        ({"Hosts.1.Address": "example.com"}, "SshNotAllowed"),
        ({"Hosts.1.Address": "-oProxyCommand=x"}, "InvalidParameter"),
        ({"Hosts.1.Address": ""}, "MissingParameter"),
        ({"Hosts.1.User": "-l root"}, "InvalidParameter"),
        ({"Hosts.1.Root": "/opt/../etc"}, "InvalidParameter"),
        ({"Hosts.1.Root": "relative"}, "InvalidParameter"),
        ({"Hosts.1.HostKeys.1": "ssh-ed25519 nonsense"}, "InvalidParameter"),
        ({"Hosts.1.HostKeys.1": ""}, "InvalidParameter"),
        ({"Hosts.1.Jumps.1.Address": "10.0.1.1", "Hosts.1.Jumps.1.HostKeys.1": HOST_KEY}, "SshNotAllowed"),
        ({"Hosts.1.Jumps.1.Address": "10.0.0.1"}, "InvalidParameter"),
        ({"KeyName": "other"}, "SshKeyNotFound"),
    ],
)
def test_a_host_that_cannot_be_reached_so_is_refused(allowing: Environment, given: dict[str, Any], code: str) -> None:
    fields = {"KeyName": "fleet", **PLACE, **given}
    assert allowing.ask(VERSION, "ImportSshHosts", **fields)[1]["Code"] == code
    assert allowing.ask("2014-05-26", "DescribeManagedInstances", RegionId=REGION)[1]["TotalCount"] == 0


def test_behind_a_jump_host_any_address_may_be(allowing: Environment) -> None:
    """The settings say where the server itself connects to."""
    jump = {"Hosts.1.Jumps.1.Address": "bastion.example.com", "Hosts.1.Jumps.1.HostKeys.1": HOST_KEY}
    assert imported(allowing, **jump, **{"Hosts.1.Address": "192.168.7.7"})[1]["Created"]


def test_without_the_setting_the_server_goes_nowhere(env: Environment, tmp_path: Path) -> None:
    status, body = env.ask(VERSION, "ScanSshHosts", **{"Hosts.1.Address": "10.0.0.7"})
    assert (status, body["Code"]) == (403, "SshNotAllowed")
    assert "ssh_allowed" in body["Message"]


def test_another_account_sees_neither_keys_nor_hosts(allowing: Environment) -> None:
    _, made = imported(allowing)
    other = allowing.other_account
    assert allowing.ask(VERSION, "ListSshKeys", other)[1]["Keys"] == []
    found = allowing.ask(VERSION, "DescribeInstance", other, InstanceId=made["InstanceId"])
    assert found[0] == 404
