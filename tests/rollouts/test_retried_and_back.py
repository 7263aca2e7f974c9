"""Members that are tried again, and whose rollout is ended or taken back before their new orders leave.

What the orders before them did to their hosts is not forgotten.
"""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from backfleet.commands._tables import invocations
from rollouts.fleet import Fleet, is_busy, refuses, succeeds
from rollouts.test_halts import AT_ONCE
from upgrades.helpers import report_of

LENIENT = '[failure]\nmax_failed = "100%"'


def lost_one(hosts: Fleet) -> tuple[str, str]:
    """Return a rollout, and its member that began and was never heard again; another one awaits its first backup."""
    client, other = hosts.grow(2)
    hosts.answers[hosts.instance_of(client)] = lambda item: None
    rollout = hosts.roll_out(f"[verify]\nfirst_run_hours = 48\n{LENIENT}", text=AT_ONCE)
    for _ in range(30):
        hosts.step(60)
        if hosts.members(rollout)[client]["State"] == "lost":
            break
    found = hosts.members(rollout)
    assert (found[client]["State"], found[other]["State"]) == ("lost", "verifying"), found
    return rollout, client


def tried_again(hosts: Fleet, rollout: str, client: str) -> None:
    """Have a member begin again, and stop it before its order leaves."""
    hosts.ask("PauseRollout", RolloutId=rollout)
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout, ClientIds=f'["{client}"]')["Retried"] == 1
    hosts.step()
    assert hosts.members(rollout)[client]["State"] == "waiting"


def test_a_lost_member_that_is_tried_again_goes_back_with_its_rollout(hosts: Fleet) -> None:
    """Its host may have the version, so it gets an order to go back, although its new order never left."""
    rollout, client = lost_one(hosts)
    tried_again(hosts, rollout, client)
    hosts.answers[hosts.instance_of(client)] = succeeds
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    found = hosts.members(rollout)
    assert {each["State"] for each in found.values()} == {"rolled_back"}, found
    assert hosts.helpers.client(client).version == "1.0"


def test_an_order_that_leaves_again_and_is_withdrawn_forgets_nothing(hosts: Fleet) -> None:
    """The host does not fetch its second order; the roll-back withdraws it, and still takes the host back."""
    rollout, client = lost_one(hosts)
    instance = hosts.instance_of(client)
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.silent = {instance}
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    assert hosts.members(rollout)[client]["State"] == "upgrading"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.silent, hosts.answers[instance] = set(), succeeds
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert hosts.members(rollout)[client]["State"] == "rolled_back", hosts.members(rollout)[client]


def test_a_lost_member_of_a_cancelled_rollout_is_not_called_skipped(sqlite_hosts: Fleet) -> None:
    """It was tried again before. When its host says what it has, that counts; and a later roll-back takes it."""
    hosts = sqlite_hosts
    rollout, client = lost_one(hosts)
    tried_again(hosts, rollout, client)
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.step()
    found = hosts.members(rollout)[client]
    assert (found["State"], found["Reason"]) == (
        "lost", "the rollout was cancelled; by an order before, its host may have the new version",
    )  # fmt: skip
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.answers[hosts.instance_of(client)] = succeeds
    hosts.run(rollout)
    assert hosts.members(rollout)[client]["State"] == "rolled_back"


def test_who_did_not_go_back_goes_when_it_is_asked_for_again(hosts: Fleet) -> None:
    """A backup ran on its host, which was in the way; the others are not asked a second time."""
    client, _ = hosts.grow(2)
    rollout = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(rollout)["State"] == "completed"
    hosts.answers[hosts.instance_of(client)] = is_busy
    hosts.ask("RollBackRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert (found["State"], found["Reason"].rpartition("; ")[2]) == (
        "rolled_back", "to try them again, roll back again",
    )  # fmt: skip
    assert hosts.members(rollout)[client]["Reason"] == "it could not be rolled back: a backup runs"
    hosts.answers.clear()
    hosts.ask("RollBackRollout", RolloutId=rollout, Ring="all")
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert {each["State"] for each in hosts.members(rollout).values()} == {"rolled_back"}
    with hosts.helpers.database.reading() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(invocations)) == 5  # two up, two back, one again


def test_a_member_that_could_not_be_rolled_back_and_is_tried_again(sqlite_hosts: Fleet) -> None:
    """It still has the version by this rollout: it awaits a backup again, and goes back when the rollout does."""
    hosts = sqlite_hosts
    client, other = hosts.grow(2)
    more = '[verify]\nfirst_run_hours = 48\n[failure]\nmax_failed = "100%"\nthen = "roll-back-member"'
    rollout = hosts.roll_out(more, text=AT_ONCE)
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=other)  # it keeps the rollout open
    hosts.step()
    assert hosts.members(rollout)[client]["State"] == "verifying"
    hosts.answers[hosts.instance_of(client)] = lambda item: report_of(
        item, "failed", code="InternalError", message="no space is left"
    )
    hosts.at += 60
    hosts.back_up(client, "failed")
    for _ in range(3):
        hosts.step()
    found = hosts.members(rollout)[client]
    assert (found["State"], found["Reason"]) == ("failed", "it could not be rolled back: no space is left"), found
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.step()
    assert hosts.members(rollout)[client]["State"] == "verifying"
    hosts.at += 60
    hosts.back_up(client, "succeeded")
    hosts.step()
    assert hosts.members(rollout)[client]["State"] == "succeeded"
    hosts.answers.clear()
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert {each: found["State"] for each, found in hosts.members(rollout).items()} == {
        client: "rolled_back", other: "skipped",
    }  # fmt: skip


def failed_ones(hosts: Fleet, rollout: str) -> tuple[int, int, int]:
    """Return how many of a rollout's members failed, were skipped, and how many failures it counts."""
    found = hosts.show(rollout)
    (ring,) = found["Rings"]
    return ring["Failed"], ring["Skipped"], found["Failures"]


def failed_and_retried(hosts: Fleet) -> tuple[str, str]:
    """Return a rollout that halted for its one member that failed, which is to be tried again, and that member."""
    client, _ = hosts.grow(2)
    hosts.answers[hosts.instance_of(client)] = lambda item: report_of(
        item, "failed", code="InternalError", message="no space is left"
    )
    rollout = hosts.roll_out(text=AT_ONCE)
    assert hosts.run(rollout)["State"] == "halted"
    assert failed_ones(hosts, rollout) == (1, 0, 1)
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout)["Retried"] == 1
    return rollout, client


@pytest.mark.parametrize("verb", ["CancelRollout", "RollBackRollout"])
def test_a_failed_member_whose_new_order_never_left_has_failed(hosts: Fleet, verb: str) -> None:
    """It counts as failed, with its code, as nothing was done to it since."""
    rollout, client = failed_and_retried(hosts)
    hosts.ask(verb, RolloutId=rollout)
    hosts.run(rollout)
    found = hosts.members(rollout)[client]
    ended = {"CancelRollout": "cancelled", "RollBackRollout": "rolled back"}[verb]
    assert (found["State"], found["ErrorCode"], found["Reason"]) == (
        "failed", "InternalError", f"no space is left; it was to be tried again, but the rollout was {ended}",
    )  # fmt: skip
    assert failed_ones(hosts, rollout) == (1, 0, 1)


def test_a_failed_member_whose_new_order_was_withdrawn_has_failed(sqlite_hosts: Fleet) -> None:
    """Its host did not fetch it before the rollout was cancelled."""
    hosts = sqlite_hosts
    rollout, client = failed_and_retried(hosts)
    hosts.silent = {hosts.instance_of(client)}
    hosts.ask("ResumeRollout", RolloutId=rollout)
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    assert hosts.members(rollout)[client]["State"] == "upgrading"
    hosts.ask("CancelRollout", RolloutId=rollout)
    for _ in range(3):
        hosts.step()
    found = hosts.members(rollout)[client]
    assert (found["State"], found["Reason"].partition(";")[0]) == ("failed", "no space is left"), found
    assert failed_ones(hosts, rollout) == (1, 0, 1)


def test_a_failed_member_for_whose_new_order_the_deadline_came_first_has_failed(sqlite_hosts: Fleet) -> None:
    hosts = sqlite_hosts
    rollout, client = failed_and_retried(hosts)
    hosts.at += timedelta(days=11).total_seconds()
    hosts.step()
    assert hosts.show(rollout)["State"] == "expired"
    found = hosts.members(rollout)[client]
    assert (found["State"], found["ErrorCode"]) == ("failed", "InternalError"), found


def test_a_new_order_that_did_something_counts_instead(sqlite_hosts: Fleet) -> None:
    """What the member had ended as before is forgotten then."""
    hosts = sqlite_hosts
    rollout, client = failed_and_retried(hosts)
    hosts.answers[hosts.instance_of(client)] = refuses
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.run(rollout)
    found = hosts.members(rollout)[client]
    assert (found["State"], found["ErrorCode"]) == ("skipped", "ManagedElsewhere"), found
