"""A resume that would halt again at once is refused, with what makes it possible."""

import pytest

from rollouts.fleet import Fleet, rolls_back, succeeds
from rollouts.test_judging import ALLOW, deny, tighten

WATCHED = 'name = "rest"\ngates = [{ kind = "budget", max_failed = 0, watch = true }]'


def failing(hosts: Fleet, text: str = "", more: str = "") -> tuple[str, list[str]]:
    """Return a rollout that was halted by a host that rolls back, and those hosts."""
    clients = hosts.grow(4)
    hosts.answers = {hosts.instance_of(each): rolls_back for each in clients}
    policy = hosts.policy(more)
    rollout = hosts.ask("CreateRollout", Policy=text or policy, Start="true")["RolloutId"]
    assert hosts.run(rollout)["State"] == "halted"
    return rollout, clients


def test_a_spent_budget_is_not_resumed_before_its_failures_are_tried_again(hosts: Fleet) -> None:
    """The refusal has the reason and the commands; nothing changes by it, not even the list of events."""
    rollout, clients = failing(hosts)
    before = hosts.show(rollout)
    status, body = hosts.try_to("ResumeRollout", RolloutId=rollout)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert f"it would halt again at once: {before['Reason']}; possible now: " in body["Message"]
    assert f"`backfleet rollout retry {rollout}`" in body["Message"]
    assert "rollout resume" not in body["Message"]
    assert hosts.show(rollout) == before
    hosts.answers = dict.fromkeys(map(hosts.instance_of, clients), succeeds)
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout)["Retried"] == 2
    assert hosts.ask("ResumeRollout", RolloutId=rollout)["State"] == "running"
    assert hosts.run(rollout)["State"] == "completed"


def test_a_report_that_came_while_it_was_paused_counts_in_the_resume(hosts: Fleet) -> None:
    """One failure is borne; the next one came, and nobody has decided on it yet."""
    hosts.answers = {hosts.instance_of(each): rolls_back for each in hosts.grow(4)}
    rollout = hosts.roll_out("[failure]\nmax_failed = 1")
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    first, late = [each["InstanceId"] for each in hosts.members(rollout).values() if each["Ring"] == "canary"]
    (order,) = hosts.helpers.claim(late, hosts.at).run
    hosts.report(late, order.task_id, None)
    hosts._answer_for(first)
    hosts.helpers.run_worker(hosts.at)
    hosts.decide()
    hosts.ask("PauseRollout", RolloutId=rollout)
    assert hosts.show(rollout)["FailuresLeft"] == 0
    hosts.report(late, order.task_id, rolls_back(hosts._item_of(order.task_id)))
    hosts.helpers.run_worker(hosts.at)
    status, body = hosts.try_to("ResumeRollout", RolloutId=rollout)
    why = "2 members of the rollout had failed by then; the budget allows 1"
    assert (status, why in body["Message"]) == (409, True)


def test_a_check_that_watches_and_does_not_hold_is_not_resumed(hosts: Fleet) -> None:
    """With its reason, as the halt had it."""
    clients = hosts.grow(6)
    text = hosts.policy('[failure]\nmax_failed = "50%"').replace('name = "rest"', WATCHED)
    canaries = hosts.ask("PreviewRollout", Policy=text)["Rings"][0]["Clients"]
    bad = next(each for each in clients if each not in canaries)
    hosts.answers[hosts.instance_of(bad)] = rolls_back
    rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    halted = hosts.run(rollout)
    assert halted["Reason"].startswith("a check that watches does not hold: budget: ")
    status, body = hosts.try_to("ResumeRollout", RolloutId=rollout)
    assert (status, "halt again at once: a check that watches does not hold: budget" in body["Message"]) == (409, True)


def test_whose_starter_may_not_move_clients_any_more_is_not_resumed_until_they_may(hosts: Fleet) -> None:
    """Whoever resumes it: the starter stays its starter. The way out is named."""
    hosts.grow(4)
    alice = hosts.env.user_with("alice", ALLOW)
    rollout = hosts.roll_out(caller=alice)
    tighten(hosts, "alice", deny())
    assert hosts.run(rollout)["State"] == "halted"
    status, body = hosts.try_to("ResumeRollout", RolloutId=rollout)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert "have that permitted, or cancel it and have somebody else apply it" in body["Message"]
    detach = {"PolicyType": "Custom", "PolicyName": "later", "UserName": "alice"}
    assert hosts.env.ask("2015-05-01", "DetachPolicyFromUser", **detach)[0] == 200
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"


@pytest.mark.parametrize("then", ["roll-back-ring", "roll-back-rollout"])
def test_where_the_policy_rolls_back_a_resume_does(hosts: Fleet, then: str) -> None:
    """It was paused before its failure was decided on: the policy's way is the way."""
    clients = hosts.grow(4)
    hosts.answers = {hosts.instance_of(each): rolls_back for each in clients}
    rollout = hosts.roll_out(f'[failure]\nthen = "{then}"')
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    hosts._answer()
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.helpers.run_worker(hosts.at)
    hosts.step()
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"


def test_a_manual_check_is_confirmed_also_by_who_approved_its_ring(hosts: Fleet) -> None:
    """One is not taken for the other; confirmed twice is once, and the event names the ring."""
    hosts.grow(4)
    gates = 'name = "rest"\ngates = [{ kind = "approval" }, { kind = "manual" }]'
    rollout = hosts.ask("CreateRollout", Policy=hosts.policy().replace('name = "rest"', gates), Start="true")
    rollout = rollout["RolloutId"]
    hosts.run(rollout, 4)
    bob = hosts.env.user("bob", "AdministratorAccess")
    hosts.ask("ApproveRollout", bob, RolloutId=rollout)
    hosts.step()
    assert hosts.show(rollout)["WaitsFor"].startswith("manual: ")
    for _ in range(2):
        hosts.ask("ResumeRollout", bob, RolloutId=rollout)
    events = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    (event,) = [each for each in events if each["Change"] == "resumed"]
    assert event["Reason"].startswith("manual check of ring rest")
    assert hosts.run(rollout)["State"] == "completed"


def test_a_resume_that_is_sent_twice_confirms_no_gate_that_nobody_waits_for(hosts: Fleet) -> None:
    """The canaries have not even begun: what a person is to look at is still to come."""
    clients = hosts.grow(4)
    hosts.silent |= {hosts.instance_of(client) for client in clients}
    gate = 'name = "rest"\ngates = [{ kind = "soak", hours = 1 }, { kind = "manual" }]'
    made = hosts.ask("CreateRollout", Policy=hosts.policy().replace('name = "rest"', gate), Start="true")
    rollout = made["RolloutId"]
    hosts.step()

    def twice() -> None:
        hosts.ask("PauseRollout", RolloutId=rollout)
        hosts.ask("ResumeRollout", RolloutId=rollout)
        status, body = hosts.try_to("ResumeRollout", RolloutId=rollout)
        assert (status, "it is running, and waits for no manual gate" in body["Message"]) == (409, True)

    twice()
    hosts.silent.clear()
    hosts.run(rollout, 5)
    assert hosts.show(rollout)["WaitsFor"].startswith("soak: ")
    twice()
    hosts.pass_time(3600)
    hosts.step()
    assert hosts.show(rollout)["WaitsFor"].startswith("manual: ")
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"


def test_a_member_whose_roll_back_a_pause_holds_up_goes_back_by_a_resume(hosts: Fleet) -> None:
    """Its failure halts the rollout then; it is counted while it waits; once it is back it can be tried again."""
    hosts.grow(4)
    more = '[verify]\nfirst_run_hours = 48\n[failure]\nmax_failed = 0\nthen = "roll-back-member"'
    rollout = hosts.roll_out(more)
    hosts.run(rollout, 2)
    bad, good = [each for each, found in hosts.members(rollout).items() if found["Ring"] == "canary"]
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.step(60)
    hosts.back_up(bad, "failed")
    hosts.back_up(good)
    hosts.step()
    found = hosts.show(rollout)
    assert (found["State"], found["Failures"], found["FailuresLeft"]) == ("paused", 1, 0)
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "halted"
    hosts.step()
    assert hosts.members(rollout)[bad]["State"] == "rolled_back"
    assert hosts.try_to("ResumeRollout", RolloutId=rollout)[0] == 409
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout)["Retried"] == 1
    hosts.ask("ResumeRollout", RolloutId=rollout)
    hosts.run(rollout, 3)
    for client in hosts.members(rollout):
        hosts.back_up(client)
    for _ in range(4):
        hosts.run(rollout, 3)
        for client, member in hosts.members(rollout).items():
            if member["State"] == "verifying":
                hosts.back_up(client)
    assert hosts.show(rollout)["State"] == "completed"


def test_after_the_deadline_nothing_is_resumed(hosts: Fleet) -> None:
    """It would end as expired; the refusal says so instead."""
    hosts.grow(4)
    rollout = hosts.ask("CreateRollout", Policy=hosts.policy(hours=1), Start="true")["RolloutId"]
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.at += 3700
    status, body = hosts.try_to("ResumeRollout", RolloutId=rollout)
    assert (status, "its deadline was " in body["Message"], "rollout resume" in body["Message"]) == (409, True, False)


def test_what_it_waited_for_is_not_said_of_the_state_after(hosts: Fleet) -> None:
    """The answer of a cancel, or a resume, comes before the worker decides."""
    hosts.silent |= {hosts.instance_of(each) for each in hosts.grow(4)}
    rollout = hosts.roll_out()
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.step()
    assert hosts.show(rollout)["WaitsFor"] == "somebody who resumes or cancels it"
    assert hosts.ask("ResumeRollout", RolloutId=rollout)["WaitsFor"] == ""
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.step()
    assert hosts.ask("CancelRollout", RolloutId=rollout)["WaitsFor"] == ""
