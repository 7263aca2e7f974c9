"""Policies that can never match say so when they are made and when they are attached."""

import json
from typing import Any

import pytest

from operations.environment import Environment

RAM = "2015-05-01"


def statement(action: str, resource: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource}


ROWS: list[tuple[str, dict[str, Any], bool]] = [
    ("everything", statement("*", "*"), True),
    ("one client", statement("hbr:UpgradeBackupClients", "acs:hbr:*:*:client/c-1"), True),
    ("one instance", statement("hbr:UpgradeBackupClients", "acs:ecs:*:*:instance/mi-1", "Deny"), True),
    ("a client of another account", statement("hbr:*", "acs:hbr:*:9999999999999999:client/*", "Deny"), True),
    ("a vault", statement("hbr:*", "acs:hbr:*:*:vault/v-1", "Deny"), False),
    ("an instance under the wrong product", statement("hbr:*", "acs:hbr:*:*:instance/mi-1", "Deny"), False),
    ("another region", statement("hbr:*", "acs:hbr:cn-beijing:*:*"), False),
    ("a task, which has no name of its own", statement("hbr:DescribeTask", "acs:hbr:*:*:client/c-1"), False),
    ("a task, by the star", statement("hbr:DescribeTask", "acs:hbr:*:*:*"), True),
    ("a command on an instance", statement("ecs:RunCommand", "acs:ecs:*:*:instance/mi-1"), True),
    ("another account's instance", statement("ecs:RunCommand", "acs:ecs:*:1:instance/mi-1"), False),
    ("a disk", statement("ecs:*", "acs:ecs:*:*:disk/d-1", "Deny"), False),
    ("an action that is not here", statement("ecs:CreateDisk", "*"), False),
    ("another product", statement("oss:*", "*"), False),
    ("oneself", statement("ram:GetUser", "acs:ram:*:*:user/${acs:UserName}"), True),
    ("a role of another account", statement("sts:AssumeRole", "acs:ram::9999999999999999:role/x"), True),
    ("all actions but one", {"Effect": "Deny", "NotAction": "ram:*", "Resource": "acs:ecs:*:*:instance/*"}, True),
]


@pytest.mark.parametrize(("one", "matches"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_a_statement_that_never_matches_is_named(env: Environment, one: dict[str, Any], matches: bool) -> None:
    """By CreatePolicy, CreatePolicyVersion and the attachments; the policy is accepted all the same."""
    document = json.dumps({"Version": "1", "Statement": [statement("hbr:*", "*"), one]})
    env.user("ann")
    answers = [
        env.ask(RAM, "CreatePolicy", PolicyName="own", PolicyDocument=document),
        env.ask(RAM, "CreatePolicyVersion", PolicyName="own", PolicyDocument=document),
        env.ask(RAM, "AttachPolicyToUser", PolicyName="own", PolicyType="Custom", UserName="ann"),
    ]
    for status, body in answers:
        assert status == 200, body
        warnings = body.get("Warnings", [])
        assert (warnings == []) is matches, warnings
        assert all("statement 2 of Custom/own" in warning for warning in warnings)


def test_a_system_policy_has_no_warnings(env: Environment) -> None:
    """Nobody here wrote it."""
    env.user("ann")
    named = {"PolicyName": "ReadOnlyAccess", "PolicyType": "System", "UserName": "ann"}
    assert env.ask(RAM, "AttachPolicyToUser", **named) == (200, {})
