"""Members whose clients were moved on, by another rollout or by somebody, before their rollout is rolled back."""

from datetime import timedelta

import pytest

from backfleet import rollouts
from rollouts.fleet import POLICY, Fleet, rolls_back
from rollouts.test_halts import AT_ONCE

GATED = POLICY.replace('name = "rest"', 'name = "rest"\ngates = [{{ kind = "manual" }}]')


def moved_on(hosts: Fleet, more: str = "") -> tuple[str, str, str]:
    """Return a rollout to 2.0 that waits in its first ring, and its two members there; the first has 3.0 since."""
    hosts.grow(4)
    rollout = hosts.roll_out(more, text=GATED)
    for _ in range(5):
        hosts.step()
    first, second = (each for each, found in hosts.members(rollout).items() if found["State"] == "succeeded")
    hosts.env.release("3.0")
    other = hosts.roll_out(f'[select]\nclients = ["{first}"]', text=AT_ONCE.replace("2.0", "3.0"))
    assert hosts.run(other)["State"] == "completed"
    assert hosts.helpers.client(first).version == "3.0"
    return rollout, first, second


@pytest.mark.parametrize("ring", ["", "canary"], ids=["whole", "ring"])
def test_what_another_rollout_brought_is_not_taken_back(hosts: Fleet, ring: str) -> None:
    """Only who has what this rollout brought goes back; the others are counted, and keep what they have."""
    rollout, first, second = moved_on(hosts)
    hosts.ask("RollBackRollout", RolloutId=rollout, **({"Ring": ring} if ring else {}))
    found = hosts.run(rollout)
    scope = f"ring {ring}" if ring else "the rollout"
    assert (found["State"], found["Reason"]) == (
        "rolled_back", f"{scope} was rolled back: 1 member; 1 member had another version by then, and kept it",
    )  # fmt: skip
    assert [hosts.helpers.client(each).version for each in (first, second)] == ["3.0", "1.0"]
    assert hosts.members(rollout)[first]["State"] == "succeeded"


def test_a_budget_that_sends_everything_back_leaves_what_others_brought(sqlite_hosts: Fleet) -> None:
    hosts = sqlite_hosts
    rollout, first, _ = moved_on(hosts, '[failure]\nthen = "roll-back-rollout"')
    for each, found in hosts.members(rollout).items():
        if found["Ring"] == "rest":
            hosts.answers[hosts.instance_of(each)] = rolls_back
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert hosts.helpers.client(first).version == "3.0"


def test_held_members_are_named_apart_from_those_that_could_not_go_back(sqlite_hosts: Fleet) -> None:
    hosts = sqlite_hosts
    first, _ = hosts.grow(2)
    rollout = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=first)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["Reason"] == (
        "the rollout was rolled back: 1 member; 1 member on hold stayed: `rollout hold --release`, and roll back again"
    )


def test_a_failed_member_that_was_to_be_tried_again_says_how_it_had_ended(sqlite_hosts: Fleet) -> None:
    """Its rollout goes back before its new order leaves."""
    hosts = sqlite_hosts
    client, _ = hosts.grow(2)
    hosts.answers[hosts.instance_of(client)] = rolls_back
    rollout = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(rollout)["State"] == "halted"
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    found = hosts.members(rollout)[client]
    assert found["State"] == "skipped"
    assert "before: rolled back: " in found["Reason"]
    assert "no such option" in found["Reason"]


def test_a_rollout_that_goes_back_has_not_ended(hosts: Fleet) -> None:
    """It is among the figures, is not forgotten, and ends a second time."""
    client, _ = hosts.grow(2)
    rollout = hosts.roll_out(text=AT_ONCE)
    ended = hosts.run(rollout)["EndedTime"]
    hosts.at += timedelta(days=120).total_seconds()
    hosts.silent = {hosts.instance_of(client)}
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.step()
    found = hosts.show(rollout)
    assert (found["State"], "EndedTime" in found) == ("rolling_back", False)
    assert found["WaitsFor"] == "the end of 1 order under way"
    with hosts.helpers.transaction() as tx:
        rollouts.purge(tx, before=hosts.now - timedelta(days=90), now=hosts.now)
        shown = rollouts.view_latest(tx, ended_after=hosts.now, limit=5, now=hosts.now)
    assert [each.record.id for each in shown] == [rollout]
    hosts.silent = set()
    assert hosts.run(rollout)["EndedTime"] > ended


def test_a_rollout_that_has_just_halted_waits_for_somebody(sqlite_hosts: Fleet) -> None:
    hosts = sqlite_hosts
    client, _ = hosts.grow(2)
    hosts.answers[hosts.instance_of(client)] = rolls_back
    rollout = hosts.roll_out(text=AT_ONCE)
    for _ in range(10):
        hosts.step(5)
        if (found := hosts.show(rollout))["State"] == "halted":
            break
    assert (found["State"], found["WaitsFor"]) == ("halted", "somebody who resumes or cancels it")


def test_a_roll_back_brings_what_a_member_had_when_its_order_left(hosts: Fleet) -> None:
    """Not what it had when the rollout was created: the version of an older rollout that went back meanwhile."""
    hosts.env.release("3.0")
    hosts.grow(6)
    old = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(old)["State"] == "completed"
    new = hosts.ask("CreateRollout", Policy=hosts.policy(text=GATED).replace("2.0", "3.0"), Start="true")["RolloutId"]
    hosts.run(new, 5)
    hosts.ask("RollBackRollout", RolloutId=old)
    assert hosts.run(old)["Reason"].startswith("the rollout was rolled back: 4 members; 2 members had another version")
    hosts.ask("ResumeRollout", RolloutId=new)
    assert hosts.run(new)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=new)
    assert hosts.run(new)["State"] == "rolled_back"
    had = {"canary": "2.0", "rest": "1.0"}
    for client, member in hosts.members(new).items():
        assert (hosts.helpers.client(client).version, member["FromVersion"]) == (had[member["Ring"]],) * 2
