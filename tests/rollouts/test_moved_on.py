"""Members whose clients were moved on, by another rollout or by somebody, before their rollout is rolled back."""

from datetime import timedelta

import pytest

from backfleet import fleet, rollouts
from rollouts.fleet import POLICY, Fleet, rolls_back
from rollouts.test_halts import AT_ONCE
from upgrades.helpers import report_of

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
    """Its rollout goes back before its new order leaves: it is counted as what it is."""
    hosts = sqlite_hosts
    client, _ = hosts.grow(2)
    hosts.answers[hosts.instance_of(client)] = rolls_back
    rollout = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(rollout)["State"] == "halted"
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    found = hosts.members(rollout)[client]
    assert (found["State"], found["ErrorCode"]) == ("rolled_back", "RolledBack")
    assert found["Reason"] == ("it said: no such option; it was to be tried again, but the rollout was rolled back")


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


@pytest.mark.parametrize(("version", "state"), [("3.0", "failed"), ("", "rolled_back")], ids=["moved on", "as it was"])
def test_a_backup_that_failed_takes_back_only_what_the_rollout_brought(
    sqlite_hosts: Fleet, version: str, state: str
) -> None:
    """By `roll-back-member`, while the rollout runs; meanwhile somebody else has moved the client on, or nobody has."""
    hosts = sqlite_hosts
    client, other = hosts.grow(2)
    more = '[verify]\nfirst_run_hours = 48\n[failure]\nmax_failed = "100%"\nthen = "roll-back-member"'
    rollout = hosts.roll_out(more, text=AT_ONCE)
    for _ in range(2):
        hosts.step()
    assert hosts.members(rollout)[client]["State"] == "verifying"
    hosts.at += 60
    hosts.back_up(client, "failed")
    if version:
        hosts.env.release(version)
        asked = hosts.env.ask("2017-09-08", "UpgradeBackupClients", ClientIds=f'["{client}"]', TargetVersion=version)
        assert asked[0] == 200, asked
        hosts.helpers.run_worker(hosts.at)
        hosts._answer()
        hosts.helpers.run_worker(hosts.at)
        assert hosts.helpers.client(client).version == version
    for _ in range(3):
        hosts.step()
    found = hosts.members(rollout)[client]
    assert found["State"] == state, found
    assert hosts.helpers.client(client).version == (version or "1.0")
    kept = "; its client has version 3.0 by now, not of this rollout, and keeps it"
    assert found["Reason"].endswith(kept) is bool(version), found
    assert hosts.show(rollout)["Failures"] == 1
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.run(rollout)
    assert hosts.helpers.client(client).version == (version or "1.0")
    assert hosts.helpers.client(other).version == "1.0"


def going_back(hosts: Fleet, ring: str = "") -> tuple[str, dict[str, str]]:
    """Return a rollout that goes back one host at a time, none of which answers, and its members' rings."""
    hosts.grow(4)
    text = POLICY.replace('in_flight = "100%"', "in_flight = 4")
    rollout = hosts.roll_out(text=text)
    assert hosts.run(rollout)["State"] == "completed"
    rings = {each: found["Ring"] for each, found in hosts.members(rollout).items()}
    hosts.silent = {hosts.instance_of(each) for each in rings}
    hosts.ask("RollBackRollout", RolloutId=rollout, **({"Ring": ring} if ring else {}))
    return rollout, rings


@pytest.mark.parametrize("ring", ["", "canary"], ids=["whole", "ring"])
def test_a_rollout_is_refused_the_members_that_another_one_takes_back(hosts: Fleet, ring: str) -> None:
    """Whether their orders have left or not; not those of a ring that stays, nor once they have gone back."""
    first, rings = going_back(hosts, ring)
    hosts.env.release("3.0")
    policy = hosts.policy(text=AT_ONCE.replace("2.0", "3.0"))
    number = sum(each == ring for each in rings.values()) if ring else len(rings)
    expected = f"{number} clients are members of rollout {first}"
    assert [each["Found"] for each in hosts.ask("PreviewRollout", Policy=policy)["Faults"]] == [expected]
    status, refused = hosts.try_to("CreateRollout", Policy=policy)
    assert (status, expected in refused["Message"]) == (400, True), refused
    hosts.step()
    assert [each["Found"] for each in hosts.ask("PreviewRollout", Policy=policy)["Faults"]] == [expected]
    hosts.silent = set()
    assert hosts.run(first)["State"] == "rolled_back"
    assert hosts.ask("PreviewRollout", Policy=policy)["Faults"] == []


def test_a_halted_rollout_says_how_many_had_failed_by_then(sqlite_hosts: Fleet) -> None:
    """Orders that hosts had may still fail after it: the count goes on, and the reason does not contradict it."""
    hosts = sqlite_hosts
    instances = [hosts.instance_of(each) for each in hosts.grow(4)]
    rollout = hosts.roll_out(text=AT_ONCE)
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    fetched = [(each, hosts.helpers.claim(each, hosts.at).run[0].task_id) for each in instances]
    for number, (instance, command) in enumerate(fetched, 1):
        hosts.report(instance, command, rolls_back(hosts._item_of(command)))
        hosts.helpers.run_worker(hosts.at)
        hosts.decide()
        found = hosts.show(rollout)
        assert (found["State"], found["Failures"]) == ("halted", number)
        assert found["Reason"] == "1 member of the rollout had failed by then; the budget allows 0"


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


def test_members_that_had_it_already_are_counted_by_the_roll_back(hosts: Fleet) -> None:
    """They keep it: somebody else brought it, or the same rollout before its database was restored."""
    clients = hosts.grow(3)
    hosts.answers[hosts.instance_of(clients[0])] = lambda item: report_of(item, code="AlreadyCurrent")
    rollout = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["Reason"] == (
        "the rollout was rolled back: 2 members; 1 member had it already, and kept it"
    )


def test_a_member_that_is_said_to_have_the_version_goes_back_to_the_one_before(hosts: Fleet) -> None:
    """Somebody brought it by hand, and the host was set back since, which its record does not say."""
    hosts.grow(4)
    rollout = hosts.roll_out(text=GATED)
    hosts.run(rollout, 5)
    client = next(each for each, found in hosts.members(rollout).items() if found["Ring"] == "rest")
    with hosts.helpers.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(client, version="2.0")], now=hosts.now)
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"
    assert hosts.members(rollout)[client]["FromVersion"] == "1.0"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert hosts.helpers.client(client).version == "1.0"


def test_a_client_that_another_rollout_is_moving_goes_back_after_that(hosts: Fleet) -> None:
    """Its order to go back meets the other one: it is sent again, and the rollout goes on back until then."""
    hosts.env.release("3.0")
    clients = hosts.grow(4)
    first = hosts.roll_out()
    assert hosts.run(first)["State"] == "completed"
    hosts.silent |= {hosts.instance_of(client) for client in clients}
    second = hosts.roll_out(text=AT_ONCE.replace("2.0", "3.0"))
    hosts.at += 1
    hosts.decide()
    hosts.ask("RollBackRollout", RolloutId=first)
    hosts.step()
    assert hosts.show(first)["State"] == "rolling_back"
    found = hosts.members(first)[clients[0]]
    assert (found["ErrorCode"], "it goes back after that" in found["Reason"]) == ("UpgradeInProgress", True)
    hosts.ask("CancelRollout", RolloutId=second)  # its orders are withdrawn: nobody has fetched them
    hosts.silent.clear()
    for _ in range(4):
        hosts.step(30)
    assert hosts.run(first)["Reason"] == "the rollout was rolled back: 4 members"
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}
