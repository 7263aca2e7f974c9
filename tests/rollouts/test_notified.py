"""Who is notified of a rollout: destinations that ask for it, and those that its policy names."""

import json

import pytest

from backfleet.operations.noticing import Watcher
from rollouts.fleet import POLICY, Fleet, rolls_back


def heard(hosts: Fleet) -> dict[str, list[str]]:
    """Return the kinds of message that each destination got."""
    Watcher(hosts.env.services).run_once(hosts.now)
    found: dict[str, list[str]] = {}
    for each in hosts.ask("ListNotifications", PageSize="200")["Notifications"]:
        found.setdefault(each["Destination"], []).append(each["Kind"])
    return found


def destinations(hosts: Fleet) -> None:
    """One for hosts, one for halts, and one for everything but halts."""
    for name, kinds in (("hosts", ["host.lost"]), ("halts", ["rollout.halted"]), ("other", ["task.failed"])):
        asked = {f"Kinds.{number}": kind for number, kind in enumerate(kinds, 1)}
        hosts.ask("PutNotificationDestination", Name=name, Mail=f"{name}@example.com", **asked)


def fail(hosts: Fleet, clients: list[str]) -> None:
    """Have these clients' hosts roll every order back."""
    for client in clients:
        hosts.answers[hosts.instance_of(client)] = rolls_back


def test_a_policy_names_who_is_notified_whatever_else_they_ask_for(hosts: Fleet) -> None:
    """Those that ask for halts are notified as well, and nobody else is."""
    destinations(hosts)
    fail(hosts, hosts.grow(3))
    rollout_id = hosts.roll_out('[notify]\nto = ["hosts"]')
    assert heard(hosts) == {}
    assert hosts.run(rollout_id)["State"] == "halted"
    assert heard(hosts) == {"hosts": ["rollout.halted"], "halts": ["rollout.halted"]}


def test_a_message_names_only_what_its_destination_is_to_hear(sqlite_hosts: Fleet) -> None:
    """Of two rollouts that halt at once, the one whose policy names it."""
    hosts = sqlite_hosts
    destinations(hosts)
    clients = hosts.grow(6)
    fail(hosts, clients)
    first = clients[:3]
    only = f'[select]\nclients = {json.dumps(first)}\n[notify]\nto = ["other"]'
    rest = f"[select.exclude]\nclients = {json.dumps(first)}"
    named = hosts.roll_out(only)
    other = hosts.roll_out(rest, text=POLICY.replace("courier to 2.0", "the others"))
    for rollout_id in (named, other):
        assert hosts.run(rollout_id)["State"] == "halted"
    assert heard(hosts) == {"other": ["rollout.halted"], "halts": ["rollout.halted"]}
    found = {each["Destination"]: each for each in hosts.ask("ListNotifications", PageSize="9")["Notifications"]}
    assert named in found["other"]["Subject"]
    assert found["halts"]["Subject"] == "2 rollouts are halted"


@pytest.mark.parametrize(
    ("more", "key", "found"),
    [
        ('[notify]\nto = ["nobody", "ops"]', "notify.to", "'nobody'"),
        ("[pace]\nin_flight = 0", "pace.in_flight", "0"),
        ('[pace]\nin_flight = "0%"', "pace.in_flight", "0"),
        ("[pace]\nper_hour = 0", "pace.per_hour", "0"),
    ],
)
def test_a_policy_that_nobody_would_hear_of_or_that_moves_nothing_is_refused(
    sqlite_hosts: Fleet, more: str, key: str, found: str
) -> None:
    """By the preview and by the creation alike, with what to do."""
    sqlite_hosts.ask("PutNotificationDestination", Name="ops", Mail="ops@example.com")
    sqlite_hosts.grow(3)
    text = POLICY.replace('[pace]\nin_flight = "100%"\nramp = false\n', "") if more.startswith("[pace]") else POLICY
    policy = sqlite_hosts.policy(more, text=text)
    (fault,) = sqlite_hosts.ask("PreviewRollout", Policy=policy)["Faults"]
    assert (fault["Key"], fault["Found"]) == (key, found)
    status, refused = sqlite_hosts.try_to("CreateRollout", Policy=policy)
    assert (status, refused["Faults"]) == (400, [fault])


def test_a_destination_stays_until_the_rollouts_that_notify_it_have_ended(hosts: Fleet) -> None:
    """Another one may go at once; a new address may come in its place."""
    destinations(hosts)
    hosts.grow(3)
    rollout_id = hosts.roll_out('[notify]\nto = "hosts"')
    status, body = hosts.try_to("DeleteNotificationDestination", Name="hosts")
    assert (status, body["Code"]) == (409, "NotificationDestinationInUse")
    assert rollout_id in body["Message"]
    hosts.ask("DeleteNotificationDestination", Name="other")
    hosts.ask("PutNotificationDestination", Name="hosts", Mail="new@example.com")
    assert hosts.run(rollout_id)["State"] == "completed"
    hosts.ask("DeleteNotificationDestination", Name="hosts")
