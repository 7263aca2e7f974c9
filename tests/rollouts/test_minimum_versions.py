"""No client of a package is to be below a version after a moment: shown, people are notified, a rollout moves them."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from backfleet import notifications, operations
from backfleet.operations.catalogue import HBR
from backfleet.operations.noticing import Watcher
from backfleet.paging import Page
from rollouts.fleet import POLICY, Fleet
from upgrades.helpers import PACKAGE

BELOW = POLICY.replace('version = "2.0"', 'version = "2.0"\nselect = {{ below_minimum = true }}').replace(
    "count = 2", "count = 1"
)
"""Whoever is below, to 2.0."""


def put(hosts: Fleet, version: str = "1.5", days: float = 30, **fields: str) -> dict[str, Any]:
    """Put a minimum that is due in so many days."""
    due = (hosts.now + timedelta(days=days)).isoformat()
    asked = {"PackageName": PACKAGE, "MinimumVersion": version, "Due": due, "Reason": "a hole", **fields}
    return hosts.ask("PutMinimumVersion", **asked)


def below(hosts: Fleet) -> dict[str, str]:
    """Return the clients that DescribeBackupClients shows as below a minimum, with that."""
    status, body = hosts.env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT", PageSize="99")
    assert status == 200
    return {each["ClientId"]: each["BelowMinimumVersion"] for each in body["Clients"] if "BelowMinimumVersion" in each}


def notices(hosts: Fleet) -> list[str]:
    """Look for what people are notified of, and return those that were written so far."""
    Watcher(hosts.env.services).run_once(hosts.now)
    with hosts.helpers.database.reading() as tx:
        found = notifications.notices_of(tx, hosts.helpers.account, None, Page(1, 200)).items
    return sorted(each.body for each in found if each.kind == "version.below-minimum")


def test_a_minimum_shows_who_is_below_it_until_a_rollout_has_moved_them(hosts: Fleet) -> None:
    """Those at or above it are no members."""
    hosts.env.release("1.5")
    old, fit = hosts.grow(3), hosts.grow(2, "1.5")
    made = put(hosts)
    assert (made["State"], made["Clients"], made["ClientsBelow"], made["Replaced"]) == ("Pending", 5, 3, False)
    assert below(hosts) == dict.fromkeys(old, "1.5")
    rollout = hosts.roll_out(text=BELOW)
    assert set(hosts.members(rollout)) == set(old)
    assert hosts.run(rollout)["State"] == "completed"
    (shown,) = hosts.ask("ListMinimumVersions")["MinimumVersions"]
    assert (shown["State"], shown["ClientsBelow"]) == ("Met", 0)
    assert below(hosts) == {}
    assert {hosts.helpers.client(client).version for client in fit} == {"1.5"}


def test_people_are_notified_before_and_after_it_is_due(hosts: Fleet) -> None:
    """Once each; and figures say whether it is due."""
    hosts.grow(2)
    hosts.ask("PutNotificationDestination", Name="oncall", Mail="oncall@example.com")
    put(hosts, days=10)
    assert notices(hosts) == []
    hosts.at += 4 * 86400
    assert len(notices(hosts)) == 1
    assert len(notices(hosts)) == 1
    hosts.at += 7 * 86400
    found = notices(hosts)
    assert len(found) == 2
    assert all(f"2 clients of {PACKAGE} are below 1.5" in each and "a hole" in each for each in found)
    operations.Measuring(hosts.env.services).run_once(hosts.now)
    labels = {"account": hosts.helpers.account, "package": PACKAGE, "due": "yes"}
    assert REGISTRY.get_sample_value("backfleet_clients_below_minimum", labels) == 2
    assert hosts.ask("ListMinimumVersions")["MinimumVersions"][0]["State"] == "Overdue"


def test_a_newcomer_below_the_minimum_is_taken_in(hosts: Fleet) -> None:
    """While the rollout runs; one that is above it is not."""
    hosts.env.release("1.5")
    hosts.grow(2)
    put(hosts)
    rollout = hosts.roll_out(text=BELOW.replace("below_minimum = true", "below_minimum = true, dynamic = true"))
    (late,), _ = hosts.grow(1), hosts.grow(1, "1.5")
    hosts.run(rollout)
    assert len(hosts.members(rollout)) == 3
    assert hosts.helpers.client(late).version == "2.0"


def test_a_minimum_is_replaced_and_removed(hosts: Fleet) -> None:
    """There is one of a package, and another account's are its own."""
    put(hosts)
    again = put(hosts, "1.6")
    assert (again["Replaced"], again["MinimumVersion"], again["Owner"]) == (True, "1.6", hosts.env.root.arn)
    others = hosts.env.other_account
    assert hosts.ask("ListMinimumVersions", others)["MinimumVersions"] == []
    assert hosts.try_to("DeleteMinimumVersion", others, PackageName=PACKAGE)[1]["Code"] == "MinimumVersionNotFound"
    assert hosts.ask("DeleteMinimumVersion", PackageName=PACKAGE)["MinimumVersion"] == "1.6"
    assert hosts.try_to("DeleteMinimumVersion", PackageName=PACKAGE)[0] == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"MinimumVersion": "new"}, "write one version, such as", id="no version"),
        pytest.param({"MinimumVersion": ">=1.5"}, "write one version, such as", id="a range"),
        pytest.param({"MinimumVersion": "1.5\n"}, "MinimumVersion", id="a version with a line end"),
        pytest.param({"Due": "soon"}, "write a day", id="no moment"),
        pytest.param({"Due": "9999-12-31T23:59:59-23:00"}, "write a day", id="a moment outside the calendar"),
        pytest.param({"PackageName": "a/b"}, "PackageName", id="no package"),
        pytest.param({"Reason": ""}, "Reason", id="no reason"),
    ],
)
def test_what_is_no_minimum_is_refused(hosts: Fleet, fields: dict[str, str], words: str) -> None:
    """Nothing is stored."""
    asked = {"PackageName": PACKAGE, "MinimumVersion": "1.5", "Due": "2031-01-01", "Reason": "a hole", **fields}
    status, body = hosts.try_to("PutMinimumVersion", **asked)
    assert (status, words in body["Message"]) == (400, True), body
    assert hosts.ask("ListMinimumVersions")["MinimumVersions"] == []


@pytest.mark.parametrize(
    ("minimum", "words"),
    [
        pytest.param("", "there is no minimum version of courier", id="none is asked for"),
        pytest.param("2.5", "clients would stay below it", id="the target is below it"),
    ],
)
def test_a_rollout_that_cannot_meet_the_minimum_is_refused(hosts: Fleet, minimum: str, words: str) -> None:
    hosts.grow(2)
    if minimum:
        put(hosts, minimum)
    status, body = hosts.try_to("CreateRollout", Policy=hosts.policy(text=BELOW))
    assert (status, words in body["Message"]) == (400, True), body
