"""Whose permission a rollout moves members with: its starter's, for each client, whenever an order leaves."""

import json
import time
from typing import Any

import pytest

from backfleet import identity
from backfleet.operations import RolloutJudge
from operations.environment import REGION
from rollouts.fleet import Fleet

ALLOW = {"Effect": "Allow", "Action": ["hbr:*", "backfleet:*"], "Resource": "*"}


def deny(**more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": "hbr:UpgradeBackupClients", "Resource": "*", **more}


def tighten(hosts: Fleet, user: str, statement: dict[str, Any]) -> None:
    """Attach one more policy to a user, as an administrator does while a rollout runs."""
    account, now = hosts.helpers.account, hosts.now
    text = json.dumps({"Version": "1", "Statement": [statement]})
    with hosts.helpers.transaction() as tx:
        identity.create_policy(tx, account, "later", text, description="", now=now)
        identity.attach_policy(tx, account, user, "later", "Custom", now=now)


@pytest.fixture(params=["client", "instance", "tag", "user"])
def denied(request: pytest.FixtureRequest, hosts: Fleet) -> tuple[str, dict[str, Any]]:
    """One of five clients, and a statement that denies it by each of its names."""
    hosts.grow(4, env="prod")
    (client,) = hosts.grow(1, env="vault")
    account = hosts.helpers.account
    named: dict[str, dict[str, Any]] = {
        "client": deny(Resource=f"acs:hbr:*:*:client/{client}"),
        "instance": deny(Resource=f"acs:ecs:{REGION}:{account}:instance/{hosts.instance_of(client)}"),
        "tag": deny(Condition={"StringEquals": {"acs:ResourceTag/env": "vault"}}),
        "user": deny(Condition={"StringEquals": {"acs:ResourceTag/env": "vault", "acs:UserName": "alice"}}),
    }
    return client, named[request.param]


def test_a_deny_of_the_starter_is_not_bypassed_by_a_rollout(hosts: Fleet, denied: tuple[str, dict[str, Any]]) -> None:
    """On the client, its instance or its tag: it is skipped with the statement named, and the others are moved."""
    client, statement = denied
    alice = hosts.env.user_with("alice", ALLOW)
    rollout = hosts.roll_out(caller=alice)
    tighten(hosts, "alice", statement)
    assert hosts.run(rollout)["State"] == "completed"
    member = hosts.members(rollout)[client]
    assert (member["State"], member["ErrorCode"]) == ("skipped", "NoPermission")
    assert "is denied by statement 1 of Custom/later" in member["Reason"]
    versions = {each: hosts.helpers.client(each).version for each in hosts.members(rollout)}
    assert {each for each, version in versions.items() if version == "1.0"} == {client}


def test_a_policy_with_clients_that_its_author_may_not_move_is_refused(
    hosts: Fleet, denied: tuple[str, dict[str, Any]]
) -> None:
    """Preview shows the fault that apply refuses for; a policy that excludes the client is accepted."""
    client, statement = denied
    alice = hosts.env.user_with("alice", ALLOW, statement)
    (fault,) = hosts.ask("PreviewRollout", alice, Policy=hosts.policy())["Faults"]
    assert (fault["Key"], fault["Found"]) == ("select", f"1 client that you may not upgrade ({client})")
    assert "is denied by statement 2 of Custom/alice-policy" in fault["Wanted"]
    status, body = hosts.try_to("CreateRollout", alice, Policy=hosts.policy(), Start="true")
    assert (status, body["Code"], body["Faults"]) == (400, "PolicyNotAccepted", [fault])
    without = hosts.policy(f'[select]\nexclude = {{ clients = ["{client}"] }}')
    assert hosts.ask("PreviewRollout", alice, Policy=without)["Faults"] == []
    assert hosts.ask("CreateRollout", alice, Policy=without, Start="true")["State"] == "running"


def test_an_allow_by_tag_is_enough_for_the_members_that_have_it(hosts: Fleet) -> None:
    """A starter who may upgrade some clients only is not refused as a whole."""
    hosts.grow(4, env="prod")
    by_tag = {**ALLOW, "Action": "hbr:*", "Condition": {"StringEquals": {"acs:ResourceTag/env": "prod"}}}
    alice = hosts.env.user_with("alice", by_tag, {**ALLOW, "Action": "backfleet:*"})
    rollout = hosts.roll_out(caller=alice)
    assert hosts.run(rollout)["State"] == "completed"


@pytest.mark.parametrize("resource", ["*", "acs:hbr:*:*:client/*", "acs:ecs:*:*:instance/*"])
def test_a_starter_who_may_move_nobody_any_more_halts_it(hosts: Fleet, resource: str) -> None:
    """It does not go through the fleet skipping one host after the other."""
    hosts.grow(4)
    alice = hosts.env.user_with("alice", ALLOW)
    rollout = hosts.roll_out(caller=alice)
    tighten(hosts, "alice", deny(Resource=resource))
    found = hosts.run(rollout)
    assert (found["State"], found["Rings"][0]["Pending"] + found["Rings"][0]["Waiting"]) == ("halted", 2)
    assert "is denied by statement 1 of Custom/later" in found["Reason"]


def test_a_rollout_whose_starter_was_deleted_halts(hosts: Fleet) -> None:
    """Nobody's permission is left to move anything with."""
    hosts.grow(4)
    alice = hosts.env.user_with("alice", ALLOW)
    rollout = hosts.roll_out(caller=alice)
    account = hosts.helpers.account
    with hosts.helpers.transaction() as tx:
        identity.detach_policy(tx, account, "alice", "alice-policy", "Custom")
        identity.delete_key(tx, account, "alice", alice.access_key_id)
        identity.delete_user(tx, account, "alice")
    assert hosts.run(rollout)["State"] == "halted"


def test_who_may_create_but_not_start_leaves_a_draft_to_others(hosts: Fleet) -> None:
    """With `Start` the policy is refused: it would halt at once."""
    hosts.grow(4)
    alice = hosts.env.user_with("alice", {**ALLOW, "Action": ["hbr:*", "backfleet:CreateRollout"]})
    status, body = hosts.try_to("CreateRollout", alice, Policy=hosts.policy(), Start="true")
    assert (status, [fault["Key"] for fault in body["Faults"]]) == (400, ["start"])
    assert hosts.ask("CreateRollout", alice, Policy=hosts.policy())["State"] == "draft"


def test_ten_thousand_members_are_judged_in_a_moment(hosts: Fleet) -> None:
    """The policies are read once: the time goes with the members alone."""
    statements = [deny(Resource=f"acs:hbr:*:*:client/c-{number:09d}x*") for number in range(20)]
    alice = hosts.env.user_with("alice", ALLOW, *statements)
    members = {f"c-{number:09d}": f"i-{number:09d}" for number in range(10_000)}
    with hosts.helpers.database.reading() as tx:
        before = time.process_time()
        assert RolloutJudge(tx, alice, REGION, hosts.now).moving(members) == {}
        assert time.process_time() - before < 10
