"""A rollout from its policy to its end: the API, the worker, and hosts that fetch their orders."""

import pytest

from rollouts.fleet import Fleet, is_busy, refuses, rolls_back, stays, succeeds


def test_a_good_release_reaches_every_member_ring_by_ring(hosts: Fleet) -> None:
    """The canaries first; the rest only once these have succeeded."""
    clients = hosts.grow(6)
    rollout = hosts.roll_out()
    hosts.step()
    first = hosts.show(rollout)
    assert [(ring["Name"], ring["Members"]) for ring in first["Rings"]] == [("canary", 2), ("rest", 4)]
    found = hosts.run(rollout)
    assert (found["State"], [ring["Succeeded"] for ring in found["Rings"]]) == ("completed", [2, 4])
    assert {hosts.helpers.client(client).version for client in clients} == {"2.0"}
    events = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    started = [event["Number"] for event in events if (event["What"], event["Change"]) == ("ring", "running")]
    arrived = [event["Number"] for event in events if event["Change"] == "succeeded"]
    assert sorted(arrived)[1] < started[1], "the second ring waits for both canaries"


def test_one_failure_more_than_the_budget_halts(hosts: Fleet) -> None:
    """The default budget bears none: nobody of the second ring gets an order."""
    hosts.grow(8)
    rollout = hosts.roll_out()
    for canary in [m for m, found in hosts.members(rollout).items() if found["Ring"] == "canary"]:
        hosts.answers[hosts.instance_of(canary)] = rolls_back
    found = hosts.run(rollout)
    assert found["State"] == "halted"
    assert "2 members of the rollout had failed by then; the budget allows 0" in found["Reason"]
    assert (found["Rings"][0]["RolledBack"], found["Rings"][1]["Pending"]) == (2, 6)
    assert hosts.env.tasks() == 1


def test_a_host_that_refuses_is_skipped_and_uses_no_budget(hosts: Fleet) -> None:
    """With its code as the reason."""
    clients = hosts.grow(5)
    hosts.answers[hosts.instance_of(clients[0])] = refuses
    rollout = hosts.roll_out()
    found = hosts.run(rollout)
    assert found["State"] == "completed"
    assert (hosts.members(rollout)[clients[0]]["State"], hosts.members(rollout)[clients[0]]["ErrorCode"]) == (
        "skipped",
        "ManagedElsewhere",
    )


def test_a_busy_host_is_asked_again_later(hosts: Fleet) -> None:
    """It waits with its reason, and is moved once its backup is over."""
    clients = hosts.grow(4)
    busy = hosts.instance_of(clients[0])
    hosts.answers[busy] = is_busy
    rollout = hosts.roll_out()
    hosts.run(rollout, 8)
    member = hosts.members(rollout)[clients[0]]
    assert (member["State"], member["Reason"]) == ("waiting", "a backup runs")
    del hosts.answers[busy]
    hosts.at += 700
    assert hosts.run(rollout)["State"] == "completed"


def test_a_host_that_is_away_waits_and_is_taken_when_it_comes_back(hosts: Fleet) -> None:
    """Until the deadline; the others do not wait for it."""
    clients = hosts.grow(6)
    rollout = hosts.roll_out()
    late = next(client for client, found in hosts.members(rollout).items() if found["Ring"] == "rest")
    hosts.silent.add(hosts.instance_of(late))
    hosts.at += 600
    hosts.run(rollout, 12)
    assert hosts.members(rollout)[late]["Reason"] == "its host cannot be reached"
    assert sum(ring["Succeeded"] for ring in hosts.show(rollout)["Rings"]) == len(clients) - 1
    hosts.silent.clear()
    assert hosts.run(rollout)["State"] == "completed"


def test_a_pause_withdraws_orders_that_no_host_has_fetched(hosts: Fleet) -> None:
    """They leave again after the resume, each once."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    hosts.silent |= {hosts.instance_of(client) for client in hosts.members(rollout)}
    hosts.step()
    assert hosts.show(rollout)["Rings"][0]["Upgrading"] == 2
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.silent.clear()
    hosts.step()
    hosts.step()
    found = hosts.show(rollout)
    assert (found["State"], found["Rings"][0]["Upgrading"], found["Rings"][0]["Succeeded"]) == ("paused", 0, 0)
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"


def test_a_cancelled_rollout_begins_nothing_more(hosts: Fleet) -> None:
    """Every member ends in a definite state."""
    hosts.grow(5)
    rollout = hosts.roll_out()
    hosts.step()
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.step()
    hosts.step()
    found = hosts.show(rollout)
    assert found["State"] == "cancelled"
    assert {member["State"] for member in hosts.members(rollout).values()} <= {"succeeded", "skipped"}


def test_the_deadline_ends_every_member(hosts: Fleet) -> None:
    """Those that could not begin have expired."""
    clients = hosts.grow(5)
    rollout = hosts.roll_out()
    hosts.silent |= {hosts.instance_of(client) for client in clients}
    hosts.step(600)
    hosts.step(241 * 3600)
    found = hosts.show(rollout)
    assert found["State"] == "expired"
    assert {member["State"] for member in hosts.members(rollout).values()} == {"expired"}


def test_an_approval_is_given_by_somebody_else(hosts: Fleet) -> None:
    """Neither by the author nor twice by one person."""
    hosts.grow(4)
    text = hosts.policy().replace('name = "rest"', 'name = "rest"\ngates = [{ kind = "approval", people = 2 }]')
    rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    hosts.run(rollout, 6)
    assert hosts.show(rollout)["WaitsFor"] == "approval: 0 of 2 persons agreed"
    assert hosts.try_to("ApproveRollout", RolloutId=rollout)[1]["Code"] == "NotAnApprover"
    alice, bob = (hosts.env.user(name, "AdministratorAccess") for name in ("alice", "bob"))
    for person in (alice, alice):
        hosts.ask("ApproveRollout", person, RolloutId=rollout)
    hosts.step()
    assert hosts.show(rollout)["WaitsFor"] == "approval: 1 of 2 persons agreed"
    hosts.ask("ApproveRollout", bob, RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"


def test_a_starter_who_may_not_do_this_any_more_halts_it(hosts: Fleet) -> None:
    """Every decision asks again."""
    hosts.grow(4)
    alice = hosts.env.user("alice", "AdministratorAccess")
    rollout = hosts.roll_out(caller=alice)
    hosts.env.ask(
        "2015-05-01", "DetachPolicyFromUser", PolicyType="System", PolicyName="AdministratorAccess", UserName="alice"
    )
    found = hosts.run(rollout)
    assert found["State"] == "halted"
    assert "allows backfleet:StartRollout on" in found["Reason"]


def test_the_same_policy_again_is_the_same_rollout(hosts: Fleet) -> None:
    """Another policy under its name is refused while it has not ended."""
    hosts.grow(4)
    text = hosts.policy()
    first = hosts.ask("CreateRollout", Policy=text, Start="true")
    again = hosts.ask("CreateRollout", Policy=text, Start="true")
    assert (first["RolloutId"], again["Created"]) == (again["RolloutId"], False)
    status, body = hosts.try_to("CreateRollout", Policy=text.replace("count = 2", "count = 1"), Start="true")
    assert (status, body["Code"]) == (409, "RolloutNameInUse")


def test_a_policy_is_refused_with_every_fault_at_once(hosts: Fleet) -> None:
    """Those of the text with their lines."""
    hosts.grow(1)
    text = hosts.policy().replace('"100%"', '"120%"').replace("count = 2", "cuont = 2")
    status, body = hosts.try_to("CreateRollout", Policy=text)
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    assert [(fault["Line"], fault["Key"]) for fault in body["Faults"]] == [
        (7, "ring"),
        (9, "ring[0].cuont"),
        (14, "pace.in_flight"),
    ]


def test_a_held_member_is_left_out_of_the_way(hosts: Fleet) -> None:
    """Until it is released."""
    hosts.grow(5)
    rollout = hosts.roll_out()
    held = next(client for client, found in hosts.members(rollout).items() if found["Ring"] == "rest")
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=held)
    hosts.run(rollout, 8)
    assert (hosts.members(rollout)[held]["State"], hosts.members(rollout)[held]["Reason"]) == ("waiting", "it is held")
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=held, Held="false")
    assert hosts.run(rollout)["State"] == "completed"


def test_another_account_sees_nothing_of_a_rollout(hosts: Fleet) -> None:
    """Not even that it exists."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    for action in ("DescribeRollout", "PauseRollout", "CancelRollout", "DescribeRolloutMembers"):
        status, body = hosts.try_to(action, hosts.env.other_account, RolloutId=rollout)
        assert (status, body["Code"]) == (404, "RolloutNotFound")


@pytest.mark.parametrize("action", ["ListRollouts", "DescribeRolloutMembers"])
def test_a_state_that_there_is_not_finds_nothing_by_a_refusal(sqlite_hosts: Fleet, action: str) -> None:
    """An empty list would look as if nobody were in it."""
    sqlite_hosts.grow(4)
    rollout = sqlite_hosts.roll_out()
    about = {} if action == "ListRollouts" else {"RolloutId": rollout}
    status, body = sqlite_hosts.try_to(action, **about, States='["runing"]')
    assert (status, body["Code"]) == (400, "InvalidParameter")
    assert ("runing" in body["Message"], "rolled_back" in body["Message"]) == (True, True)


def test_a_rollout_is_taken_back_whole(hosts: Fleet) -> None:
    """Every member that has the new version gets an order to go to the one that it had."""
    clients = hosts.grow(5)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert (found["State"], [ring["RolledBack"] for ring in found["Rings"]]) == ("rolled_back", [2, 3])
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}


def test_hosts_that_finish_after_a_rollout_was_taken_back_go_back_too(hosts: Fleet) -> None:
    """Their orders had left, and they are the last that are under way."""
    clients = hosts.grow(4)
    rollout = hosts.roll_out()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    instances = [hosts.instance_of(client) for client in clients]
    fetched = [(each, command.task_id) for each in instances for command in hosts.helpers.claim(each, hosts.at).run]
    hosts.ask("RollBackRollout", RolloutId=rollout)
    for instance, command in fetched:
        hosts.report(instance, command, succeeds(hosts._item_of(command)))
    found = hosts.run(rollout)
    assert (found["State"], found["Rings"][0]["RolledBack"]) == ("rolled_back", 2)
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}


def test_after_one_ring_the_others_can_be_taken_back_too(hosts: Fleet) -> None:
    """The canaries kept the version, and turn out to be bad as well."""
    clients = hosts.grow(5)
    rollout = hosts.roll_out()
    hosts.run(rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout, Ring="rest")
    found = hosts.run(rollout)
    assert (found["State"], found["Reason"]) == ("rolled_back", "ring rest was rolled back: 3 members")
    hosts.ask("RollBackRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert (found["State"], found["Reason"]) == (
        "rolled_back", "the rollout was rolled back: 5 members")  # fmt: skip
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}


def test_a_spent_budget_takes_the_rollout_back_where_the_policy_says_so(hosts: Fleet) -> None:
    """`then = "roll-back-rollout"`: also those of the first ring, which succeeded."""
    clients = hosts.grow(6)
    rollout = hosts.roll_out('[failure]\nthen = "roll-back-rollout"')
    late = [client for client, found in hosts.members(rollout).items() if found["Ring"] == "rest"]
    hosts.answers[hosts.instance_of(late[0])] = rolls_back
    found = hosts.run(rollout)
    assert found["State"] == "rolled_back"
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}
    assert sum(ring["RolledBack"] for ring in found["Rings"]) == len(clients)


@pytest.mark.parametrize("kind", ["precheck", "stage"])
def test_a_rollout_may_only_find_out_or_make_ready(hosts: Fleet, kind: str) -> None:
    """In the same rings; every client stays at its version and in its status."""
    clients = hosts.grow(4)
    for client in clients:
        hosts.answers[hosts.instance_of(client)] = stays
    hosts.answers[hosts.instance_of(clients[0])] = refuses
    text = hosts.policy().replace('version = "2.0"', f'version = "2.0"\nkind = "{kind}"')
    rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    found = hosts.run(rollout)
    assert (found["State"], sum(ring["Succeeded"] for ring in found["Rings"])) == ("completed", 3)
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}
    assert {hosts.helpers.client(client).status.value for client in clients} == {"ACTIVATED"}


@pytest.mark.parametrize("kind", ["agent", "upgraed"])
def test_a_kind_that_is_not_carried_out_is_refused(hosts: Fleet, kind: str) -> None:
    """With those that are."""
    hosts.grow(4)
    text = hosts.policy().replace('version = "2.0"', f'version = "2.0"\nkind = "{kind}"')
    status, body = hosts.try_to("CreateRollout", Policy=text)
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    assert "upgrade, install, " in body["Message"]
