"""Policies that ask for tags: of what a call touches, and of what it brings along."""

import json
from typing import Any

import pytest

from backfleet import identity
from backfleet.operations.catalogue import ECS
from operations.environment import OTHER, REGION, Environment

WEB = {"StringEquals": {"acs:ResourceTag/team": "web"}}


def allow(action: str, condition: Any = None, effect: str = "Allow") -> dict[str, Any]:
    more = {} if condition is None else {"Condition": condition}
    return {"Effect": effect, "Action": action, "Resource": "*", **more}


class Tagged:
    """Two instances, one of them with the tag of the web team, and a user whom the test gives a policy."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.web, self.shop = env.host(), env.host()
        self.tag(self.web, "team", "web")

    def tag(self, instance_id: str, key: str, value: str) -> None:
        status, body = self.ask(
            "TagResources",
            ResourceType="instance",
            **{"ResourceId.1": instance_id, "Tag.1.Key": key, "Tag.1.Value": value},
        )
        assert status == 200, body

    def ask(self, action: str, caller: identity.Caller | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
        return self.env.ask(ECS.version, action, caller, RegionId=REGION, **fields)

    def who_may(self, *statements: dict[str, Any]) -> identity.Caller:
        services, now, account = self.env.services, self.env.now, self.env.root.account_id
        caller = self.env.user("ann")
        text = json.dumps({"Version": "1", "Statement": list(statements)})
        with services.database.transaction() as tx:
            identity.create_policy(tx, account, "anns", text, description="", now=now)
            identity.attach_policy(tx, account, "ann", "anns", "Custom", now=now)
        return caller

    def rename(self, caller: identity.Caller, instance_id: str) -> int:
        return self.ask("ModifyManagedInstance", caller, InstanceId=instance_id, InstanceName="renamed")[0]


@pytest.fixture
def tagged(env: Environment) -> Tagged:
    return Tagged(env)


@pytest.mark.parametrize("key", ["acs:ResourceTag/team", "ecs:tag/team", "ACS:resourcetag/team"])
def test_a_policy_applies_to_instances_with_a_tag(tagged: Tagged, key: str) -> None:
    """With either condition key; once the tag changes, the permission is gone."""
    ann = tagged.who_may(allow("ecs:*", {"StringEquals": {key: "web"}}))
    assert (tagged.rename(ann, tagged.web), tagged.rename(ann, tagged.shop)) == (200, 403)
    tagged.tag(tagged.web, "team", "shop")
    assert tagged.rename(ann, tagged.web) == 403


def test_a_denied_tag_outweighs_an_allowed_one(tagged: Tagged) -> None:
    """For instances that have it, and for no others."""
    ann = tagged.who_may(allow("ecs:*"), allow("ecs:Modify*", WEB, "Deny"))
    assert (tagged.rename(ann, tagged.web), tagged.rename(ann, tagged.shop)) == (403, 200)


def test_one_instance_without_the_tag_refuses_the_call(tagged: Tagged) -> None:
    """The command itself, which has no tags, needs a statement of its own."""
    command = {**allow("ecs:RunCommand"), "Resource": "acs:ecs:*:*:command/*"}
    ann = tagged.who_may(allow("ecs:RunCommand", WEB), command)
    reply = {}
    for name, ids in (("both", [tagged.web, tagged.shop]), ("the other", [tagged.shop]), ("the tagged", [tagged.web])):
        fields = {f"InstanceId.{number}": instance_id for number, instance_id in enumerate(ids, 1)}
        reply[name] = tagged.ask("RunCommand", ann, Type="RunShellScript", CommandContent="echo", **fields)[0]
    assert reply == {"both": 403, "the other": 403, "the tagged": 200}


def test_a_session_policy_can_ask_for_tags(tagged: Tagged) -> None:
    """Within the permissions of the role."""
    caller = tagged.who_may(allow("ecs:*"))
    role_session = identity.Session("Ops", "night", json.dumps({"Version": "1", "Statement": [allow("ecs:*", WEB)]}))
    services, account = tagged.env.services, tagged.env.root.account_id
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{account}:root"}}
    with services.database.transaction() as tx:
        document = json.dumps({"Version": "1", "Statement": [trust]})
        role = identity.create_role(tx, account, "Ops", document, now=tagged.env.now, draw=services.draw)
        identity.attach_policy(tx, account, "Ops", "AliyunECSFullAccess", "System", to="Role", now=tagged.env.now)
    session = identity.Caller(
        account, "AssumedRoleUser", f"acs:sts::{account}:assumed-role/Ops/night", f"{role.id}:night",
        role_id=role.id, session=role_session,
    )  # fmt: skip
    assert (tagged.rename(session, tagged.web), tagged.rename(session, tagged.shop)) == (200, 403)
    assert tagged.rename(caller, tagged.shop) == 200


def test_a_policy_can_ask_for_tags_in_the_request(tagged: Tagged) -> None:
    """Here activations of the own team only may be made."""
    ann = tagged.who_may(allow("ecs:CreateActivation", {"StringEquals": {"acs:RequestTag/team": "web"}}))
    for value, status in (("web", 200), ("shop", 403)):
        fields = {"Tag.1.Key": "team", "Tag.1.Value": value}
        assert tagged.ask("CreateActivation", ann, **fields)[0] == status
    assert tagged.ask("CreateActivation", ann)[0] == 403


def test_tag_keys_are_case_sensitive(tagged: Tagged) -> None:
    """`Team` is another tag than `team`."""
    ann = tagged.who_may(allow("ecs:*", {"StringEquals": {"acs:ResourceTag/Team": "web"}}))
    assert tagged.rename(ann, tagged.web) == 403


def test_tags_of_another_account_decide_nothing(tagged: Tagged) -> None:
    """Its instance with our tag is refused like an unknown one."""
    theirs = tagged.env.host(account=OTHER)
    fields = {"ResourceType": "instance", "ResourceId.1": theirs, "Tag.1.Key": "team", "Tag.1.Value": "web"}
    assert tagged.env.ask(ECS.version, "TagResources", tagged.env.other_account, RegionId=REGION, **fields)[0] == 200
    ann = tagged.who_may(allow("ecs:*", WEB))
    assert tagged.rename(ann, theirs) == tagged.rename(ann, "mi-none") == 403
