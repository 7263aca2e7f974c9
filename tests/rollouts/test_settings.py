"""A rollout of settings: the same rings, gates and budget; no client changes its version."""

import json
from typing import Any

import pytest

from backfleet import fleet, identity
from backfleet.operations.catalogue import HBR
from rollouts.fleet import POLICY, Fleet, refuses
from upgrades.helpers import PACKAGE

SETTINGS = (
    POLICY.replace('version = "2.0"', 'kind = "settings"')
    + """
[settings]
proxy_kind = "CUSTOM"
proxy_host = "proxy.example"
most_cores = 2
"""
)
WANTED = {"proxy_kind": "CUSTOM", "proxy_host": "proxy.example", "most_cores": 2}


def settings_of(hosts: Fleet, client: str) -> dict[str, Any]:
    """Return what is stored for a client."""
    with hosts.helpers.database.reading() as tx:
        return {name: found.as_dict() for name, found in fleet.preferences_of(tx, [client]).items()}.get(client, {})


def set_cores(hosts: Fleet, client: str, cores: int) -> None:
    """Set one by itself, as a caller does."""
    status, _ = hosts.env.ask(HBR.version, "UpdateClientSettings", ClientId=client, MaxCpuCore=str(cores))
    assert status == 200


def user(hosts: Fleet, name: str, action: str) -> identity.Caller:
    """Return a user who may do this to clients, and everything with rollouts."""
    allowed = {"Effect": "Allow", "Action": [action, "backfleet:*"], "Resource": "*"}
    return hosts.env.user_with(name, allowed)


def orders(hosts: Fleet) -> list[dict[str, Any]]:
    """Return every order that was sent."""
    import sqlalchemy as sa

    from backfleet.commands._tables import invocations

    with hosts.helpers.database.reading() as tx:
        return [json.loads(row.content.split("\n", 1)[1]) for row in tx.rows(sa.select(invocations.c.content))]


def test_settings_reach_every_member_ring_by_ring(hosts: Fleet) -> None:
    """Hosts get them with what was set before; no version changes, and the answers show what is set."""
    clients = hosts.grow(5)
    set_cores(hosts, clients[0], 8)
    rollout = hosts.roll_out(text=SETTINGS)
    hosts.step()
    begun = [client for client in clients if settings_of(hosts, client) == WANTED]
    assert len(begun) == 2  # the canaries
    found = hosts.run(rollout)
    assert (found["State"], found["TargetVersion"]) == ("completed", "")
    assert {each["Name"]: each["Value"] for each in found["Settings"]} == {**WANTED, "most_cores": "2"}
    assert [settings_of(hosts, client) for client in clients] == [WANTED] * 5
    assert {order["kind"] for order in orders(hosts)} == {"settings"}
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}
    assert {hosts.helpers.client(client).status.value for client in clients} == {"ACTIVATED"}


def test_settings_of_a_host_that_refused_them_stay_as_they_were(hosts: Fleet) -> None:
    """Its next upgrade does not bring them either."""
    clients = hosts.grow(3)
    for client in clients:
        set_cores(hosts, client, 8)
        hosts.answers[hosts.instance_of(client)] = refuses
    rollout = hosts.roll_out(text=SETTINGS)
    hosts.run(rollout)
    assert [settings_of(hosts, client) for client in clients] == [{"most_cores": 8}] * 3


def test_a_halt_keeps_settings_from_whoever_had_not_fetched_them(hosts: Fleet) -> None:
    """A withdrawn order leaves nothing behind that a later order could bring."""
    clients = hosts.grow(3)
    rollout = hosts.roll_out(text=SETTINGS)
    hosts.silent = {hosts.instance_of(client) for client in clients}
    hosts.step()
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.silent = set()
    hosts.step()
    assert [settings_of(hosts, client) for client in clients] == [{}] * 3


def test_pinned_clients_take_settings(hosts: Fleet) -> None:
    """A pin holds a version."""
    clients = hosts.grow(3)
    until = hosts.helpers.moment(86400).isoformat()
    for client in clients:
        hosts.ask("PutPin", ClientId=client, PackageName=PACKAGE, Reason="year's end", Until=until)
    assert hosts.run(hosts.roll_out(text=SETTINGS))["State"] == "completed"


def test_the_first_backup_after_new_settings_is_looked_at(hosts: Fleet) -> None:
    """Whatever version makes it; one that fails halts the rollout, and nothing is rolled back."""
    clients = hosts.grow(4)
    gate = '[[ring]]\nname = "rest"\ngates = [{{ kind = "backups", first_run = "each" }}]'
    rollout = hosts.roll_out(text=SETTINGS.replace('[[ring]]\nname = "rest"', gate))
    for _ in range(4):
        hosts.step()
    canaries = [client for client, found in hosts.members(rollout).items() if found["State"] == "verifying"]
    assert len(canaries) == 2
    hosts.back_up(canaries[0])
    hosts.back_up(canaries[1], "failed")
    found = hosts.run(rollout)
    assert found["State"] == "halted"
    members = hosts.members(rollout)
    assert members[canaries[0]]["State"] == "succeeded"
    assert members[canaries[1]]["Reason"] == "its first backup under the new settings failed"
    assert [settings_of(hosts, client) for client in clients if client not in canaries] == [{}, {}]


def test_whoever_may_not_set_settings_may_not_roll_them_out(hosts: Fleet) -> None:
    """Upgrading clients is another right."""
    hosts.grow(3)
    upgrader = user(hosts, "upgrader", "hbr:UpgradeBackupClients")
    status, body = hosts.try_to("CreateRollout", upgrader, Policy=hosts.policy(text=SETTINGS), Start="true")
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    assert "hbr:UpdateClientSettings" in body["Message"]
    setter = user(hosts, "setter", "hbr:UpdateClientSettings")
    assert hosts.try_to("CreateRollout", setter, Policy=hosts.policy(text=SETTINGS), Start="true")[0] == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            ("most_cores = 2", 'most_cores = "two"'), "a whole number from 0 to 1024", id="a text for a number"
        ),
        pytest.param(("most_cores = 2", "most_cores = 2000"), "a whole number from 0 to 1024", id="too many cores"),
        pytest.param(("most_cores = 2", "most_cores = true"), "a whole number from 0 to 1024", id="true for a number"),
        pytest.param(("most_cores", "cores"), "there is no such setting", id="an unknown setting"),
        pytest.param(('proxy_host = "proxy.example"', ""), "needs a `proxy_host`", id="a proxy without a host"),
        pytest.param(("proxy.example", "a proxy"), "the name or the address of a host", id="a host with a space"),
        pytest.param(("proxy.example", "proxy.example\\n"), "the name or the address", id="a host with a line end"),
        pytest.param(("most_cores = 2", 'proxy_password = "x"'), "a policy holds no secrets", id="a password"),
        pytest.param(('kind = "settings"', 'kind = "settings"\nversion = "2.0"'), "any version", id="a version"),
        pytest.param(('kind = "settings"', 'version = "2.0"'), 'need `kind = "settings"`', id="settings of an upgrade"),
    ],
)
def test_settings_with_faults_are_refused(hosts: Fleet, change: tuple[str, str], words: str) -> None:
    """Each fault with what would do; no secret is repeated."""
    hosts.grow(3)
    status, body = hosts.try_to("CreateRollout", Policy=hosts.policy(text=SETTINGS.replace(*change)))
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    assert words in body["Message"]
