"""Who may do what, and which statement says so: GetPermissionDecision, beside what a real call gets."""

import json
from typing import Any

import pytest

from operations.environment import OTHER, Environment

RAM = "2015-05-01"


def decide(env: Environment, **fields: Any) -> dict[str, Any]:
    status, body = env.ask(RAM, "GetPermissionDecision", **fields)
    assert status == 200, body
    return body


def test_the_statement_that_decides_is_named_and_a_real_call_is_decided_alike(env: Environment) -> None:
    """Allowed, denied by a statement, allowed by none; through a group, and for a role."""
    _, client = env.host_with_client()
    arn = f"acs:hbr:cn-hangzhou:{env.root.account_id}:client/{client}"
    ann = env.user_with(
        "ann",
        {"Effect": "Allow", "Action": "backfleet:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "hbr:Describe*", "Resource": "*"},
        {"Effect": "Deny", "Action": "hbr:Describe*", "Resource": "*",
         "Condition": {"IpAddress": {"acs:SourceIp": "10.0.0.0/8"}}},
    )  # fmt: skip
    asked = {"UserName": "ann", "ActionName": "hbr:DescribeBackupClients", "Resource": arn}
    found = decide(env, **asked)
    assert (found["Decision"], found["Principal"]) == ("Allow", ann.arn)
    assert found["MatchedStatement"] == {
        "PolicyType": "Custom", "PolicyName": "ann-policy", "Statement": 2, "Effect": "Allow"
    }  # fmt: skip
    assert found["MissingConditionKeys"] == ["acs:sourceip"]
    denied = decide(env, **asked, Conditions={"acs:SourceIp": "10.0.0.7"})
    assert (denied["Decision"], denied["MatchedStatement"]["Statement"]) == ("ExplicitDeny", 3)
    assert denied["MissingConditionKeys"] == []
    assert "statement 3 of Custom/ann-policy" in denied["Reason"]
    assert env.ask("2017-09-08", "DescribeBackupClients", ann, ClientType="ECS_CLIENT")[0] == 403, "asks from 10.0.0.7"
    none = decide(env, UserName="ann", ActionName="hbr:UpgradeBackupClients")
    assert (none["Decision"], none.get("MatchedStatement")) == ("ImplicitDeny", None)
    assert "No policy of" in none["Reason"]
    env.ask(RAM, "CreateGroup", GroupName="ops")
    env.ask(RAM, "AddUserToGroup", GroupName="ops", UserName="ann")
    env.ask(RAM, "AttachPolicyToGroup", GroupName="ops", PolicyType="System", PolicyName="AdministratorAccess")
    grouped = decide(env, UserName="ann", ActionName="hbr:UpgradeBackupClients")
    assert grouped["MatchedStatement"]["PolicyName"] == "AdministratorAccess"


def test_tags_of_the_accounts_resources_count_and_roles_and_the_account_itself_can_be_asked(env: Environment) -> None:
    trust = json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                        "Principal": {"RAM": f"acs:ram::{env.root.account_id}:root"}}]})  # fmt: skip
    env.ask(RAM, "CreateRole", RoleName="Ops", AssumeRolePolicyDocument=trust)
    env.ask(RAM, "AttachPolicyToRole", RoleName="Ops", PolicyType="System", PolicyName="ReadOnlyAccess")
    assert decide(env, RoleName="Ops", ActionName="hbr:DescribeTask")["Allowed"]
    assert not decide(env, RoleName="Ops", ActionName="hbr:CancelTask")["Allowed"]
    assert decide(env, ActionName="hbr:CancelTask")["Reason"].endswith("is the account itself.")
    assert decide(env, ActionName="hbr:CancelTask", Resource=f"acs:hbr:*:{OTHER}:*")["Allowed"] is False


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"UserName": "nobody"}, 404, "EntityNotExist.User"),
        ({"RoleName": "nobody"}, 404, "EntityNotExist.Role"),
        ({"UserName": "a", "RoleName": "b"}, 400, "InvalidParameter"),
        ({"UserName": "not a name!"}, 400, "InvalidParameter.UserName.InvalidChars"),
        ({"ActionName": "nonsense"}, 400, "InvalidParameter"),
        ({"Conditions": {"acs:SourceIp": ["10.0.0.1"]}}, 400, "InvalidParameter"),
        ({"Conditions": {"x": "y" * 300}}, 400, "InvalidParameter"),
        ({"Conditions": {str(number): "" for number in range(21)}}, 400, "InvalidParameter"),
    ],
)
def test_what_cannot_be_decided_is_refused(env: Environment, fields: dict[str, Any], status: int, code: str) -> None:
    env.user("ann")
    found = env.ask(RAM, "GetPermissionDecision", **{"ActionName": "hbr:DescribeTask", **fields})
    assert (found[0], found[1]["Code"]) == (status, code)


def test_nobody_learns_of_another_accounts_people_or_of_policies_they_may_not_see(env: Environment) -> None:
    ann = env.user("ann", "BackfleetFullAccess")
    asked = {"UserName": "ann", "ActionName": "hbr:DescribeTask"}
    assert env.ask(RAM, "GetPermissionDecision", ann, **asked)[0] == 403
    status, body = env.ask(RAM, "GetPermissionDecision", env.other_account, **asked)
    assert (status, body["Code"]) == (404, "EntityNotExist.User")
    reader = env.user("reader", "AliyunRAMReadOnlyAccess")
    assert env.ask(RAM, "GetPermissionDecision", reader, **asked)[0] == 200


def test_what_belongs_to_every_account_is_decided_for_the_administrator_account_alone(env: Environment) -> None:
    asked = {"ActionName": "backfleet:AddRelease"}
    assert decide(env, **asked)["Allowed"]
    status, body = env.ask(RAM, "GetPermissionDecision", env.other_account, **asked)
    assert (status, body["Allowed"]) == (200, False)
    assert "only the administrator account" in body["Reason"]


@pytest.mark.parametrize(
    ("action", "warning"),
    [
        ("hbr:UpgradeBackupClients", ""),
        ("HBR:upgradebackupclients", ""),
        ("hbr:UpgradeBackupClinets", "did you mean hbr:UpgradeBackupClients?"),
        ("ram:UpgradeBackupClients", "did you mean hbr:UpgradeBackupClients?"),
        ("oss:Xyz", "No operation of this server has the action oss:Xyz"),
    ],
)
def test_an_action_that_no_operation_has_is_named(env: Environment, action: str, warning: str) -> None:
    """It is decided all the same: a policy may be for another product of the cloud."""
    found = decide(env, ActionName=action)
    assert found["Allowed"]
    assert found["Warning"].endswith(warning)
    assert bool(found["Warning"]) == bool(warning)
