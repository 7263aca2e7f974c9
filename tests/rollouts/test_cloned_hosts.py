"""A host is copied while its ring runs: two machines answer to one identity, and either would take an order."""

from datetime import timedelta

from backfleet import fleet
from rollouts.fleet import POLICY, Fleet

ONE_BY_ONE = POLICY.replace('in_flight = "100%"', "in_flight = 1").replace('name = "canary"\ncount = 2\n[[ring]]\n', "")


def both_run(hosts: Fleet, instance: str) -> None:
    """Have two processes of this identity be heard side by side."""
    with hosts.helpers.transaction() as tx:
        for mark in ("the-original", "its-copy"):
            fleet.note_run(tx, fleet.AgentRun(instance, mark, hosts.now - timedelta(minutes=1), hosts.now))


def test_neither_of_two_hosts_with_one_identity_is_moved_and_the_others_go_on(hosts: Fleet) -> None:
    """The member says what to do; once the copy has its own identity, a retry moves it."""
    clients = hosts.grow(4)
    rollout = hosts.roll_out(text=ONE_BY_ONE)
    hosts.step()
    late = [client for client, each in hosts.members(rollout).items() if each["State"] == "waiting"][-1]
    both_run(hosts, hosts.instance_of(late))
    for _ in range(3):
        hosts.step()
    member = hosts.members(rollout)[late]
    assert (member["State"], member["ErrorCode"]) == ("skipped", "HostCloned")
    assert "enrol --new-identity" in member["Reason"]
    assert hosts.helpers.client(late).version == "1.0"

    assert hosts.show(rollout)["State"] == "completed"
    assert sorted(hosts.helpers.client(client).version for client in clients) == ["1.0", "2.0", "2.0", "2.0"]
    hosts.at += 600  # the copy was heard no more
    again = hosts.roll_out(text=ONE_BY_ONE.replace("courier to 2.0", "the rest"))
    assert hosts.run(again)["State"] == "completed"
    assert hosts.helpers.client(late).version == "2.0"
