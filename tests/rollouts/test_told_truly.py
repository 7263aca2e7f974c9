"""What people are told of rollouts that ended early or go back: by their rings, their budgets and their events."""

import pytest

from rollouts.fleet import POLICY, Fleet, rolls_back


def ring_states(hosts: Fleet, rollout: str) -> list[str]:
    return [ring["State"] for ring in hosts.show(rollout)["Rings"]]


def test_nothing_of_a_rollout_that_was_cancelled_is_said_to_run_or_to_be_to_come(hosts: Fleet) -> None:
    """Its first ring was stopped, and the second has not begun; the same once it was rolled back."""
    clients = hosts.grow(4)
    hosts.silent = {hosts.instance_of(clients[0])}
    rollout = hosts.roll_out(text=POLICY.replace("count = 2", "count = 3"))
    hosts.silent = {hosts.instance_of(next(iter(hosts.members(rollout))))}
    hosts.step()
    assert ring_states(hosts, rollout) == ["running", "pending"]
    hosts.ask("CancelRollout", RolloutId=rollout)
    assert ring_states(hosts, rollout) == ["stopped", "not_begun"]
    hosts.step()
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.run(rollout)
    assert ring_states(hosts, rollout) == ["stopped", "not_begun"]


def test_who_goes_back_because_a_person_says_so_has_not_failed(hosts: Fleet) -> None:
    """The budget, which bears nothing, is not used; and nothing that is left is below 0."""
    hosts.grow(3)
    rollout = hosts.roll_out()
    hosts.run(rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert (found["State"], found["FailuresAllowed"], found["Failures"], found["FailuresLeft"]) == (
        "rolled_back", 0, 0, 0,
    )  # fmt: skip


def test_a_budget_that_is_spent_has_nothing_left_and_says_by_how_many(sqlite_hosts: Fleet) -> None:
    """Also where more failed than it bears."""
    hosts = sqlite_hosts
    clients = hosts.grow(3)
    hosts.answers = {hosts.instance_of(client): rolls_back for client in clients}
    rollout = hosts.roll_out()
    found = hosts.run(rollout)
    assert (found["State"], found["Failures"], found["FailuresLeft"]) == ("halted", 2, 0)


def test_a_ring_that_goes_back_is_named_in_every_account_of_it(sqlite_hosts: Fleet) -> None:
    """In its reason, its events, and the audit trail."""
    hosts = sqlite_hosts
    hosts.grow(3)
    rollout = hosts.roll_out()
    hosts.run(rollout)
    asked = hosts.ask("RollBackRollout", RolloutId=rollout, Ring="canary")
    assert asked["Reason"].startswith("rolls back ring canary by acs:")
    events = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    by_person = [each for each in events if each["What"] == "person"][-1]
    assert (by_person["Change"], by_person["Reason"].startswith("ring canary of courier to 2.0")) == (
        "rolls back",
        True,
    )
    assert "ring canary" in next(each for each in events if each["Change"] == "rolling_back")["Reason"]
    trail = hosts.ask("LookupEvents", MaxResults="50")["Events"]
    (seen,) = [each for each in trail if each["eventName"] == "RollBackRollout"]
    assert seen["requestParameters"]["Ring"] == "canary"


def test_a_ring_that_goes_back_by_itself_is_named_in_the_reason(sqlite_hosts: Fleet) -> None:
    """Which it is, the number of failures does not say."""
    hosts = sqlite_hosts
    hosts.answers = {hosts.instance_of(client): rolls_back for client in hosts.grow(3)}
    rollout = hosts.roll_out('[failure]\nthen = "roll-back-ring"')
    hosts.run(rollout)
    events = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    (why,) = [each["Reason"] for each in events if each["Change"] == "rolling_back" and each["What"] == "rollout"]
    assert why.endswith("; ring canary goes back"), why


@pytest.mark.parametrize(
    ("state", "action", "says"),
    [
        ("completed", "PauseRollout", "it is completed; possible now: `backfleet rollout roll-back {id}`"),
        ("completed", "RetryRolloutMembers", "it is completed; possible now: `backfleet rollout roll-back {id}`"),
        ("rolling_back", "CancelRollout", "wait until it has gone back: `backfleet rollout watch {id}`"),
        ("draft", "ResumeRollout", "possible now: `backfleet rollout start {id}`, `backfleet rollout cancel {id}`"),
    ],
)
def test_what_cannot_be_done_now_says_what_can(sqlite_hosts: Fleet, state: str, action: str, says: str) -> None:
    """As commands, with the rollout's id."""
    hosts = sqlite_hosts
    hosts.grow(3)
    rollout = hosts.ask("CreateRollout", Policy=hosts.policy())["RolloutId"]
    if state != "draft":
        hosts.ask("StartRollout", RolloutId=rollout)
        hosts.run(rollout)
    if state == "rolling_back":
        hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.show(rollout)["State"] == state
    status, body = hosts.try_to(action, RolloutId=rollout)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert says.format(id=rollout) in body["Message"]


def test_what_is_not_there_is_named_with_what_is(sqlite_hosts: Fleet) -> None:
    """A rollout, a ring, a member."""
    hosts = sqlite_hosts
    hosts.grow(3)
    rollout = hosts.roll_out()
    for fields, texts in (
        ({"RolloutId": "ro-none"}, ("'ro-none'", "backfleet rollout list")),
        ({"RolloutId": rollout, "Ring": "canaries"}, (rollout, "'canaries'", "it has canary, rest")),
    ):
        status, body = hosts.try_to("RollBackRollout", **fields)
        assert (status, body["Code"]) == (404, "RolloutNotFound")
        assert all(text in body["Message"] for text in texts), body
    status, body = hosts.try_to("HoldRolloutMember", RolloutId=rollout, ClientId="c-none")
    assert (status, "'c-none'" in body["Message"], "--members" in body["Message"]) == (404, True, True)


def test_a_selector_that_means_nobody_is_not_said_to_be_done(sqlite_hosts: Fleet) -> None:
    """A tag that no host has is another fault than clients that have the version."""
    hosts = sqlite_hosts
    hosts.grow(3, "2.0", env="prod")
    found = {}
    for value in ("prod", "nowhere"):
        text = hosts.policy(f'[select]\ntags = {{ env = "{value}" }}')
        (fault,) = [each for each in hosts.ask("PreviewRollout", Policy=text)["Faults"] if each["Key"] == "select"]
        found[value] = (fault["Found"], fault["Wanted"])
    assert found["prod"][0] == "no client to move: 3 clients have the target version"
    assert found["nowhere"][0] == "no client"
    assert "no client of courier is meant by it" in found["nowhere"][1]
