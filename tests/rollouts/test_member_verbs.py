"""Holding and trying again where that does nothing: no event says that it did."""

from rollouts.fleet import Fleet


def events(hosts: Fleet, rollout: str) -> list[str]:
    found = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    return [each["Change"] for each in found]


def test_a_member_of_a_rollout_that_ended_is_not_held(hosts: Fleet) -> None:
    """Where it cannot go back, nothing would move it; what keeps a client where it is, is named.

    Who was on hold can be let in.
    """
    clients = hosts.grow(4)
    hosts.silent |= {hosts.instance_of(client) for client in clients}
    rollout = hosts.roll_out()
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=clients[0])
    hosts.run(rollout)
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.run(rollout)
    before = events(hosts, rollout)
    status, body = hosts.try_to("HoldRolloutMember", RolloutId=rollout, ClientId=clients[1])
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert "it is cancelled, and moves nobody; a pin keeps the client where it is" in body["Message"]
    assert events(hosts, rollout) == before
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=clients[0], Held="false")
    assert events(hosts, rollout) == [*before, "released"]


def test_a_member_is_kept_from_going_back_also_when_its_rollout_has_ended(hosts: Fleet) -> None:
    """It is held before the others are rolled back."""
    client, *_ = hosts.grow(4)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=client)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.run(rollout)
    versions = {each: hosts.helpers.client(each).version for each in hosts.members(rollout)}
    assert [each for each, version in versions.items() if version == "2.0"] == [client]


def test_who_is_held_already_is_not_held_again(hosts: Fleet) -> None:
    """The second time changes nothing, and neither does releasing somebody who is not on hold."""
    clients = hosts.grow(4)
    rollout = hosts.roll_out()
    for client, held in ((clients[0], "true"), (clients[0], "true"), (clients[1], "false")):
        hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=client, Held=held)
    assert [each for each in events(hosts, rollout) if each in ("held", "released")] == ["held"]


def test_where_nobody_ended_without_success_nobody_is_tried_again(hosts: Fleet) -> None:
    """Zero is the answer, and nothing else happens."""
    clients = hosts.grow(4)
    hosts.silent |= {hosts.instance_of(client) for client in clients}
    rollout = hosts.roll_out()
    hosts.run(rollout, 2)
    before = events(hosts, rollout)
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout)["Retried"] == 0
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout, ClientIds=f'["{clients[0]}"]')["Retried"] == 0
    assert events(hosts, rollout) == before
