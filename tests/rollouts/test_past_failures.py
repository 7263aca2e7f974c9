"""`last-30-days`: a simulated release fails as often as upgrades and backups really failed of late."""

import json
from typing import Any

import pytest

from backfleet.operations.catalogue import HBR
from rollouts.fleet import Fleet, refuses, rolls_back

DAY = 24 * 3600


def upgrade(hosts: Fleet, clients: list[str]) -> None:
    """Upgrade clients as a caller does, and let their hosts report."""
    status, body = hosts.env.ask(HBR.version, "UpgradeBackupClients", ClientIds=json.dumps(clients))
    assert status == 200, body
    for _ in range(3):
        hosts.step()


@pytest.fixture
def used(hosts: Fleet) -> Fleet:
    """Return a fleet of ten: of eight upgrades two rolled back, two were refused; of ten backups one failed."""
    clients = hosts.grow(10)
    bad, refused = clients[:2], clients[2:4]
    hosts.answers.update({hosts.instance_of(each): rolls_back for each in bad})
    hosts.answers.update({hosts.instance_of(each): refuses for each in refused})
    upgrade(hosts, clients)
    for at in range(10):
        hosts.back_up(clients[at], "failed" if at == 0 else "succeeded")
    hosts.back_up(clients[9], "unknown")
    hosts.grow(100)
    return hosts


def simulated(hosts: Fleet, failures: str = "last-30-days") -> dict[str, Any]:
    more = '[failure]\nmax_failed = "100%"'
    return hosts.ask("SimulateRollout", Policy=hosts.policy(more), Failures=failures)


def test_it_says_what_failed_and_lets_as_many_made_up_hosts_fail(used: Fleet) -> None:
    """2 of 8 roll back; of the others every tenth backup fails."""
    report = simulated(used)
    assert report["FailuresFound"] == (
        "of the last 30 days: 2 of 8 upgrades and 1 of 10 backups of courier failed,"
        " so the release fails on 32.5% of hosts"
    )
    assert 0.2 < report["BadReached"] / report["Reached"] < 0.45


def test_what_is_given_is_not_looked_up(used: Fleet) -> None:
    """And nothing is said of how it was found."""
    assert simulated(used, "0%")["FailuresFound"] == ""
    assert simulated(used, "0%")["BadReached"] == 0


def test_older_failures_do_not_count(used: Fleet) -> None:
    """Where nothing newer ended, it is not known how the next release does."""
    used.pass_time(31 * DAY)
    used.step()
    status, body = used.try_to("SimulateRollout", Policy=used.policy(), Failures="last-30-days")
    assert (status, body["Code"]) == (400, "InvalidParameter")
    assert "no upgrade of courier ended in the last 30 days; give a percentage" in body["Message"]


def test_another_account_learns_nothing(used: Fleet) -> None:
    """Its own clients have no past, though there are some."""
    other = used.env.other_account
    for _ in range(3):
        used.env.client(used.env.host(account=other.account_id), account=other.account_id)
    status, body = used.try_to("SimulateRollout", other, Policy=used.policy(), Failures="last-30-days")
    assert (status, body["Code"]) == (400, "InvalidParameter")
    assert "no upgrade of courier ended in the last 30 days" in body["Message"]
