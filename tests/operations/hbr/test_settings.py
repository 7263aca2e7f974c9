"""UpdateClientSettings: settings are shown as they were set, passwords excepted; a refused call changes nothing."""

import logging
from typing import Any

import pytest

from backfleet.fleet._tables import preferences
from backfleet.operations.catalogue import HBR
from backfleet.operations.hbr.settings import PURPOSE, UpdateClientSettings
from backfleet.storage import metadata
from backfleet.wire.parameters import parse
from operations.environment import OTHER, Environment

SECRET = "hush-hush-password"
CUSTOM = {"DataProxySetting": "CUSTOM", "ProxyHost": "proxy.internal", "ProxyPort": "3128", "ProxyUser": "bob"}


class Settings:
    """One client and its settings."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.instance_id, self.client_id = env.host_with_client()

    def update(self, **parameters: Any) -> tuple[int, str]:
        status, body = self.env.ask(HBR.version, "UpdateClientSettings", ClientId=self.client_id, **parameters)
        return status, body["Code"]

    def shown(self) -> dict[str, Any]:
        asked = {"ClientType": "ECS_CLIENT", "ClientIds": [self.client_id]}
        (client,) = self.env.ask(HBR.version, "DescribeBackupClients", **asked)[1]["Clients"]
        found: dict[str, Any] = client["Settings"]
        return found

    def sealed(self) -> str:
        with self.env.services.database.reading() as tx:
            row = tx.first(preferences.select().where(preferences.c.client_id == self.client_id))
        return "" if row is None else str(row.sealed_password)


@pytest.fixture
def settings(env: Environment) -> Settings:
    return Settings(env)


def test_a_client_without_settings_shows_none(settings: Settings) -> None:
    """An empty object, of the right shape."""
    assert settings.shown() == {}


def test_settings_are_shown_as_they_were_set(settings: Settings) -> None:
    """Numbers as text where clients decode text, booleans as booleans."""
    parameters = {
        "DataNetworkType": "VPC", "UseHttps": "True", "MaxCpuCore": "2", "MaxWorker": "0", "MaxMemory": "1073741824",
        "AlertOnPartialComplete": "false", **CUSTOM,
    }  # fmt: skip
    assert settings.update(**parameters) == (200, "200")
    assert settings.shown() == {
        "DataNetworkType": "VPC", "UseHttps": True, "MaxCpuCore": "2", "MaxWorker": "0", "MaxMemory": 1073741824,
        "AlertOnPartialComplete": False, **CUSTOM, "ProxyPort": 3128,
    }  # fmt: skip


def test_settings_that_are_not_given_stay(settings: Settings) -> None:
    """The password, too."""
    settings.update(**CUSTOM, ProxyPassword=SECRET)
    settings.update(MaxCpuCore="4", VaultId="v-1", ResourceGroupId="rg-1")
    assert settings.shown() == {**CUSTOM, "ProxyPort": 3128, "MaxCpuCore": "4"}
    assert settings.env.services.vault.box(PURPOSE).unseal(settings.sealed()) == SECRET
    settings.update(DataProxySetting="DISABLE")
    assert settings.sealed() == ""


def test_the_password_is_shown_nowhere(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in answers, tables and logs, nor in the repr of a request."""
    caplog.set_level(logging.DEBUG)
    assert settings.update(**CUSTOM, ProxyPassword=SECRET) == (200, "200")
    with settings.env.services.database.reading() as tx:
        stored = [str(row) for table in metadata.sorted_tables for row in tx.rows(table.select())]
    assert SECRET not in "".join(stored) + caplog.text + str(settings.shown())
    read = parse(UpdateClientSettings, {"ClientId": settings.client_id, "ProxyPassword": SECRET})
    assert (read.proxy_password, SECRET in repr(read)) == (SECRET, False)
    status, body = settings.env.ask(
        HBR.version, "UpdateClientSettings", ClientId=settings.client_id, ProxyPassword=SECRET * 40
    )
    assert (status, body["Code"], SECRET in str(body)) == (400, "InvalidParameter", False)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param({"DataNetworkType": "MOON"}, "InvalidParameter", id="another network"),
        pytest.param({"DataProxySetting": "SOMETIMES"}, "InvalidParameter", id="another proxy setting"),
        pytest.param({"DataProxySetting": "CUSTOM"}, "MissingParameter", id="a proxy of one's own, without its host"),
        pytest.param({"ProxyHost": "a b"}, "InvalidParameter", id="a host with a blank"),
        pytest.param({"ProxyHost": "http://x"}, "InvalidParameter", id="an address for a host"),
        pytest.param({"ProxyPort": "0"}, "InvalidParameter", id="port 0"),
        pytest.param({"ProxyPort": "65536"}, "InvalidParameter", id="a port too high"),
        pytest.param({"ProxyUser": "u" * 129}, "InvalidParameter", id="a long user"),
        pytest.param({"MaxCpuCore": "-1"}, "InvalidParameter", id="fewer than no cores"),
        pytest.param({"MaxMemory": "1GB"}, "InvalidParameter", id="memory with a unit"),
        pytest.param({"MaxMemory": "9" * 19}, "InvalidParameter", id="too much memory"),
        pytest.param({"UseHttps": "maybe"}, "InvalidParameter", id="neither true nor false"),
    ],
)
def test_a_refused_call_changes_nothing(settings: Settings, parameters: dict[str, str], code: str) -> None:
    """Not even the settings in it that are valid."""
    settings.update(MaxCpuCore="1")
    assert settings.update(**parameters) == (400, code)
    assert settings.shown() == {"MaxCpuCore": "1"}


def test_only_clients_of_the_own_account_can_be_changed(settings: Settings) -> None:
    """Another account's client is treated as one that does not exist."""
    theirs = settings.env.client(settings.env.host(account=OTHER), account=OTHER)
    for client_id in (theirs, "c-none"):
        status, body = settings.env.ask(HBR.version, "UpdateClientSettings", ClientId=client_id, MaxCpuCore="1")
        assert (status, body["Code"]) == (404, "ResourceNotFound")
    status, body = settings.env.ask(HBR.version, "UpdateClientSettings", MaxCpuCore="1")
    assert (status, body["Code"]) == (400, "MissingParameter")


def test_read_permission_is_not_enough_to_change_settings(settings: Settings) -> None:
    """Whoever may only read clients gets NoPermission."""
    ann = settings.env.user("ann", "AliyunHBRReadOnlyAccess")
    status, body = settings.env.ask(
        HBR.version, "UpdateClientSettings", ann, ClientId=settings.client_id, MaxCpuCore="1"
    )
    assert (status, body["Code"]) == (403, "NoPermission")
    assert settings.shown() == {}
