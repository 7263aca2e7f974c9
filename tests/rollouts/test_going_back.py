"""A roll-back of nothing is refused and not offered: where nobody may have what the rollout brings."""

from rollouts.fleet import Fleet, refuses, rolls_back


def refused(hosts: Fleet, rollout: str, **more: str) -> str:
    """Return why a roll-back is refused; the rollout does not change by it."""
    before = hosts.show(rollout)
    assert before["CanGoBack"] is bool(more)
    status, body = hosts.try_to("RollBackRollout", RolloutId=rollout, **more)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert hosts.show(rollout) == before
    message: str = body["Message"]
    return message


def test_before_anybody_has_begun(hosts: Fleet) -> None:
    """What stops it instead is named."""
    hosts.silent |= {hosts.instance_of(client) for client in hosts.grow(4)}
    rollout = hosts.roll_out()
    why = refused(hosts, rollout)
    assert "no member of it may have the version that it brings" in why
    assert f"`backfleet rollout cancel {rollout}`" in why
    assert "rollout roll-back" not in why


def test_where_every_host_refused_or_went_back_by_itself(hosts: Fleet) -> None:
    """They have the version that they had."""
    clients = hosts.grow(4)
    ends = [refuses, rolls_back, rolls_back, rolls_back]
    hosts.answers = dict(zip(map(hosts.instance_of, clients), ends, strict=True))
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "halted"
    refused(hosts, rollout)
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.run(rollout)
    assert "it has ended: apply its policy again" in refused(hosts, rollout)


def test_once_all_of_it_went_back(hosts: Fleet) -> None:
    """It has ended; and each verb that is refused says the same."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["CanGoBack"] is True
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert "it has ended: apply its policy again" in refused(hosts, rollout)
    assert "it has ended: apply its policy again" in hosts.try_to("PauseRollout", RolloutId=rollout)[1]["Message"]


def test_a_ring_that_nobody_began_while_another_has_it(hosts: Fleet) -> None:
    """The ring is named; the rollout itself can go back."""
    hosts.grow(4)
    gate = 'name = "rest"\ngates = [{ kind = "manual" }]'
    rollout = hosts.ask("CreateRollout", Policy=hosts.policy().replace('name = "rest"', gate), Start="true")
    rollout = rollout["RolloutId"]
    hosts.run(rollout, 4)
    why = refused(hosts, rollout, Ring="rest")
    assert "no member of ring rest may have the version" in why
    assert f"`backfleet rollout roll-back {rollout}`" in why
    assert hosts.ask("RollBackRollout", RolloutId=rollout, Ring="canary")["State"] == "rolling_back"


def test_members_on_hold_go_back_once_they_are_released(hosts: Fleet) -> None:
    """The refusal says how, and afterwards there is something to roll back."""
    clients = hosts.grow(3)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    for client in clients:
        hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=client)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert f"backfleet rollout hold {rollout} NAME --release" in refused(hosts, rollout)
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=clients[0], Held="false")
    assert hosts.ask("RollBackRollout", RolloutId=rollout)["State"] == "rolling_back"


def test_orders_under_way_may_bring_it(hosts: Fleet) -> None:
    """Hosts may have fetched them: they are waited for, and go back."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    hosts._answer()
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert {hosts.helpers.client(each).version for each in hosts.members(rollout)} == {"1.0"}
