"""Policy documents: what cannot be carried out exactly is refused."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity.policy import LONGEST_DOCUMENT, Effect, MalformedPolicy, parse_document
from backfleet.identity.system_policies import SYSTEM_POLICIES

GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "hbr:*", "Resource": "*"}


def without(element: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != element}


def conditioned(operator: str, keys: Any) -> str:
    return json.dumps({"Version": "1", "Statement": [{**GOOD, "Condition": {operator: keys}}]})


def stating(statement: Any) -> str:
    return json.dumps({"Version": "1", "Statement": [statement]})


REFUSED: list[tuple[str, str]] = [
    ("nothing", ""),
    ("not JSON", "{"),
    ("a list", "[]"),
    ("a string", '"Allow"'),
    ("deep nesting", "[" * 6000),
    ("no version", json.dumps({"Statement": [GOOD]})),
    ("another version", json.dumps({"Version": "2012-10-17", "Statement": [GOOD]})),
    ("no statement", json.dumps({"Version": "1"})),
    ("an empty list of statements", json.dumps({"Version": "1", "Statement": []})),
    ("a statement that is a word", json.dumps({"Version": "1", "Statement": ["Allow"]})),
    ("an element beside", json.dumps({"Version": "1", "Statement": [GOOD], "Id": "x"})),
    ("an element twice", '{"Version":"1","Version":"1","Statement":[]}'),
    (
        "an effect twice",
        '{"Version":"1","Statement":[{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}]}',
    ),
    ("no effect", stating(without("Effect"))),
    ("an effect in small letters", stating({**GOOD, "Effect": "allow"})),
    ("an effect in a list", stating({**GOOD, "Effect": ["Allow"]})),
    ("no action", stating(without("Action"))),
    ("Action and NotAction", stating({**GOOD, "NotAction": "ram:*"})),
    ("an empty list of actions", stating({**GOOD, "Action": []})),
    ("an empty action", stating({**GOOD, "Action": ""})),
    ("an action without a service", stating({**GOOD, "Action": "UpgradeBackupClients"})),
    ("an action with a space", stating({**GOOD, "Action": "hbr: *"})),
    ("an action that is a number", stating({**GOOD, "Action": 5})),
    ("an action that is null", stating({**GOOD, "Action": None})),
    ("actions in an object", stating({**GOOD, "Action": {"a": "b"}})),
    ("no resource", stating(without("Resource"))),
    ("an empty list of resources", stating({**GOOD, "Resource": []})),
    ("a resource that is no ARN", stating({**GOOD, "Resource": "vault/v-1"})),
    ("a resource of another cloud", stating({**GOOD, "Resource": "arn:aws:s3:::bucket"})),
    ("NotResource", stating({**GOOD, "NotResource": "*"})),
    ("NotResource alone", stating({**without("Resource"), "NotResource": "*"})),
    ("a principal", stating({**GOOD, "Principal": {"RAM": ["*"]}})),
    ("an element in small letters", stating({**GOOD, "condition": {}})),
    ("a condition that is a list", stating({**GOOD, "Condition": []})),
    ("a condition that is null", stating({**GOOD, "Condition": None})),
    ("an unknown operator", conditioned("StringMatches", {"acs:PrincipalARN": "x"})),
    ("an operator in small letters", conditioned("stringequals", {"acs:PrincipalARN": "x"})),
    ("an operator of another cloud", conditioned("StringEqualsIfExists", {"acs:PrincipalARN": "x"})),
    ("a quantifier of another cloud", conditioned("ForSomeValues:StringEquals", {"acs:PrincipalARN": "x"})),
    ("the test for absence of another cloud", conditioned("Null", {"acs:PrincipalARN": "true"})),
    ("an operator without keys", conditioned("StringEquals", {})),
    ("an operator with a list", conditioned("StringEquals", ["acs:PrincipalARN"])),
    ("a key twice", conditioned("StringEquals", 0).replace("0", '{"acs:Service":"a","acs:Service":"b"}')),
    ("a key without values", conditioned("StringEquals", {"acs:PrincipalARN": []})),
    ("a value that is null", conditioned("StringEquals", {"acs:PrincipalARN": None})),
    ("a value that is an object", conditioned("StringEquals", {"acs:PrincipalARN": {"a": "b"}})),
    ("values in lists in lists", conditioned("StringEquals", {"acs:PrincipalARN": [["x"]]})),
    ("a key without a service", conditioned("StringEquals", {"SourceIp": "x"})),
    ("an unknown key", conditioned("StringEquals", {"acs:PrincipalArm": "x"})),
    ("an unknown key of a service we are", conditioned("StringEquals", {"hbr:Vault": "x"})),
    ("a tag without a name", conditioned("StringEquals", {"acs:ResourceTag/": "x"})),
    ("a number that is a word", conditioned("NumericEquals", {"oss:Part": "ten"})),
    ("a number that is none", conditioned("NumericEquals", {"oss:Part": "NaN"})),
    ("a number beyond all", conditioned("NumericLessThan", {"oss:Part": "Infinity"})),
    ("a bare NaN", conditioned("NumericLessThan", {"oss:Part": 0}).replace("0}", "NaN}")),
    ("a time without a zone", conditioned("DateLessThan", {"acs:CurrentTime": "2026-01-02T03:04:05"})),
    ("a time that is a day", conditioned("DateLessThan", {"acs:CurrentTime": "2026-01-02"})),
    ("a day that never was", conditioned("DateLessThan", {"acs:CurrentTime": "2026-02-30T00:00:00Z"})),
    ("a boolean that is a word", conditioned("Bool", {"acs:MFAPresent": "yes"})),
    ("an address with a star", conditioned("IpAddress", {"acs:SourceIp": "10.0.0.*"})),
    ("an address that is a name", conditioned("IpAddress", {"acs:SourceIp": "localhost"})),
    ("a mask that is too long", conditioned("NotIpAddress", {"acs:SourceIp": "10.0.0.0/33"})),
    ("an address compared as a time", conditioned("DateLessThan", {"acs:SourceIp": "2026-01-02T03:04:05Z"})),
    ("a time compared as an address", conditioned("NotIpAddress", {"acs:CurrentTime": "10.0.0.0/8"})),
    ("a variable that is no key", stating({**GOOD, "Resource": "acs:ram:*:*:user/${aws:username}"})),
    ("a variable that does not end", stating({**GOOD, "Resource": "acs:ram:*:*:user/${acs:UserName"})),
    ("a variable of another cloud in a condition", conditioned("StringEquals", {"acs:Service": "${aws:x}"})),
    ("a text compared as a number", conditioned("NumericEquals", {"acs:PrincipalARN": "1"})),
]


@pytest.mark.parametrize("document", [pytest.param(row[1], id=row[0]) for row in REFUSED])
def test_a_document_that_cannot_be_carried_out_is_refused(document: str) -> None:
    """With a reason."""
    with pytest.raises(MalformedPolicy) as refused:
        parse_document(document)
    assert 0 < len(str(refused.value)) < 250


TAKEN: list[tuple[str, str]] = [
    ("a quantifier", conditioned("ForAllValues:StringLike", {"acs:RequestTag/team": ["web", "shop"]})),
    ("the name of a plugin", conditioned("StringEqualsIgnoreCase", {"ecs:PluginName": ["test-plugin"]})),
    ("the client's name", conditioned("StringLike", {"acs:UserAgent": "*Terraform*"})),
    ("a variable in a resource", stating({**GOOD, "Resource": "acs:ram:*:*:user/${acs:UserName}"})),
    ("a variable in a condition", conditioned("StringEquals", {"acs:ResourceTag/owner": "${acs:UserName}"})),
    (
        "a key that only other products have",
        stating({"Effect": "Deny", "Action": "oss:*", "Resource": "*", "Condition": {"Bool": {"acs:ViaOss": "true"}}}),
    ),
    ("a version without quotes", json.dumps({"Version": 1, "Statement": [GOOD]})),
    ("one statement without a list", json.dumps({"Version": "1", "Statement": GOOD})),
    ("a resource pattern that begins with a star", stating({**GOOD, "Resource": "*:user/alice"})),
    ("a resource pattern cut short", stating({**GOOD, "Resource": "acs:ecs:*"})),
    ("an empty condition", stating({**GOOD, "Condition": {}})),
    ("a key of a service that is not here", conditioned("StringLike", {"oss:Prefix": "logs/*"})),
    ("a number without quotes", conditioned("NumericLessThan", {"oss:Part": 5})),
    ("a boolean without quotes", conditioned("Bool", {"acs:MFAPresent": True})),
    ("numbers in a list", conditioned("NumericEquals", {"oss:Part": [5, "6", 7.5]})),
    ("a text of an address", conditioned("StringLike", {"acs:SourceIp": "10.0.*"})),
    ("white space", "\n " + stating(GOOD) + "\n"),
]


@pytest.mark.parametrize("document", [pytest.param(row[1], id=row[0]) for row in TAKEN])
def test_a_document_that_can_be_carried_out_is_accepted(document: str) -> None:
    """In every form that the language allows."""
    assert len(parse_document(document)) == 1


def test_a_document_has_at_most_6144_characters() -> None:
    """The limit of RAM's CreatePolicy."""
    short = stating({**GOOD, "Resource": ["acs:hbr:*"]})
    document = short.replace("acs:hbr:*", "acs:hbr:" + "x" * (LONGEST_DOCUMENT - len(short) + 1))
    assert len(document) == LONGEST_DOCUMENT
    assert parse_document(document)
    with pytest.raises(MalformedPolicy, match="at most 6144"):
        parse_document(document + " ")


def test_a_parsed_statement_has_the_values_of_the_document() -> None:
    """Effect, actions, resources, conditions and source."""
    written = {"Effect": "Deny", "NotAction": ["ram:*", "sts:*"], "Resource": "acs:hbr:*:*:*"}
    condition = {"NotIpAddress": {"acs:SourceIp": "10.0.0.0/8"}}
    (statement,) = parse_document(stating({**written, "Condition": condition}), "Custom/OnlyInside")
    assert statement.effect is Effect.DENY
    assert statement.all_actions_but
    assert statement.actions == ("ram:*", "sts:*")
    assert statement.resources == ("acs:hbr:*:*:*",)
    assert [(c.operator, c.key, c.values) for c in statement.conditions] == [
        ("NotIpAddress", "acs:SourceIp", ("10.0.0.0/8",))
    ]
    assert statement.source == "Custom/OnlyInside"


@pytest.mark.parametrize("name", sorted(SYSTEM_POLICIES))
def test_system_policies_can_be_carried_out(name: str) -> None:
    """The policies that come with the program pass the same checks."""
    assert parse_document(SYSTEM_POLICIES[name].document)


def test_the_names_of_system_policies() -> None:
    """People attach them by exactly these names."""
    assert set(SYSTEM_POLICIES) == {
        "AdministratorAccess",
        "AliyunECSAssistantFullAccess",
        "AliyunECSAssistantReadonlyAccess",
        "AliyunECSFullAccess",
        "AliyunECSReadOnlyAccess",
        "AliyunHBRFullAccess",
        "AliyunHBRReadOnlyAccess",
        "AliyunRAMFullAccess",
        "AliyunRAMReadOnlyAccess",
        "AliyunSTSAssumeRoleAccess",
        "BackfleetFullAccess",
        "BackfleetReadOnlyAccess",
        "PowerUserAccess",
        "ReadOnlyAccess",
    }


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["Allow", "*", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Action", "Resource", "Condition", "Bool", "acs:MFAPresent"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_accepted_or_refused(value: Any) -> None:
    """Never with another error than MalformedPolicy."""
    with contextlib.suppress(MalformedPolicy):
        assert parse_document(json.dumps(value))


@given(st.text(max_size=40))
def test_any_text_is_refused(document: str) -> None:
    """If it is not JSON, with MalformedPolicy."""
    with pytest.raises(MalformedPolicy):
        parse_document(document)
