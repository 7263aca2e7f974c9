"""Trust policies: their documents, and properties of whom they trust."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity.policy import (
    Effect,
    MalformedPolicy,
    Principal,
    TrustStatement,
    decide_trust,
    parse_trust,
    ram_principals,
)

ROOT, ANN = "acs:ram::1:root", "acs:ram::1:user/ann"
GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": ROOT}}


def stating(*statements: Any) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


def without(element: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != element}


def naming(kind: str, *names: Any) -> str:
    return stating({**GOOD, "Principal": {kind: list(names)}})


REFUSED: list[tuple[str, str]] = [
    ("nothing", ""),
    ("not JSON", "{"),
    ("no statement", json.dumps({"Version": "1"})),
    ("an empty list of statements", stating()),
    ("another version", json.dumps({"Version": "2012-10-17", "Statement": [GOOD]})),
    ("no effect", stating(without("Effect"))),
    ("no action", stating(without("Action"))),
    ("no principal", stating(without("Principal"))),
    ("an effect in small letters", stating({**GOOD, "Effect": "allow"})),
    ("a resource", stating({**GOOD, "Resource": "*"})),
    ("NotPrincipal", stating({**without("Principal"), "NotPrincipal": {"RAM": ROOT}})),
    ("NotAction", stating({**without("Action"), "NotAction": "sts:x"})),
    ("an action of another service", stating({**GOOD, "Action": "ram:CreateUser"})),
    ("one action of another service among others", stating({**GOOD, "Action": ["sts:AssumeRole", "hbr:*"]})),
    ("an empty list of actions", stating({**GOOD, "Action": []})),
    ("everybody, by a star", stating({**GOOD, "Principal": "*"})),
    ("everybody, in a list", naming("RAM", "*")),
    ("every account", naming("RAM", "acs:ram::*:root")),
    ("every user of an account", naming("RAM", "acs:ram::1:user/*")),
    ("an account without its ARN", naming("RAM", "1234567890123456")),
    ("an ARN of another service", naming("RAM", "acs:sts::1:assumed-role/r/s")),
    ("an ARN of another cloud", naming("RAM", "arn:aws:iam::1:root")),
    ("an account that is a word", naming("RAM", "acs:ram::me:root")),
    ("an ARN with a line behind it", naming("RAM", ROOT + "\n")),
    ("a principal of another kind", naming("AWS", ROOT)),
    ("a kind in small letters", naming("ram", ROOT)),
    ("no kind", stating({**GOOD, "Principal": {}})),
    ("a kind of nobody", naming("RAM")),
    ("a principal that is null", naming("RAM", None)),
    ("a principal that is a number", naming("RAM", 1)),
    ("every service", naming("Service", "*.aliyuncs.com")),
    ("a service that is an address", naming("Service", "https://hbr.aliyuncs.com")),
    ("a service in one word", naming("Service", "hbr")),
    ("a provider that is a user", naming("Federated", ANN)),
    ("every provider", naming("Federated", "acs:ram::1:oidc-provider/*")),
    ("one wrong principal among others", naming("RAM", ROOT, "*")),
    ("an unknown condition operator", stating({**GOOD, "Condition": {"StringMatches": {"sts:ExternalId": "x"}}})),
    ("an unknown condition key", stating({**GOOD, "Condition": {"StringEquals": {"sts:ExternalID2": "x"}}})),
]


@pytest.mark.parametrize("document", [pytest.param(row[1], id=row[0]) for row in REFUSED])
def test_a_trust_policy_that_cannot_be_carried_out_is_refused(document: str) -> None:
    """With a reason that fits into an error message."""
    with pytest.raises(MalformedPolicy) as refused:
        parse_trust(document)
    assert 0 < len(str(refused.value)) < 250


TAKEN: list[tuple[str, str]] = [
    ("an account", naming("RAM", ROOT)),
    ("an account without a list", stating(GOOD)),
    ("one statement without a list", json.dumps({"Version": "1", "Statement": GOOD})),
    ("a user and a role", naming("RAM", ANN, "acs:ram::1:role/Backup")),
    ("a service", naming("Service", "crossbackup.hbr.aliyuncs.com")),
    ("a provider", naming("Federated", "acs:ram::1:oidc-provider/ci")),
    ("two kinds", stating({**GOOD, "Principal": {"RAM": ROOT, "Service": "hbr.aliyuncs.com"}})),
    ("an external id", stating({**GOOD, "Condition": {"StringEquals": {"sts:ExternalId": "x"}}})),
]


@pytest.mark.parametrize("document", [pytest.param(row[1], id=row[0]) for row in TAKEN])
def test_a_trust_policy_that_can_be_carried_out_is_accepted(document: str) -> None:
    """In every form that the language allows."""
    assert len(parse_trust(document)) == 1


# --- Properties -----------------------------------------------------------------------------------------------------

NAMES = [
    Principal("RAM", ROOT),
    Principal("RAM", ANN),
    Principal("RAM", "acs:ram::2:root"),
    Principal("Service", "a.b"),
]
statements = st.builds(
    TrustStatement,
    effect=st.sampled_from(Effect),
    actions=st.lists(st.sampled_from(["sts:AssumeRole", "sts:*", "*", "STS:assumerole", "sts:Other"]), min_size=1)
    .map(tuple),
    principals=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple),
)  # fmt: skip
sets = st.lists(statements, max_size=5).map(tuple)
askers = st.frozensets(st.sampled_from(NAMES), max_size=3)


@given(sets, statements, st.integers(0, 5), askers)
def test_another_deny_never_trusts_more(found: Any, more: Any, place: int, asking: Any) -> None:
    """Wherever it is placed."""
    denying = TrustStatement(Effect.DENY, more.actions, more.principals)
    if decide_trust((*found[:place], denying, *found[place:]), asking, {}).allowed:
        assert decide_trust(found, asking, {}).allowed


@given(sets, askers, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(found: Any, asking: Any, random: Any) -> None:
    """Neither for the decision, nor for whether it was an explicit Deny."""
    one, other = (decide_trust(s, asking, {}) for s in (found, tuple(random.sample(found, len(found)))))
    assert (one.allowed, one.explicit_deny) == (other.allowed, other.explicit_deny)


@given(sets, askers)
def test_one_deny_outweighs_every_allow(found: Any, asking: Any) -> None:
    """A Deny that covers a caller refuses explicitly; without one, an Allow is needed."""
    covering = [s.effect for s in found if s.covers(asking, {})]
    decision = decide_trust(found, asking, {})
    assert decision.explicit_deny is (Effect.DENY in covering)
    assert decision.allowed is (Effect.DENY not in covering and Effect.ALLOW in covering)


@given(sets)
def test_a_caller_without_principals_is_not_trusted(found: Any) -> None:
    """No policy can name them."""
    assert not decide_trust(found, frozenset(), {}).allowed


@given(sets, askers)
def test_only_named_principals_are_trusted(found: Any, asking: Any) -> None:
    """A role trusts nobody that no Allow names."""
    if decide_trust(found, asking, {}).allowed:
        named = {name for s in found if s.effect is Effect.ALLOW for name in s.principals}
        assert named & asking


@given(st.integers(0, 10**16), st.integers(0, 10**16), st.text("aB1._-", min_size=1, max_size=8))
def test_accounts_are_never_confused(mine: int, theirs: int, name: str) -> None:
    """A trust in a user or account does not cover the same name in another account."""
    arn = f"acs:ram::{mine}:user/{name}"
    for principal in (arn, f"acs:ram::{mine}:root"):
        trust = parse_trust(naming("RAM", principal))
        assert decide_trust(trust, ram_principals(str(mine), arn), {}).allowed
        another = ram_principals(str(theirs), f"acs:ram::{theirs}:user/{name}")
        assert decide_trust(trust, another, {}).allowed is (mine == theirs)


@pytest.mark.parametrize(
    ("kind", "named", "asking", "is_trusted"),
    [
        ("RAM", "acs:ram::1:role/Ops", {*ram_principals("1", "acs:ram::1:role/oPS")}, True),
        ("RAM", "acs:ram::1:user/Ann", {*ram_principals("1", "acs:ram::1:user/ann")}, False),
        ("RAM", "acs:ram::1:user/Ann", {*ram_principals("1", "acs:ram::1:user/Ann")}, True),
        ("RAM", ROOT, {*ram_principals("1", ANN)}, True),
        ("Service", "ecs.aliyuncs.com", {Principal("Service", "ecs.aliyuncs.com")}, True),
        ("Service", "ecs.aliyuncs.com", {Principal("RAM", "ecs.aliyuncs.com")}, False),
        ("Federated", "acs:ram::1:oidc-provider/P", {Principal("Federated", "acs:ram::1:oidc-provider/P")}, True),
        ("Federated", "acs:ram::1:oidc-provider/P", {Principal("RAM", "acs:ram::1:oidc-provider/P")}, False),
    ],
)
def test_a_principal_is_trusted_as_what_it_is(kind: str, named: str, asking: set[Principal], is_trusted: bool) -> None:
    """Letter case matters in the names of users, and does not in those of roles."""
    assert decide_trust(parse_trust(naming(kind, named)), frozenset(asking), {}).allowed is is_trusted


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["RAM", "Service", "Federated", "x"]), inner, max_size=3)
        ),
    )
)
def test_any_principal_is_accepted_or_refused(value: Any) -> None:
    """Never with another error than MalformedPolicy."""
    with contextlib.suppress(MalformedPolicy):
        assert parse_trust(stating({**GOOD, "Principal": value}))


@given(st.recursive(st.none() | st.integers() | st.sampled_from(["sts:AssumeRole", "*", ""]), st.lists))
def test_any_action_is_accepted_or_refused(value: Any) -> None:
    """Never with another error than MalformedPolicy."""
    with contextlib.suppress(MalformedPolicy):
        assert parse_trust(stating({**GOOD, "Action": value}))
