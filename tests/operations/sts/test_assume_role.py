"""AssumeRole: who gets temporary credentials, what they allow, and what a refusal shows."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfleet import identity
from backfleet.identity._tables import accounts
from operations.ram.conftest import OTHER, Ram

ALL = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]


def document(*statements: Any) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


def trusting(arn: str, **more: Any) -> str:
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": arn}, **more})


class Ops:
    """An account with a read-only role `Ops` that trusts it, and a user `ann` who may assume every role."""

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.account = ram.caller.account_id
        self.arn = f"acs:ram::{self.account}:role/Ops"
        ram("CreateUser", UserName="ann")
        ram("CreatePolicy", PolicyName="assuming", PolicyDocument=document(
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
        ))  # fmt: skip
        ram("AttachPolicyToUser", PolicyName="assuming", PolicyType="Custom", UserName="ann")
        ram(
            "CreateRole",
            RoleName="Ops",
            AssumeRolePolicyDocument=trusting(f"acs:ram::{self.account}:root"),
            MaxSessionDuration="7200",
        )
        ram("AttachPolicyToRole", PolicyName="AliyunRAMReadOnlyAccess", PolicyType="System", RoleName="Ops")
        self.ann = ram.as_user("ann")

    def ask(self, caller: Ram | None = None, **fields: str) -> dict[str, Any]:
        asked = {"RoleArn": self.arn, "RoleSessionName": "night", **fields}
        return (caller or self.ann).sts("AssumeRole", **asked)


@pytest.fixture
def ops(ram: Ram) -> Ops:
    return Ops(ram)


def test_credentials_have_the_permissions_of_the_role(ops: Ops, now: datetime) -> None:
    """They show whose they are and when they end."""
    made = ops.ask()
    role_id = ops.ram("GetRole", RoleName="Ops")["Role"]["RoleId"]
    assert made["AssumedRoleUser"] == {
        "Arn": f"acs:sts::{ops.account}:assumed-role/Ops/night",
        "AssumedRoleId": f"{role_id}:night",
    }
    assert made["Credentials"]["Expiration"] == (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert made["Credentials"]["AccessKeyId"].startswith("STS.")
    session = ops.ann.with_token(made["Credentials"]["SecurityToken"])
    assert session("GetUser", UserName="ann")["User"]["UserName"] == "ann"
    assert session.refused("DeleteUser", UserName="ann") == (403, "Forbidden.RAM")
    me = session.sts("GetCallerIdentity")
    assert (me["IdentityType"], me["RoleId"]) == ("AssumedRoleUser", role_id)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"RoleArn": "Ops"}, 400, "InvalidParameter.RoleArn", id="a name"),
        pytest.param({"RoleArn": "acs:ram::1:user/ann"}, 400, "InvalidParameter.RoleArn", id="a user"),
        pytest.param({"RoleArn": "acs:ram::1:role/a/b"}, 400, "InvalidParameter.RoleArn", id="a path"),
        pytest.param({"RoleArn": "x" * 9000}, 400, "InvalidParameter", id="an endless ARN"),
        pytest.param({"RoleSessionName": "x"}, 400, "InvalidParameter.RoleSessionName", id="a short name"),
        pytest.param({"RoleSessionName": "x" * 65}, 400, "InvalidParameter.RoleSessionName", id="a long name"),
        pytest.param({"RoleSessionName": "a b"}, 400, "InvalidParameter.RoleSessionName", id="a blank in it"),
        pytest.param({"RoleSessionName": "ann\n"}, 400, "InvalidParameter.RoleSessionName", id="a line end in it"),
        pytest.param({"DurationSeconds": "899"}, 400, "InvalidParameter.DurationSeconds", id="too short"),
        pytest.param({"DurationSeconds": "7201"}, 400, "InvalidParameter.DurationSeconds", id="longer than the role"),
        pytest.param({"DurationSeconds": "9" * 18}, 400, "InvalidParameter.DurationSeconds", id="for ever"),
        pytest.param({"DurationSeconds": "1h"}, 400, "InvalidParameter", id="a duration in words"),
        pytest.param({"Policy": "{"}, 400, "InvalidParameter.PolicyGrammar", id="a policy that is no JSON"),
        pytest.param({"Policy": document({"Effect": "Allow"})}, 400, "InvalidParameter.PolicyGrammar", id="half one"),
        pytest.param({"Policy": " " * 2049}, 400, "InvalidParameter.PolicySize", id="a policy too long"),
        pytest.param({"ExternalId": "x"}, 400, "InvalidParameter.ExternalId", id="a short external id"),
        pytest.param({"SourceIdentity": "a b"}, 400, "InvalidParameter.SourceIdentity", id="a blank in the source"),
    ],
)
def test_bad_parameters_are_refused(ops: Ops, fields: dict[str, str], status: int, code: str) -> None:
    """Each with its own code."""
    refused = ops.ask(**fields)
    assert (refused["Status"], refused["Code"]) == (status, code)


@pytest.mark.parametrize("duration", ["900", "3600", "7200"])
def test_the_shortest_and_the_longest_duration(ops: Ops, now: datetime, duration: str) -> None:
    """15 minutes, and what the role allows."""
    made = ops.ask(DurationSeconds=duration)
    assert made["Credentials"]["Expiration"] == (now + timedelta(seconds=int(duration))).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_root_cannot_assume_a_role(ops: Ops) -> None:
    """Whatever the role trusts."""
    refused = ops.ask(ops.ram)
    assert (refused["Status"], refused["Code"]) == (403, "NoPermission")
    assert "root" in refused["Message"]


def test_the_user_and_the_role_must_both_allow_it(ops: Ops) -> None:
    """By the user's policies and by the role's trust policy."""
    ops.ram("CreateUser", UserName="bob")
    bob = ops.ram.as_user("bob")
    mine = ops.ask(bob)
    assert (mine["Status"], mine["Code"]) == (403, "NoPermission")
    assert mine["AccessDeniedDetail"]["PolicyType"] == "AccountLevelIdentityBasedPolicy"
    ops.ram("UpdateRole", RoleName="Ops", NewAssumeRolePolicyDocument=trusting(f"acs:ram::{ops.account}:user/bob"))
    theirs = ops.ask()
    assert (theirs["Status"], theirs["Code"]) == (403, "NoPermission")
    assert theirs["AccessDeniedDetail"]["PolicyType"] == "AssumeRolePolicy"
    ops.ram("AttachPolicyToUser", PolicyName="assuming", PolicyType="Custom", UserName="bob")
    assert "Credentials" in ops.ask(bob)


def test_letter_case_of_an_arn_does_not_matter(ops: Ops) -> None:
    """Policies are checked with the real name of the role."""
    assert "Credentials" in ops.ask(RoleArn=ops.arn.replace("Ops", "oPS"))
    ops.ram("CreatePolicy", PolicyName="not-ops", PolicyDocument=document(
        {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": ops.arn}
    ))  # fmt: skip
    ops.ram("AttachPolicyToUser", PolicyName="not-ops", PolicyType="Custom", UserName="ann")
    assert ops.ask(RoleArn=ops.arn.replace("Ops", "oPS"))["Code"] == "NoPermission"


def test_an_unknown_role_of_the_own_account_is_not_found(ops: Ops) -> None:
    """The error says so."""
    refused = ops.ask(RoleArn=ops.arn.replace("Ops", "None"))
    assert (refused["Status"], refused["Code"]) == (404, "EntityNotExist.Role")


def test_a_refusal_shows_nothing_of_another_account(ops: Ops, elsewhere: Ram) -> None:
    """One answer: for a role without trust, an unknown role, another spelling, an unknown account."""
    elsewhere("CreateRole", RoleName="Vault", AssumeRolePolicyDocument=trusting(f"acs:ram::{OTHER}:root"))

    def reply(arn: str) -> dict[str, Any]:
        answer = ops.ask(RoleArn=arn)
        answer["AccessDeniedDetail"].pop("EncodedDiagnosticMessage")
        return json.loads(json.dumps(answer).replace(arn, "ARN"))

    answers = [
        reply(f"acs:ram::{OTHER}:role/Vault"),
        reply(f"acs:ram::{OTHER}:role/vault"),
        reply(f"acs:ram::{OTHER}:role/None"),
        reply("acs:ram::1:role/Vault"),
    ]
    assert answers == [answers[0]] * 4
    assert (answers[0]["Status"], answers[0]["Code"]) == (403, "NoPermission")


def test_own_policies_show_nothing_of_another_account_either(ops: Ops, elsewhere: Ram) -> None:
    """A policy that names the role in its real spelling does not reveal that spelling."""
    elsewhere("CreateRole", RoleName="Vault", AssumeRolePolicyDocument=trusting(f"acs:ram::{ops.account}:root"))
    ops.ram("CreateUser", UserName="eve")
    ops.ram("CreatePolicy", PolicyName="lower", PolicyDocument=document(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": f"acs:ram::{OTHER}:role/vault"}
    ))  # fmt: skip
    ops.ram("AttachPolicyToUser", PolicyName="lower", PolicyType="Custom", UserName="eve")
    eve = ops.ram.as_user("eve")
    assert ops.ask(eve, RoleArn=f"acs:ram::{OTHER}:role/Vault")["Code"] == "NoPermission"
    assert ops.ask(eve, RoleArn=f"acs:ram::{OTHER}:role/none")["Code"] == "NoPermission"


def test_a_role_of_another_account_can_be_assumed(ops: Ops, elsewhere: Ram) -> None:
    """With its trust; the session acts in that account only."""
    elsewhere("CreateRole", RoleName="Vault", AssumeRolePolicyDocument=trusting(f"acs:ram::{ops.account}:user/ann"))
    elsewhere("CreateUser", UserName="theirs")
    elsewhere("AttachPolicyToRole", PolicyName="AdministratorAccess", PolicyType="System", RoleName="Vault")
    there = ops.ann.assume(f"acs:ram::{OTHER}:role/Vault")
    assert there.caller.account_id == OTHER
    assert [user["UserName"] for user in there("ListUsers")["Users"]["User"]] == ["theirs"]
    assert there.refused("GetUser", UserName="ann") == (404, "EntityNotExist.User")


def test_a_session_policy_only_restricts(ops: Ops) -> None:
    """It allows nothing that the role does not."""
    narrow = ops.ann.assume(ops.arn, Policy=document({"Effect": "Allow", "Action": "ram:ListUsers", "Resource": "*"}))
    assert narrow("ListUsers")["Users"]["User"]
    assert narrow.refused("GetUser", UserName="ann") == (403, "Forbidden.RAM")
    wide = ops.ann.assume(ops.arn, Policy=document(*ALL))
    assert wide("GetUser", UserName="ann")["User"]
    assert wide.refused("DeleteUser", UserName="ann") == (403, "Forbidden.RAM")


def test_an_external_id_must_match(ops: Ops) -> None:
    """This protects against a confused deputy."""
    agreed = trusting(f"acs:ram::{ops.account}:root", Condition={"StringEquals": {"sts:ExternalId": "agreed"}})
    ops.ram("UpdateRole", RoleName="Ops", NewAssumeRolePolicyDocument=agreed)
    assert ops.ask()["Code"] == "NoPermission"
    assert ops.ask(ExternalId="other")["Code"] == "NoPermission"
    assert "Credentials" in ops.ask(ExternalId="agreed")


def test_the_source_identity_stays(ops: Ops) -> None:
    """A session passes it on and cannot change it."""
    ops.ram("AttachPolicyToRole", PolicyName="assuming", PolicyType="Custom", RoleName="Ops")
    made = ops.ask(SourceIdentity="ann@work")
    assert made["SourceIdentity"] == "ann@work"
    session = ops.ann.with_token(made["Credentials"]["SecurityToken"])
    assert ops.ask(session)["SourceIdentity"] == "ann@work"
    refused = ops.ask(session, SourceIdentity="bob@work")
    assert (refused["Status"], refused["Code"]) == (400, "InvalidParameter.SourceIdentity")


def test_a_session_made_by_a_session_ends_with_it(ops: Ops, now: datetime) -> None:
    """Sessions cannot renew themselves for ever, and chains are limited."""
    ops.ram("AttachPolicyToRole", PolicyName="assuming", PolicyType="Custom", RoleName="Ops")
    session = ops.ann.assume(ops.arn, DurationSeconds="900")
    assert ops.ask(session, DurationSeconds="7200")["Credentials"]["Expiration"] == (
        now + timedelta(minutes=15)
    ).strftime("%Y-%m-%dT%H:%M:%SZ")
    for _ in range(3):
        session = session.assume(ops.arn)
    refused = ops.ask(session)
    assert (refused["Status"], refused["Code"]) == (409, "LimitExceeded.RoleChain")


def test_sessions_end_when_their_role_is_deleted(ops: Ops) -> None:
    """At their next request; a new role of the same name does not revive them."""
    token = ops.ask()["Credentials"]["SecurityToken"]
    ops.ram("DetachPolicyFromRole", PolicyName="AliyunRAMReadOnlyAccess", PolicyType="System", RoleName="Ops")
    ops.ram("DeleteRole", RoleName="Ops")
    ops.ram("CreateRole", RoleName="Ops", AssumeRolePolicyDocument=trusting(f"acs:ram::{ops.account}:root"))
    with ops.ram.services.database.reading() as tx:
        assert identity.session_caller(tx, identity.open_token(ops.ram.services.vault, token), now=ops.ram.now) is None


def test_secrets_and_tokens_are_in_no_table(ops: Ops) -> None:
    """Not of a session that was just made."""
    made = ops.ask(Policy=document(*ALL))["Credentials"]
    with ops.ram.services.database.reading() as tx:
        kept = [str(row) for table in accounts.metadata.sorted_tables for row in tx.rows(table.select())]
    assert not [row for row in kept if made["AccessKeySecret"] in row or made["SecurityToken"] in row]
