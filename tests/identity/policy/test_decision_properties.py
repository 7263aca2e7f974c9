"""Properties that hold for every set of statements."""

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity.policy import Effect, Permissions, Statement, Target, decide, parse_document
from backfleet.identity.policy.conditions import OPERATORS, Condition
from backfleet.identity.policy.wildcards import matches

ACTIONS = ["hbr:A", "hbr:Ab", "hbr:B", "ecs:A"]
RESOURCES = ["acs:hbr:r:1:x", "acs:hbr:r:2:x", "acs:ecs:r:1:x"]
CONTEXTS = [{}, {"acs:MFAPresent": "true"}, {"acs:MFAPresent": "false"}]

conditions = st.builds(
    Condition,
    st.sampled_from(["Bool", "StringEquals", "StringNotEquals"]),
    st.just("acs:MFAPresent"),
    st.sampled_from([("true",), ("false",), ("true", "false")]),
)
statements = st.builds(
    Statement,
    effect=st.sampled_from(Effect),
    actions=st.lists(st.sampled_from([*ACTIONS, "*", "hbr:*", "hbr:?", "HBR:a*"]), min_size=1, max_size=3).map(tuple),
    resources=st.lists(st.sampled_from([*RESOURCES, "*", "acs:hbr:*"]), min_size=1, max_size=2).map(tuple),
    conditions=st.lists(conditions, max_size=1).map(tuple),
    all_actions_but=st.booleans(),
)
asked = st.tuples(st.sampled_from(ACTIONS), st.sampled_from(RESOURCES), st.sampled_from(CONTEXTS))


@given(st.lists(statements, max_size=6), statements, st.integers(0, 6), asked)
def test_another_deny_never_allows_more(found: list[Statement], more: Statement, place: int, ask: Any) -> None:
    """What is refused without a Deny is refused with it, wherever it is placed."""
    denying = Statement(Effect.DENY, more.actions, more.resources, more.conditions, more.all_actions_but)
    if decide([*found[:place], denying, *found[place:]], *ask).allowed:
        assert decide(found, *ask).allowed


@given(st.lists(statements, max_size=6), statements, asked)
def test_another_allow_never_denies_more(found: list[Statement], more: Statement, ask: Any) -> None:
    """What is allowed without an Allow is allowed with it, and no Allow outweighs a Deny."""
    allowing = Statement(Effect.ALLOW, more.actions, more.resources, more.conditions, more.all_actions_but)
    before, after = decide(found, *ask), decide([*found, allowing], *ask)
    assert after.allowed or not before.allowed
    assert after.explicit_deny == before.explicit_deny


@given(st.lists(statements, max_size=5), asked, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(found: list[Statement], ask: Any, random: Any) -> None:
    """Neither for the decision, nor for whether it was an explicit Deny."""
    shuffled = list(found)
    random.shuffle(shuffled)
    one, other = decide(found, *ask), decide(shuffled, *ask)
    assert (one.allowed, one.explicit_deny) == (other.allowed, other.explicit_deny)


@given(st.lists(statements, max_size=5), asked)
def test_a_repeated_statement_changes_nothing(found: list[Statement], ask: Any) -> None:
    """As when a policy is attached to a user and to a group of the user."""
    assert decide(found, *ask).allowed == decide([*found, *found], *ask).allowed


@given(st.lists(statements, max_size=5), asked)
def test_the_reason_alone_leads_to_the_same_decision(found: list[Statement], ask: Any) -> None:
    """The statement that a decision names has its effect."""
    decision = decide(found, *ask)
    if decision.because is None:
        assert not decision.allowed
    else:
        assert (decision.because.effect is Effect.ALLOW) == decision.allowed
        assert decide([decision.because], *ask).because == decision.because


@given(st.lists(statements, max_size=5), asked, st.sampled_from([str.lower, str.upper, str.swapcase]))
def test_the_letter_case_of_actions_does_not_matter(found: list[Statement], ask: Any, change: Any) -> None:
    """Neither in the request nor in the statements."""
    action, resource, context = ask
    changed = [
        Statement(s.effect, tuple(map(change, s.actions)), s.resources, s.conditions, s.all_actions_but) for s in found
    ]
    expected = decide(found, action, resource, context).allowed
    assert decide(found, change(action), resource, context).allowed == expected
    assert decide(changed, action, resource, context).allowed == expected


limited = st.builds(
    lambda one, account: Statement(
        one.effect, one.actions, one.resources, one.conditions, one.all_actions_but, only_in=account
    ),
    statements,
    st.sampled_from(["", "1", "2"]),
)
layers = st.lists(limited, max_size=4).map(tuple)
ARNS = [*RESOURCES, "acs:ram:r:system:x", "*", "acs:hbr"]


@given(
    layers,
    st.none() | layers,
    st.sampled_from(ACTIONS),
    st.sampled_from(CONTEXTS),
    st.lists(st.sampled_from(ARNS), min_size=1),
)
def test_what_is_allowed_on_all_is_allowed_on_each(
    own: tuple[Statement, ...], within: tuple[Statement, ...] | None, action: str, context: Any, arns: list[str]
) -> None:
    """Whatever the layers, their limits and conditions are: it spares decisions, and changes none."""
    permissions = Permissions(own, within)
    if permissions.allow_all(action, [Target((arn,)) for arn in arns], context):
        assert all(permissions.decide(action, arn, context).allowed for arn in arns)


@pytest.mark.parametrize(
    ("account", "resource", "condition", "allowed"),
    [
        ("1", "*", (), True),
        ("", "*", (), True),
        ("1", "*", (Condition("Bool", "acs:MFAPresent", ("true",)),), True),
        ("2", "*", (), False),
        ("1", "acs:hbr:*", (), False),
        ("1", "*", (Condition("Bool", "acs:MFAPresent", ("false",)),), False),
        ("1", "*", (Condition("StringEquals", "acs:ResourceTag/site", ("a",)),), False),
    ],
)
def test_one_statement_allows_all_that_an_account_has(
    account: str, resource: str, condition: tuple[Condition, ...], allowed: bool
) -> None:
    """An administrator's does, whatever the ids; one about some resources, another account or tags does not."""
    permissions = Permissions((Statement(Effect.ALLOW, ("hbr:*",), (resource,), condition, only_in=account),))
    targets = [Target((arn,)) for arn in ("acs:hbr:r:1:x", "acs:hbr:r:1:y", "acs:hbr:r:system:z")]
    assert permissions.allow_all("hbr:A", targets, {"acs:MFAPresent": "true"}) is allowed


def test_a_deny_of_the_action_leaves_each_resource_to_its_own_decision() -> None:
    """Of another action it does not."""
    everything = Statement(Effect.ALLOW, ("*",), ("*",))
    target = [Target(("acs:hbr:r:1:x",))]
    for action, allowed in (("hbr:A", False), ("hbr:B", True)):
        denies = Statement(Effect.DENY, (action,), ("acs:hbr:r:1:y",))
        assert Permissions((everything, denies)).allow_all("hbr:A", target, {}) is allowed


# --- Wildcards ------------------------------------------------------------------------------------------------------

WORDS = ["".join(word) for length in range(5) for word in itertools.product("ab:", repeat=length)]
patterns = st.text("ab:*?", max_size=6)


def stands_for(pattern: str, text: str) -> bool:
    """Return what a pattern means, written as simply as possible."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return stands_for(pattern[1:], text) or (bool(text) and stands_for(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and stands_for(pattern[1:], text[1:])


@given(patterns)
def test_a_pattern_means_the_list_of_its_matches(pattern: str) -> None:
    """A statement with the pattern decides as one that lists every matching word."""
    expansion = tuple(word for word in WORDS if stands_for(pattern, word))
    with_pattern = Statement(Effect.ALLOW, ("*",), (pattern,))
    with_words = Statement(Effect.ALLOW, ("*",), expansion or ("nothing",))
    for word in WORDS:
        assert decide([with_pattern], "x:Y", word, {}).allowed == decide([with_words], "x:Y", word, {}).allowed


@given(st.lists(patterns, min_size=1, max_size=3), st.sampled_from(WORDS))
def test_a_list_of_patterns_matches_if_one_does(found: list[str], word: str) -> None:
    """Whatever the others match."""
    assert matches(tuple(found), word) == any(stands_for(pattern, word) for pattern in found)


@given(st.text(max_size=30))
def test_other_characters_match_themselves(text: str) -> None:
    """Only `*` and `?` have a meaning."""
    plain = text.replace("*", "").replace("?", "")
    assert matches((plain,), plain)
    assert not matches((plain,), plain + "x")
    assert matches(("?" * len(text),), text)


@pytest.mark.parametrize("pattern", ["*a" * 2000 + "b", "*a?" * 1500 + "b", "*" * 6000 + "b", "a*" * 2000 + "b"])
def test_no_pattern_is_slow(pattern: str) -> None:
    """The policy of one account must not delay the requests of another."""
    began = time.process_time()
    assert not matches((pattern,), "a" * 5000)
    assert time.process_time() - began < 2  # seconds; a second try of every star would take longer than the universe


# --- Operators ------------------------------------------------------------------------------------------------------

OPPOSITES = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
}
VALUES = {
    "String": st.text("ab*?", max_size=3),
    "Numeric": st.integers(-3, 3).map(str) | st.floats(-1, 1).map(lambda number: f"{number:.2f}"),
    "Date": st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")),
    "IpAddress": st.ip_addresses(v=4, network="10.0.0.0/30").map(str),
}


def test_every_negated_operator_is_tested() -> None:
    """The table of opposites has all of them."""
    assert {name for name, operator in OPERATORS.items() if operator.negated} == set(OPPOSITES.values())


@given(st.data(), st.sampled_from(sorted(OPPOSITES)))
def test_a_negated_operator_is_the_opposite(data: st.DataObject, positive: str) -> None:
    """With or without the key, exactly one of an operator and its negation holds."""
    values = next(found for prefix, found in VALUES.items() if positive.startswith(prefix))
    listed = tuple(data.draw(st.lists(values, min_size=1, max_size=3)))
    given_value = data.draw(st.none() | values)
    context = {} if given_value is None else {"oss:key": given_value}
    one, other = (Condition(name, "oss:key", listed) for name in (positive, OPPOSITES[positive]))
    assert one.holds(context) is not other.holds(context)


@given(st.lists(statements, min_size=1, max_size=3), asked)
def test_statements_survive_being_written_and_parsed(found: list[Statement], ask: Any) -> None:
    """As JSON they lead to the same decisions."""
    written = [
        {
            "Effect": s.effect.value,
            "NotAction" if s.all_actions_but else "Action": list(s.actions),
            "Resource": list(s.resources),
            "Condition": {c.operator: {c.key: list(c.values)} for c in s.conditions},
        }
        for s in found
    ]
    read = parse_document(json.dumps({"Version": "1", "Statement": written}))
    assert read == tuple(found)
    assert decide(read, *ask) == decide(found, *ask)


# --- A session's own policy -----------------------------------------------------------------------------------------


@given(st.lists(statements, max_size=4), st.lists(statements, max_size=4), asked)
def test_a_session_may_do_what_both_policies_allow(own: list[Statement], within: list[Statement], ask: Any) -> None:
    """The session policy adds nothing, and the decision says which of the two refused."""
    decision = Permissions(tuple(own), tuple(within)).decide(*ask)
    assert decision.allowed == (decide(own, *ask).allowed and decide(within, *ask).allowed)
    assert decision.by_session == (not decide(within, *ask).allowed)
    assert Permissions(tuple(own)).decide(*ask) == decide(own, *ask)
