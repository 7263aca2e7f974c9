"""Decisions of the policy language, row by row. A new rule is a new row."""

import json
from typing import Any

import pytest

from backfleet.identity.policy import Decision, Permissions, decide, parse_document, root_statement

ALLOW, DENY, DEFAULT = "allowed", "denied", "refused by default"

UPGRADE = "hbr:UpgradeBackupClients"
ALL_OF_HBR = "acs:hbr:cn-hangzhou:1234567890123456:*"
INSTANCE = "acs:ecs:cn-hangzhou:1234567890123456:instance/i-1"
USER = "acs:ram::1234567890123456:user/alice"
REQUEST = {
    "acs:CurrentTime": "2026-01-02T03:04:05Z",
    "acs:SourceIp": "10.0.0.7",
    "acs:SecureTransport": "true",
    "acs:MFAPresent": "false",
    "acs:PrincipalARN": "acs:ram::1234567890123456:user/alice",
}


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def all_but(effect: str, action: Any, resource: Any = "*") -> dict[str, Any]:
    return {"Effect": effect, "NotAction": action, "Resource": resource}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


def outcome(decision: Decision) -> str:
    if decision.allowed:
        return ALLOW
    return DENY if decision.explicit_deny else DEFAULT


BY_TLS = {"Condition": {"Bool": {"acs:SecureTransport": "true"}}}
NOT_BY_TLS = {"Condition": {"Bool": {"acs:SecureTransport": "false"}}}
FROM_INSIDE = {"Condition": {"IpAddress": {"acs:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}}
FROM_OUTSIDE = {"Condition": {"NotIpAddress": {"acs:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}}
INSIDE_AND_LATE = {
    "Condition": {
        "IpAddress": {"acs:SourceIp": "10.0.0.0/8"},
        "DateGreaterThan": {"acs:CurrentTime": "2027-01-01T00:00:00Z"},
    }
}
INSIDE_AND_EARLY = {
    "Condition": {
        "IpAddress": {"acs:SourceIp": "10.0.0.0/8"},
        "DateLessThan": {"acs:CurrentTime": "2027-01-01T00:00:00Z"},
    }
}
TWO_KEYS_ONE_WRONG = {
    "Condition": {"StringLike": {"acs:PrincipalARN": "*:user/alice", "acs:Service": "hbr.aliyuncs.com"}},
}
TWO_KEYS_BOTH_RIGHT = {"Condition": {"Bool": {"acs:SecureTransport": "true", "acs:MFAPresent": "false"}}}

ASSUME, ROLE = "sts:AssumeRole", "acs:ram::6543210987654321:role/Backup"


def BY_PRINCIPAL(pattern: str) -> dict[str, Any]:  # noqa: N802 - a condition like those above
    return {"Condition": {"StringLike": {"acs:PrincipalARN": pattern}}}


DECISIONS: list[tuple[str, list[dict[str, Any]], str, str, str]] = [
    # (what it shows, statements, action, resource, decision)
    # --- Effects and their order
    ("the default is refusal", [allow("ram:*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("an allow allows", [allow(UPGRADE)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a deny denies", [deny(UPGRADE)], UPGRADE, ALL_OF_HBR, DENY),
    ("a deny after an allow wins", [allow(), deny(UPGRADE)], UPGRADE, ALL_OF_HBR, DENY),
    ("a deny before an allow wins", [deny(UPGRADE), allow()], UPGRADE, ALL_OF_HBR, DENY),
    ("a deny of something else does nothing", [allow(), deny("hbr:Describe*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a deny on another resource does nothing", [allow(), deny("*", INSTANCE)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("two allows are no more than one", [allow(UPGRADE), allow(UPGRADE)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("one deny outweighs many allows", [allow(), allow(), allow(), deny()], UPGRADE, ALL_OF_HBR, DENY),
    # --- Actions
    ("a star alone is every action", [allow("*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("every operation of a service", [allow("hbr:*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("another service's star", [allow("ecs:*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("a prefix", [allow("hbr:Upgrade*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a suffix", [allow("hbr:*Clients")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a star in the middle", [allow("hbr:Up*Clients")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a star that stands for nothing", [allow("hbr:Upgrade*BackupClients")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a star across the colon", [allow("h*Clients:*")], "hbr:Clients:x", ALL_OF_HBR, ALLOW),
    ("a prefix is not the whole", [allow("hbr:UpgradeBackupClient")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("the whole is not a prefix", [allow("hbr:UpgradeBackupClientsNow")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("a question mark is one character", [allow("hbr:UpgradeBackupClient?")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a question mark is not none", [allow("hbr:UpgradeBackupClients?")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("a question mark is not two", [allow("hbr:UpgradeBackupClie?")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("actions in lower case", [allow("hbr:upgradebackupclients")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("actions in upper case", [allow("HBR:UPGRADEBACKUPCLIENTS")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("denied actions in any case", [allow(), deny("HBR:upgrade*")], UPGRADE, ALL_OF_HBR, DENY),
    ("one of a list", [allow(["ecs:RunCommand", UPGRADE])], UPGRADE, ALL_OF_HBR, ALLOW),
    ("none of a list", [allow(["ecs:RunCommand", "hbr:Describe*"])], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("a bracket is only a bracket", [allow(UPGRADE, "acs:hbr:[a-z]*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    # --- NotAction
    ("all but something else", [all_but("Allow", "ram:*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("all but this", [all_but("Allow", UPGRADE)], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("all but this, in any case", [all_but("Allow", "HBR:UPGRADE*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("all but one of a list", [all_but("Allow", ["ram:*", UPGRADE])], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("all but everything is nothing", [all_but("Allow", "*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("deny all but something else", [allow(), all_but("Deny", "ram:*")], UPGRADE, ALL_OF_HBR, DENY),
    ("deny all but this", [allow(), all_but("Deny", "hbr:*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("all but this elsewhere", [all_but("Allow", "ram:*", INSTANCE)], UPGRADE, ALL_OF_HBR, DEFAULT),
    # --- Resources
    ("a star alone is every resource", [allow(UPGRADE, "*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("every resource of a service", [allow(UPGRADE, "acs:hbr:*:*:*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("of any region", [allow(UPGRADE, "acs:hbr:*:1234567890123456:*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("of another region", [allow(UPGRADE, "acs:hbr:cn-beijing:*:*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("of another account", [allow(UPGRADE, "acs:hbr:*:6543210987654321:*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("one vault is not all of a service", [allow(UPGRADE, "acs:hbr:*:*:vault/v-1")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("every vault is not all of a service", [allow(UPGRADE, "acs:hbr:*:*:vault/*")], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("a deny on a vault leaves the rest", [allow(), deny("*", "acs:hbr:*:*:vault/*")], UPGRADE, ALL_OF_HBR, ALLOW),
    ("one instance", [allow("ecs:*", INSTANCE)], "ecs:RunCommand", INSTANCE, ALLOW),
    ("another instance", [allow("ecs:*", f"{INSTANCE}0")], "ecs:RunCommand", INSTANCE, DEFAULT),
    ("every instance", [allow("ecs:*", "acs:ecs:*:*:instance/*")], "ecs:RunCommand", INSTANCE, ALLOW),
    ("one of a list of resources", [allow("*", [USER, INSTANCE])], "ecs:RunCommand", INSTANCE, ALLOW),
    ("a star across slashes", [allow("*", "acs:ecs:*:*:inst*-1")], "ecs:RunCommand", INSTANCE, ALLOW),
    ("a star across colons", [allow("*", "acs:ecs:*instance/i-1")], "ecs:RunCommand", INSTANCE, ALLOW),
    ("a star is every region, also none", [allow("*", "acs:ram:*:*:user/alice")], "ram:GetUser", USER, ALLOW),
    ("a question mark in a resource", [allow("*", "acs:ram::*:user/al?ce")], "ram:GetUser", USER, ALLOW),
    ("resources have letter case", [allow("*", "acs:ram::*:user/Alice")], "ram:GetUser", USER, DEFAULT),
    (
        "resources have letter case, denied too",
        [allow(), deny("*", "acs:ram::*:user/ALICE")],
        "ram:GetUser",
        USER,
        ALLOW,
    ),
    ("a dot is only a dot", [allow("*", "acs:ram::*:user/al.ce")], "ram:GetUser", USER, DEFAULT),
    ("a newline is a character like others", [allow("*", "acs:x:*:end")], "ram:GetUser", "acs:x:a\nb:end", ALLOW),
    # --- Conditions combined
    ("a condition that holds", [allow(**BY_TLS)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a condition that does not hold", [allow(**NOT_BY_TLS)], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("a deny whose condition holds", [allow(), deny(**BY_TLS)], UPGRADE, ALL_OF_HBR, DENY),
    ("a deny whose condition does not hold", [allow(), deny(**NOT_BY_TLS)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("one of several values is enough", [allow(**FROM_INSIDE)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("a negated operator wants none of them", [allow(**FROM_OUTSIDE)], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("deny whoever comes from outside", [allow(), deny(**FROM_OUTSIDE)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("operators are AND: one is wrong", [allow(**INSIDE_AND_LATE)], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("operators are AND: both are right", [allow(**INSIDE_AND_EARLY)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("keys are AND: one is absent", [allow(**TWO_KEYS_ONE_WRONG)], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("keys are AND: both are right", [allow(**TWO_KEYS_BOTH_RIGHT)], UPGRADE, ALL_OF_HBR, ALLOW),
    ("no condition at all", [allow(Condition={})], UPGRADE, ALL_OF_HBR, ALLOW),
    ("the action must match too", [allow("ram:*", **BY_TLS)], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("the resource must match too", [allow("*", INSTANCE, **BY_TLS)], UPGRADE, ALL_OF_HBR, DEFAULT),
    # --- Roles
    ("one role", [allow(ASSUME, ROLE)], ASSUME, ROLE, ALLOW),
    ("another role", [allow(ASSUME, ROLE)], ASSUME, f"{ROLE}2", DEFAULT),
    ("a role by other letters", [allow(ASSUME, ROLE.lower())], ASSUME, ROLE, DEFAULT),
    ("every role of one account", [allow(ASSUME, "acs:ram::6543210987654321:role/*")], ASSUME, ROLE, ALLOW),
    ("every role of another account", [allow(ASSUME, "acs:ram::1234567890123456:role/*")], ASSUME, ROLE, DEFAULT),
    ("every role anywhere", [allow("sts:AssumeRole", "acs:ram:*:*:role/*")], ASSUME, ROLE, ALLOW),
    ("every role but one", [allow("sts:*"), deny(ASSUME, ROLE)], ASSUME, ROLE, DENY),
    ("a user of that name is no role", [allow(ASSUME, ROLE.replace("role", "user"))], ASSUME, ROLE, DEFAULT),
    # --- What a session is called
    ("by the role's ARN", [allow(**BY_PRINCIPAL("acs:ram::*:user/alice"))], UPGRADE, ALL_OF_HBR, ALLOW),
    ("sessions only", [allow(**BY_PRINCIPAL("acs:ram::*:role/*"))], UPGRADE, ALL_OF_HBR, DEFAULT),
    ("no sessions", [allow(), deny(**BY_PRINCIPAL("acs:ram::*:role/*"))], UPGRADE, ALL_OF_HBR, ALLOW),
    ("no users", [allow(), deny(**BY_PRINCIPAL("acs:ram::*:user/*"))], UPGRADE, ALL_OF_HBR, DENY),
]


@pytest.mark.parametrize(
    ("statements", "action", "resource", "expected"), [pytest.param(*row[1:], id=row[0]) for row in DECISIONS]
)
def test_statements_lead_to_the_decision(
    statements: list[dict[str, Any]], action: str, resource: str, expected: str
) -> None:
    """Each rule of the language has a row."""
    assert outcome(decide(parse_document(document(*statements)), action, resource, REQUEST)) == expected


ARN = "acs:ram::1234567890123456:user/alice"
NOON, LATER = "2026-01-02T12:00:00Z", "2026-01-02T12:00:01Z"
ABSENT = None

CONDITIONS: list[tuple[str, str, Any, str | None, bool]] = [
    # (operator, key, the policy's value or values, the request's value, does it hold?)
    ("StringEquals", "acs:PrincipalARN", ARN, ARN, True),
    ("StringEquals", "acs:PrincipalARN", ARN.upper(), ARN, False),
    ("StringEquals", "acs:PrincipalARN", "acs:ram::*", ARN, False),
    ("StringEquals", "acs:PrincipalARN", ["x", ARN], ARN, True),
    ("StringEquals", "acs:PrincipalARN", ARN, ABSENT, False),
    ("StringEquals", "acs:PrincipalARN", "", "", True),
    ("StringNotEquals", "acs:PrincipalARN", ARN, ARN, False),
    ("StringNotEquals", "acs:PrincipalARN", "x", ARN, True),
    ("StringNotEquals", "acs:PrincipalARN", ["x", ARN], ARN, False),
    ("StringNotEquals", "acs:PrincipalARN", ["x", "y"], ARN, True),
    ("StringNotEquals", "acs:PrincipalARN", ARN, ABSENT, True),
    ("StringEqualsIgnoreCase", "acs:PrincipalARN", ARN.upper(), ARN, True),
    ("StringEqualsIgnoreCase", "acs:PrincipalARN", "x", ARN, False),
    ("StringEqualsIgnoreCase", "acs:PrincipalARN", "a", ARN, False),  # one before it in the alphabet, one after it
    ("StringEquals", "acs:PrincipalARN", "a", ARN, False),
    ("StringEqualsIgnoreCase", "acs:PrincipalARN", ARN, ABSENT, False),
    ("StringNotEqualsIgnoreCase", "acs:PrincipalARN", ARN.upper(), ARN, False),
    ("StringNotEqualsIgnoreCase", "acs:PrincipalARN", ["x", "y"], ARN, True),
    ("StringNotEqualsIgnoreCase", "acs:PrincipalARN", ARN, ABSENT, True),
    ("StringLike", "acs:PrincipalARN", "acs:ram::*:user/*", ARN, True),
    ("StringLike", "acs:PrincipalARN", "acs:ram::*:user/al?ce", ARN, True),
    ("StringLike", "acs:PrincipalARN", "acs:ram::*:role/*", ARN, False),
    ("StringLike", "acs:PrincipalARN", "ACS:RAM::*", ARN, False),
    ("StringLike", "acs:PrincipalARN", "*", "", True),
    ("StringLike", "acs:PrincipalARN", "*", ABSENT, False),
    ("StringNotLike", "acs:PrincipalARN", "acs:ram::*:user/*", ARN, False),
    ("StringNotLike", "acs:PrincipalARN", ["*:role/*", "*:user/*"], ARN, False),
    ("StringNotLike", "acs:PrincipalARN", "*:role/*", ARN, True),
    ("StringNotLike", "acs:PrincipalARN", "*", ABSENT, True),
    ("NumericEquals", "oss:Part", "10", "10", True),
    ("NumericEquals", "oss:Part", "10", "10.0", True),
    ("NumericEquals", "oss:Part", 10, "10", True),
    ("NumericEquals", "oss:Part", 1.5, "1.50", True),
    ("NumericEquals", "oss:Part", "0.1", "0.10000000000000001", False),
    ("NumericEquals", "oss:Part", "10", "11", False),
    ("NumericEquals", "oss:Part", "10", "ten", False),
    ("NumericEquals", "oss:Part", "10", ABSENT, False),
    ("NumericNotEquals", "oss:Part", "10", "11", True),
    ("NumericNotEquals", "oss:Part", ["10", "11"], "11", False),
    ("NumericNotEquals", "oss:Part", "10", ABSENT, True),
    ("NumericLessThan", "oss:Part", "10", "9", True),
    ("NumericLessThan", "oss:Part", "10", "10", False),
    ("NumericLessThan", "oss:Part", "9", "10", False),
    ("NumericLessThan", "oss:Part", "10", "nan", False),
    ("NumericLessThanEquals", "oss:Part", "10", "10", True),
    ("NumericLessThanEquals", "oss:Part", "10", "-1e3", True),
    ("NumericLessThanEquals", "oss:Part", "10", "10.01", False),
    ("NumericGreaterThan", "oss:Part", "10", "11", True),
    ("NumericGreaterThan", "oss:Part", "10", "10", False),
    ("NumericGreaterThan", "oss:Part", "10", ABSENT, False),
    ("NumericGreaterThanEquals", "oss:Part", "10", "10", True),
    ("NumericGreaterThanEquals", "oss:Part", ["20", "10"], "15", True),
    ("NumericGreaterThanEquals", "oss:Part", "10", "9.99", False),
    ("DateEquals", "acs:CurrentTime", NOON, NOON, True),
    ("DateEquals", "acs:CurrentTime", "2026-01-02T20:00:00+08:00", NOON, True),
    ("DateEquals", "acs:CurrentTime", NOON, LATER, False),
    ("DateEquals", "acs:CurrentTime", NOON, "noon", False),
    ("DateNotEquals", "acs:CurrentTime", NOON, LATER, True),
    ("DateNotEquals", "acs:CurrentTime", NOON, NOON, False),
    ("DateNotEquals", "acs:CurrentTime", NOON, ABSENT, True),
    ("DateLessThan", "acs:CurrentTime", LATER, NOON, True),
    ("DateLessThan", "acs:CurrentTime", NOON, NOON, False),
    ("DateLessThan", "acs:CurrentTime", NOON, ABSENT, False),
    ("DateLessThanEquals", "acs:CurrentTime", NOON, NOON, True),
    ("DateLessThanEquals", "acs:CurrentTime", NOON, LATER, False),
    ("DateGreaterThan", "acs:CurrentTime", NOON, LATER, True),
    ("DateGreaterThan", "acs:CurrentTime", "2026-01-02T20:00:00+08:00", NOON, False),
    ("DateGreaterThanEquals", "acs:CurrentTime", NOON, NOON, True),
    ("DateGreaterThanEquals", "acs:CurrentTime", LATER, NOON, False),
    ("Bool", "acs:SecureTransport", "true", "true", True),
    ("Bool", "acs:SecureTransport", "True", "true", True),
    ("Bool", "acs:SecureTransport", True, "true", True),
    ("Bool", "acs:SecureTransport", False, "true", False),
    ("Bool", "acs:SecureTransport", "true", "false", False),
    ("Bool", "acs:MFAPresent", "false", "false", True),
    ("Bool", "acs:MFAPresent", "false", "no", False),
    ("Bool", "acs:MFAPresent", "false", ABSENT, False),
    ("IpAddress", "acs:SourceIp", "10.0.0.7", "10.0.0.7", True),
    ("IpAddress", "acs:SourceIp", "10.0.0.0/8", "10.255.255.255", True),
    ("IpAddress", "acs:SourceIp", "10.0.0.0/8", "11.0.0.0", False),
    ("IpAddress", "acs:SourceIp", "10.1.2.3/8", "10.9.9.9", True),
    ("IpAddress", "acs:SourceIp", ["192.168.0.0/16", "10.0.0.0/8"], "10.0.0.1", True),
    ("IpAddress", "acs:SourceIp", "0.0.0.0/0", "203.0.113.9", True),
    ("IpAddress", "acs:SourceIp", "10.0.0.0/8", "::ffff:10.0.0.7", True),
    ("IpAddress", "acs:SourceIp", "::ffff:10.0.0.0/90", "10.0.0.7", True),
    ("IpAddress", "acs:SourceIp", "::ffff:0:0/80", "::ffff:10.0.0.7", True),
    ("NotIpAddress", "acs:SourceIp", "::ffff:0:0/80", "10.0.0.7", False),
    ("IpAddress", "acs:SourceIp", "::/0", "10.0.0.7", False),
    ("IpAddress", "acs:SourceIp", "2001:db8::/32", "2001:db8::1", True),
    ("IpAddress", "acs:SourceIp", "2001:db8::/32", "10.0.0.7", False),
    ("IpAddress", "acs:SourceIp", "0.0.0.0/0", "2001:db8::1", False),
    ("IpAddress", "acs:SourceIp", "10.0.0.0/8", "", False),
    ("IpAddress", "acs:SourceIp", "0.0.0.0/0", ABSENT, False),
    ("NotIpAddress", "acs:SourceIp", "10.0.0.0/8", "10.0.0.7", False),
    ("NotIpAddress", "acs:SourceIp", "10.0.0.0/8", "11.0.0.7", True),
    ("NotIpAddress", "acs:SourceIp", ["11.0.0.0/8", "10.0.0.0/8"], "10.0.0.7", False),
    ("NotIpAddress", "acs:SourceIp", "10.0.0.0/8", ABSENT, True),
    ("StringEquals", "ACS:principalarn", ARN, ARN, True),
    ("StringEquals", "acs:ResourceTag/Env", "prod", "prod", True),
    ("StringLike", "ecs:tag/role", "web-*", "web-1", True),
    ("StringEquals", "sts:ExternalId", "abc", "abc", True),
    ("StringLike", "acs:SourceIp", "10.*", "10.0.0.7", True),
]


@pytest.mark.parametrize(("operator", "key", "values", "given", "holds"), CONDITIONS)
def test_a_condition_holds_or_not(operator: str, key: str, values: Any, given: str | None, holds: bool) -> None:
    """Each operator with its type, with several values, and with the key absent."""
    written = document(allow(Condition={operator: {key: values}}), deny("x:Never"))
    request = {} if given is None else {key: given}
    assert decide(parse_document(written), UPGRADE, ALL_OF_HBR, request).allowed is holds


def test_the_letter_case_of_tag_names_matters() -> None:
    """`Env` and `env` are two tags, though `acs:` and `ACS:` are one service."""
    statements = parse_document(document(allow(Condition={"StringEquals": {"acs:ResourceTag/Env": "prod"}})))
    assert decide(statements, UPGRADE, ALL_OF_HBR, {"ACS:resourcetag/Env": "prod"}).allowed
    assert not decide(statements, UPGRADE, ALL_OF_HBR, {"acs:ResourceTag/env": "prod"}).allowed


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        pytest.param("acs:hbr:cn-hangzhou:1234567890123456:*", True, id="its own"),
        pytest.param("*", True, id="no resource in particular"),
        pytest.param("acs:ram::system:policy/AdministratorAccess", True, id="the system's policies"),
        pytest.param("acs:hbr:cn-hangzhou:6543210987654321:*", False, id="another account's"),
        pytest.param(
            "acs:ecs:r:6543210987654321:instance/i:1234567890123456:x", False, id="an id that plays an account"
        ),
        pytest.param("acs:ecs", False, id="not an ARN"),
    ],
)
def test_a_root_may_do_everything_in_its_account(resource: str, allowed: bool) -> None:
    """And nothing in another."""
    assert decide([root_statement("1234567890123456")], "ecs:RunCommand", resource, {}).allowed is allowed


@pytest.mark.parametrize(
    ("resource", "is_allowed"),
    [
        pytest.param("acs:oss:*:1234567890123456:bucket/a:b:c", True, id="an id with colons"),
        pytest.param(
            "acs:oss:*:9:bucket/a:1234567890123456:c", False, id="another account's, which names ours in its id"
        ),
        pytest.param("acs:oss:*:1234567890123456", False, id="an ARN without an id"),
    ],
)
def test_a_roots_account_is_the_fourth_part_of_the_arn(resource: str, is_allowed: bool) -> None:
    """Whatever the id after it looks like, which a caller may have chosen."""
    assert decide([root_statement("1234567890123456")], "oss:GetObject", resource, {}).allowed is is_allowed


@pytest.mark.parametrize("layer", ["own", "within"])
@pytest.mark.parametrize(
    ("key", "depends"),
    [("acs:ResourceTag/env", True), ("ACS:resourcetag/env", True), ("acs:SourceIp", False), (None, False)],
)
def test_tags_are_looked_up_only_if_a_condition_asks_for_them(layer: str, key: str | None, depends: bool) -> None:
    """In the caller's own policies or in that of the session."""
    operator, value = ("IpAddress", "10.0.0.0/8") if key == "acs:SourceIp" else ("StringEquals", "x")
    condition = {"Condition": {operator: {key: value}}} if key else {}
    text = json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", **condition}]})
    found = tuple(parse_document(text))
    permissions = Permissions(found) if layer == "own" else Permissions((), found)
    assert permissions.depend_on_tags is depends


def test_the_reason_is_the_statement_that_decided() -> None:
    """A decision names the statement and its policy."""
    allowing = parse_document(document(allow("hbr:*")), "System/AliyunHBRFullAccess")
    denying = parse_document(document(deny("hbr:Upgrade*")), "Custom/NoUpgrades")
    refused = decide([*allowing, *denying], UPGRADE, ALL_OF_HBR, {}).because
    granted = decide([*allowing, *denying], "hbr:DescribeTask", ALL_OF_HBR, {}).because
    assert refused is not None
    assert refused.source == "Custom/NoUpgrades"
    assert granted is not None
    assert granted.source == "System/AliyunHBRFullAccess"
    assert decide([], UPGRADE, ALL_OF_HBR, {}).because is None
