"""Callers with many long policies, and calls that name many things: what a decision costs does not grow with them."""

import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity import policy
from backfleet.identity.policy import Effect, Permissions, Statement, Target, decisions, pattern_sets, wildcards
from backfleet.identity.policy.conditions import Condition
from backfleet.identity.policy.pattern_sets import PatternSets

POLICIES = 19  # a caller's
IDS = 100  # of one call
VALUES = {"acs:sourceip": "10.0.0.1", "ecs:tag/site": "ber", "acs:username": "", "acs:useragent": ("a", "b")}
TEXTS = st.text(st.sampled_from(["a", "b", "A", "/", "*", "\n"]), max_size=7)
PATTERNS = st.lists(
    st.sampled_from(
        ["a", "b", "A", "/", "*", "?", "${acs:SourceIp}", "${ECS:tag/site}", "${acs:UserName}", "${acs:UserAgent}"]
    ),
    max_size=6,
).map("".join)
RESOURCES = st.sampled_from(["*", "acs:x:y:1:role/A", "acs:x:y:1:a", "acs:x:y:2:a/b", "ab", "a/b:role/B"])
STATEMENTS = st.builds(
    Statement,
    st.sampled_from(list(Effect)),
    st.lists(st.sampled_from(["a:b", "a:*", "*", "c:D", "?:b"]), min_size=1, max_size=2).map(tuple),
    st.lists(st.one_of(RESOURCES, PATTERNS), min_size=1, max_size=2).map(tuple),
    st.sampled_from([(), (Condition("StringEquals", "ecs:tag/site", ("ber",)),)]),
    all_actions_but=st.booleans(),
    only_in=st.sampled_from(["", "1"]),
)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """No statements are kept that an earlier test compiled."""
    decisions._kept.clear()
    yield
    decisions._kept.clear()


def long_document(number: int, form: str) -> str:
    """As long as a document can be: statements of which each denies something else, and none what is asked for."""
    statements: list[dict[str, object]] = []
    text = ""
    while len(text) < policy.LONGEST_DOCUMENT - 200:
        pattern = form.format(number=number, at=len(statements))
        statements.append({"Effect": "Deny", "Action": "*", "Resource": pattern})
        text = json.dumps({"Version": "1", "Statement": statements})
    return text


def many(form: str) -> tuple[Statement, ...]:
    """All statements of a caller with POLICIES long documents, and one that allows everything."""
    texts = [long_document(number, form) for number in range(POLICIES)]
    allows = '{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
    return tuple(statement for text in (*texts, allows) for statement in policy.parse_document(text))


def targets() -> list[Target]:
    """Clients, each under its own ARN and that of its instance."""
    draw = random.Random(1)
    ids = ["".join(draw.choices("abcdefghij0123456789", k=20)) for _ in range(IDS)]
    return [Target((f"acs:hbr:cn:1:client/c-{one}", f"acs:ecs:cn:1:instance/mi-{one}")) for one in ids]


@pytest.mark.parametrize(
    "form", ["*z{number}y{at}*", "*{number}??????????????{at}Z*", "*${{ecs:tag/site}}{number}y{at}*"]
)
def test_each_character_of_the_resources_is_read_once(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many statements there are: none is tried by itself, and they are compiled once for all calls."""

    def tried(*_arguments: object, **_named: object) -> bool:
        raise AssertionError("a statement was tried by itself")

    permissions, named = Permissions(many(form)), targets()
    assert len(permissions.own) > 500
    monkeypatch.setattr(decisions, "matches", tried)
    for target in named:
        assert permissions.decide("hbr:UpgradeBackupClients", target, {"ecs:tag/site": "ber"}).allowed
    (kept,) = decisions._kept.values()
    read = kept.resources.characters_read
    assert read <= sum(len(arn) for target in named for arn in target.arns)
    monkeypatch.setattr(decisions, "PatternSets", tried)
    again = Permissions(many(form))  # of another call: the documents are the same
    assert all(again.decide("hbr:UpgradeBackupClients", target, {"ecs:tag/site": "muc"}).allowed for target in named)
    assert kept.resources.characters_read <= 2 * read


def test_what_is_alike_in_the_resources_of_a_call_is_read_once() -> None:
    """Clients of one account differ in their ids only."""
    permissions, named = Permissions(many("*z{number}y{at}*")), targets()
    for arn in (target.arns[0] for target in named):
        assert permissions.decide("hbr:UpgradeBackupClients", arn, {}).allowed
    (kept,) = decisions._kept.values()
    assert kept.resources.characters_read == len("acs:hbr:cn:1:client/") + IDS * len("c-01234567890123456789")


def test_one_deny_among_many_is_found() -> None:
    """And named as the reason."""
    last = Statement(Effect.DENY, ("hbr:*",), ("acs:hbr:*:client/c-*",), source="Custom/last")
    permissions = Permissions((*many("*z{number}y{at}*"), last))
    decision = permissions.decide("hbr:UpgradeBackupClients", targets()[0], {})
    assert (decision.allowed, decision.because) == (False, last)


def test_an_allow_on_a_veto_allows_nothing() -> None:
    """A veto only refuses: also where statements are decided together."""
    allows = Statement(Effect.ALLOW, ("*",), ("acs:x:y:1:a",))
    target = Target(("acs:x:y:1:b",), ("acs:x:y:1:a",))
    assert not decisions.Compiled((allows,)).decide("a:b", target, {}).allowed
    assert decisions.Compiled((allows,)).decide("a:b", Target(("acs:x:y:1:a",)), {}).allowed


@given(st.lists(STATEMENTS, max_size=6), st.lists(RESOURCES, min_size=1, max_size=2), st.lists(RESOURCES, max_size=1))
def test_statements_together_decide_as_one_by_one(listed: list[Statement], arns: list[str], vetoes: list[str]) -> None:
    """The same answer, for the same reason."""
    target, context = Target(tuple(arns), tuple(vetoes)), {"acs:SourceIp": "a", "ecs:tag/site": "ber"}
    known = {wildcards.canonical(key): value for key, value in context.items()}
    for action in ("a:b", "A:B", "c:d"):
        alone = policy.decide(listed, action, target, context)
        together = decisions.Compiled(tuple(listed)).decide(action, target, known)
        assert together == alone
        assert together.because is alone.because


@given(st.lists(st.lists(PATTERNS, min_size=1, max_size=3), max_size=4), st.lists(TEXTS, max_size=3), st.booleans())
def test_sets_of_patterns_match_as_each_of_them(listed: list[list[str]], texts: list[str], ignore_case: bool) -> None:
    """Whatever a text begins with that was read before."""
    together = PatternSets(listed, ignore_case=ignore_case, variables=True)
    for text in texts:
        alone = [
            number
            for number, patterns in enumerate(listed)
            if wildcards.matches(tuple(patterns), text, ignore_case=ignore_case, variables=VALUES)
        ]
        assert together.matching(text, VALUES) == alone


def test_a_condition_with_variables_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each value that they have: a call has a hundred hosts, each with other tags."""
    condition = Condition("StringLike", "acs:UserName", ("${ecs:tag/owner}-*",))
    assert condition.holds({"acs:username": "ann-1", "ecs:tag/owner": "ann"})
    monkeypatch.setattr(wildcards.re, "compile", lambda *_: pytest.fail("it was compiled again"))
    assert not condition.holds({"acs:username": "ann-1", "ecs:tag/owner": "bob"})
    assert not condition.holds({"acs:username": "ann-1"})
    assert pattern_sets.VARIABLE.findall("${a}") == ["a"]
