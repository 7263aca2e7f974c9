"""Starting a draft: who may, and when one that was paused before its time goes on."""

from datetime import timedelta

from rollouts.fleet import Fleet
from rollouts.test_judging import ALLOW, deny


def draft(hosts: Fleet) -> str:
    made: str = hosts.ask("CreateRollout", Policy=hosts.policy())["RolloutId"]
    return made


def test_who_may_move_nobody_cannot_start_the_draft_of_somebody_else(hosts: Fleet) -> None:
    """It would halt in its first decision: refused as a policy with a start is, now and for later; it stays a draft."""
    hosts.grow(4)
    rollout = draft(hosts)
    alice = hosts.env.user_with("alice", ALLOW, deny())
    later = str(int((hosts.now + timedelta(hours=1)).timestamp()))
    for more in ({}, {"StartTime": later}):
        status, body = hosts.try_to("StartRollout", alice, RolloutId=rollout, **more)
        assert (status, body["Code"]) == (400, "PolicyNotAccepted")
        (fault,) = body["Faults"]
        assert (fault["Key"], "statement 2 of Custom/alice-policy" in fault["Found"]) == ("start", True)
        assert fault["Wanted"] == "have it started by somebody who may"
    assert hosts.show(rollout)["State"] == "draft"
    assert hosts.ask("StartRollout", RolloutId=rollout)["State"] == "running"


def test_one_that_is_paused_before_its_time_waits_for_that_again(hosts: Fleet) -> None:
    """A resume is no early start; once its time has come it begins by itself."""
    hosts.grow(4)
    rollout, at = draft(hosts), hosts.now + timedelta(hours=1)
    hosts.ask("StartRollout", RolloutId=rollout, StartTime=str(int(at.timestamp())))
    hosts.ask("PauseRollout", RolloutId=rollout)
    assert hosts.ask("ResumeRollout", RolloutId=rollout)["State"] == "scheduled"
    found = hosts.run(rollout)
    assert (found["State"], found["WaitsFor"].startswith("its start at ")) == ("scheduled", True)
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.at += 3600
    assert hosts.ask("ResumeRollout", RolloutId=rollout)["State"] == "running"
    assert hosts.run(rollout)["State"] == "completed"


def test_of_two_drafts_of_the_same_clients_one_starts(hosts: Fleet) -> None:
    """The second is told which rollout moves them; once that has ended it may start. One that waits may at once."""
    hosts.grow(4)
    first = draft(hosts)
    others = [
        hosts.ask("CreateRollout", Policy=text.replace("courier to 2.0", name))["RolloutId"]
        for name, text in (("second", hosts.policy()), ("waits", 'overlap = "wait"\n' + hosts.policy()))
    ]
    hosts.ask("StartRollout", RolloutId=first)
    status, body = hosts.try_to("StartRollout", RolloutId=others[0])
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    assert f"4 clients are members of rollout {first}" in body["Message"]
    assert hosts.show(others[0])["State"] == "draft"
    assert hosts.ask("StartRollout", RolloutId=others[1])["State"] == "running"
    hosts.ask("CancelRollout", RolloutId=others[1])
    assert hosts.run(first)["State"] == "completed"
    assert hosts.ask("StartRollout", RolloutId=others[0])["State"] == "running"
