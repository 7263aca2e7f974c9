"""A rollout moves only those clients that its starter may upgrade, judged when each order leaves."""

from typing import Any

import pytest

from rollouts.fleet import Fleet

ALL: dict[str, Any] = {"Effect": "Allow", "Action": ["hbr:*", "backfleet:*"], "Resource": "*"}


def deny(resource: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": "hbr:UpgradeBackupClients", "Resource": resource, **more}


@pytest.mark.parametrize("named_by", ["client", "instance", "tag"])
def test_a_client_that_the_starter_is_denied_is_left_alone(hosts: Fleet, named_by: str) -> None:
    """A Deny on the client, on its instance or on a tag of it: no order reaches it, and the rest is moved."""
    clients = hosts.grow(3)
    (kept,) = hosts.grow(1, team="shop")
    denied = {
        "client": deny(f"acs:hbr:*:*:client/{kept}"),
        "instance": deny(f"acs:ecs:*:*:instance/{hosts.instance_of(kept)}"),
        "tag": deny("*", Condition={"StringEquals": {"acs:ResourceTag/team": "shop"}}),
    }[named_by]
    ann = hosts.env.user_with("ann", ALL, denied)
    rollout = hosts.roll_out(caller=ann)
    assert hosts.run(rollout)["State"] == "completed"
    assert [hosts.helpers.client(client).version for client in (*clients, kept)] == ["2.0", "2.0", "2.0", "1.0"]
    member = hosts.members(rollout)[kept]
    assert (member["State"], member["ErrorCode"]) == ("skipped", "NoPermission")
    assert f"hbr:UpgradeBackupClients on acs:hbr:cn-hangzhou:{hosts.helpers.account}:client/{kept}" in member["Reason"]


def test_a_starter_who_may_upgrade_nothing_halts_it(hosts: Fleet) -> None:
    """Nobody gets an order."""
    hosts.grow(4)
    bob = hosts.env.user_with("bob", {**ALL, "Action": "backfleet:*"})
    assert hosts.run(hosts.roll_out(caller=bob))["State"] == "halted"
    assert hosts.env.tasks() == 0
