"""Forms of trust policies that are accepted and refused, alone and beside others."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity.policy import (
    LONGEST_DOCUMENT,
    MalformedPolicy,
    Principal,
    decide_trust,
    parse_trust,
    ram_principals,
)

ROOT = {"RAM": "acs:ram::1:root"}


def document(*statements: Any, version: str = "1") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def trusting(principal: Any = ROOT, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **more}


TAKEN = [
    pytest.param(trusting(), id="an account"),
    pytest.param(trusting({"RAM": ["acs:ram::1:root", "acs:ram::2:user/a.b-c_d"]}), id="a list"),
    pytest.param(trusting({"RAM": "acs:ram::1:role/Ops"}), id="a role"),
    pytest.param(trusting({"Service": ["ecs.aliyuncs.com", "crossbackup.hbr.aliyuncs.com"]}), id="services"),
    pytest.param(trusting({"Federated": "acs:ram::1:oidc-provider/git.hub"}), id="an OIDC provider"),
    pytest.param(trusting({"Federated": "acs:ram::1:saml-provider/x"}), id="a SAML provider"),
    pytest.param(trusting({**ROOT, "Service": "ecs.aliyuncs.com"}), id="two kinds"),
    pytest.param(trusting(Condition={"IpAddress": {"acs:SourceIp": "10.0.0.0/8"}}), id="a condition"),
    pytest.param(trusting(Condition={"StringEquals": {"sts:ExternalId": ["a", "b"]}}), id="an external id"),
    pytest.param(trusting(Condition={"StringEquals": {"oidc:aud": "x", "oidc:iss": "y"}}), id="what a token says"),
    pytest.param(trusting(Effect="Deny"), id="a deny"),
    pytest.param(trusting(Action="*"), id="every action"),
]
REFUSED = [
    pytest.param({"Effect": "Allow", "Action": "sts:AssumeRole"}, id="nobody"),
    pytest.param(trusting({}), id="an empty principal"),
    pytest.param(trusting("*"), id="everybody"),
    pytest.param(trusting({"RAM": "*"}), id="everybody in RAM"),
    pytest.param(trusting({"RAM": "acs:ram::*:root"}), id="every account"),
    pytest.param(trusting({"RAM": "acs:ram::1:user/*"}), id="every user"),
    pytest.param(trusting({"RAM": []}), id="an empty list"),
    pytest.param(trusting({"RAM": [1]}), id="a number"),
    pytest.param(trusting({"RAM": "acs:ram::1:group/g"}), id="a group"),
    pytest.param(trusting({"RAM": "acs:sts::1:assumed-role/a/b"}), id="a session"),
    pytest.param(trusting({"RAM": "acs:ram::1:root\n"}), id="a line end"),
    pytest.param(trusting({"AWS": "acs:ram::1:root"}), id="a kind there is not"),
    pytest.param(trusting({"Service": "*"}), id="every service"),
    pytest.param(trusting({"Federated": "acs:ram::1:role/x"}), id="a role for a provider"),
    pytest.param(trusting(Resource="*"), id="a resource"),
    pytest.param(trusting(NotPrincipal=ROOT), id="an element there is not"),
    pytest.param(trusting(Effect="allow"), id="an effect there is not"),
    pytest.param(trusting(Action="ecs:RunCommand"), id="an action of another service"),
    pytest.param(trusting(Action=[]), id="no action"),
    pytest.param({"Effect": "Allow", "Principal": ROOT}, id="no action at all"),
    pytest.param(trusting(Condition={"Null": {"acs:SourceIp": "true"}}), id="an operator there is not"),
    pytest.param(trusting(Condition={"StringEquals": {"sts:Other": "x"}}), id="a key there is not"),
    pytest.param("trust me", id="no object"),
]


@pytest.mark.parametrize("statement", TAKEN)
def test_forms_that_ram_knows_are_accepted(statement: Any) -> None:
    """One row for each form."""
    assert len(parse_trust(document(statement))) == 1


@pytest.mark.parametrize("statement", REFUSED)
def test_an_unknown_form_is_refused(statement: Any) -> None:
    """Also beside a statement that is fine."""
    with pytest.raises(MalformedPolicy):
        parse_trust(document(trusting(), statement))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", document(), document(trusting(), version="2"), " " * LONGEST_DOCUMENT + "{}"]
)
def test_a_document_without_statements_is_refused(text: str) -> None:
    """Also one of another version, or too long."""
    with pytest.raises(MalformedPolicy):
        parse_trust(text)


NAMES = ["acs:ram::1:root", "acs:ram::1:user/a", "acs:ram::1:user/b", "acs:ram::2:root", "acs:ram::1:role/r"]
principals = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)
statements = st.builds(
    lambda effect, who: trusting({"RAM": who}, Effect=effect), st.sampled_from(["Allow", "Deny"]), principals
)
asking = st.sampled_from(NAMES[1:3] + NAMES[4:]).map(lambda arn: ram_principals("1", arn))


@given(st.lists(statements, min_size=1, max_size=4), statements, asking)
def test_another_deny_never_trusts_more(found: list[Any], more: Any, who: frozenset[Principal]) -> None:
    """And another Allow never trusts less."""
    before = decide_trust(parse_trust(document(*found)), who, {}).allowed
    denied = decide_trust(parse_trust(document(*found, {**more, "Effect": "Deny"})), who, {})
    allowed = decide_trust(parse_trust(document(*found, {**more, "Effect": "Allow"})), who, {})
    assert before or not denied.allowed
    assert allowed.allowed or not before


@given(st.lists(statements, min_size=1, max_size=5), asking, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(found: list[Any], who: frozenset[Principal], random: Any) -> None:
    """Of a trust policy."""
    shuffled = list(found)
    random.shuffle(shuffled)
    one, other = (decide_trust(parse_trust(document(*listed)), who, {}) for listed in (found, shuffled))
    assert (one.allowed, one.explicit_deny) == (other.allowed, other.explicit_deny)


@given(st.lists(statements, min_size=1, max_size=4), st.text(max_size=10))
def test_another_account_is_never_trusted(found: list[Any], name: str) -> None:
    """Whatever a policy says of others."""
    assert not decide_trust(parse_trust(document(*found)), ram_principals("3", f"acs:ram::3:user/{name}"), {}).allowed
