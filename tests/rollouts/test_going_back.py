"""A roll-back of nothing is refused and not offered: where nobody may have what the rollout brings."""

from collections import Counter

from rollouts.fleet import Fleet, refuses, rolls_back
from rollouts.test_halts import AT_ONCE
from rollouts.test_judging import ALLOW, deny, tighten

SOAKED = 'name = "rest"\ngates = [{ kind = "soak", hours = 0.01 }]'
VERIFIED = "[verify]\nfirst_run_hours = 48"


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


def verifying(hosts: Fleet) -> str:
    """Return a rollout of which the canaries have succeeded, and the others wait for their first backups."""
    hosts.grow(4)
    text = hosts.policy(VERIFIED).replace('name = "rest"', SOAKED)
    rollout: str = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    hosts.run(rollout, 3)
    for member in hosts.members(rollout).values():
        if member["Ring"] == "canary":
            hosts.back_up(member["ClientId"])
    for _ in range(8):
        hosts.step(60)
    assert states(hosts, rollout) == {"succeeded": 2, "verifying": 2}
    return rollout


def states(hosts: Fleet, rollout: str) -> Counter[str]:
    return Counter(each["State"] for each in hosts.members(rollout).values())


def test_members_that_verify_in_other_rings_hold_up_no_ring_that_goes_back(hosts: Fleet) -> None:
    """They may wait for days; then all of it can go back, and does."""
    rollout = verifying(hosts)
    hosts.ask("RollBackRollout", RolloutId=rollout, Ring="canary")
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert states(hosts, rollout) == {"rolled_back": 2, "verifying": 2}
    assert hosts.ask("RollBackRollout", RolloutId=rollout)["State"] == "rolling_back"
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert states(hosts, rollout) == {"rolled_back": 4}


def test_all_of_it_can_go_back_while_a_ring_does(hosts: Fleet) -> None:
    """One bad ring is often the first of several. Another ring, and all twice, are refused meanwhile."""
    rollout = verifying(hosts)
    hosts.silent |= {each["InstanceId"] for each in hosts.members(rollout).values()}
    hosts.ask("RollBackRollout", RolloutId=rollout, Ring="canary")
    hosts.step()
    assert hosts.show(rollout)["CanGoBack"] is True
    assert hosts.try_to("RollBackRollout", RolloutId=rollout, Ring="rest")[0] == 409
    assert hosts.ask("RollBackRollout", RolloutId=rollout)["CanGoBack"] is False
    assert "wait until it has gone back" in hosts.try_to("RollBackRollout", RolloutId=rollout)[1]["Message"]
    hosts.silent.clear()
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert {hosts.helpers.client(each).version for each in hosts.members(rollout)} == {"1.0"}


def test_a_held_member_that_verifies_stays_and_holds_nothing_up(hosts: Fleet) -> None:
    """The reason counts it, as it counts others that are held."""
    held, *_ = hosts.grow(3)
    rollout = hosts.roll_out(VERIFIED, text=AT_ONCE)
    hosts.step()
    hosts.step()
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=held)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert (found["State"], "1 member on hold stayed" in found["Reason"]) == ("rolled_back", True)
    assert states(hosts, rollout) == {"rolled_back": 2, "verifying": 1}
    hosts.back_up(held)
    hosts.step()
    assert states(hosts, rollout) == {"rolled_back": 2, "succeeded": 1}


def test_where_the_starter_may_move_nobody_any_more_whoever_asks_takes_it_back(hosts: Fleet) -> None:
    """They are judged for it, too; where neither may, it is refused with both reasons, and nothing is tried in vain."""
    hosts.grow(4)
    alice, bob = hosts.env.user_with("alice", ALLOW), hosts.env.user_with("bob", ALLOW, deny())
    rollout = hosts.roll_out(caller=alice)
    assert hosts.run(rollout)["State"] == "completed"
    tighten(hosts, "alice", deny())
    status, body = hosts.try_to("RollBackRollout", bob, RolloutId=rollout)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert "Custom/later" in body["Message"]
    assert "nor may you" in body["Message"]
    assert "Custom/bob-policy" in body["Message"]
    assert hosts.show(rollout)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["Reason"] == "the rollout was rolled back: 4 members"


def test_a_name_that_is_taken_by_one_that_goes_back_says_what_to_wait_for(hosts: Fleet) -> None:
    """It cannot be cancelled; one that runs can."""
    hosts.grow(4)
    rollout = hosts.roll_out()

    def taken() -> str:
        status, body = hosts.try_to("CreateRollout", Policy=hosts.policy("# another"), Start="true")
        assert (status, body["Code"]) == (409, "RolloutNameInUse")
        message: str = body["Message"]
        return message

    assert "has not ended. Cancel it, or change the name" in taken()
    hosts.run(rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert "goes back. Wait for its end, or change the name" in taken()
