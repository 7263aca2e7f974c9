"""A session's policy limits its role: only what both allow is allowed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity.policy import Effect, Permissions, Statement, decide, parse_document

ALLOW, DENY, DEFAULT = "allowed", "denied", "refused by default"
UPGRADE, READ = "hbr:UpgradeBackupClients", "hbr:DescribeTask"
ALL_OF_HBR = "acs:hbr:cn-hangzhou:1234567890123456:*"
ONE, TWO = (f"acs:ecs:cn-hangzhou:1234567890123456:instance/i-{number}" for number in (1, 2))
RUN = "ecs:RunCommand"
REQUEST = {"acs:CurrentTime": "2026-01-02T03:04:05Z", "acs:SourceIp": "10.0.0.7", "acs:SecureTransport": "true"}


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def read(*statements: dict[str, Any]) -> tuple[Statement, ...]:
    """Return the statements; none if nothing is attached."""
    return parse_document(json.dumps({"Version": "1", "Statement": list(statements)})) if statements else ()


INSIDE = {"Condition": {"IpAddress": {"acs:SourceIp": "10.0.0.0/8"}}}
OUTSIDE = {"Condition": {"NotIpAddress": {"acs:SourceIp": "10.0.0.0/8"}}}
UNTIL_2027 = {"Condition": {"DateLessThan": {"acs:CurrentTime": "2027-01-01T00:00:00Z"}}}
UNTIL_2025 = {"Condition": {"DateLessThan": {"acs:CurrentTime": "2025-01-01T00:00:00Z"}}}
OF_A_USER = {"Condition": {"StringLike": {"acs:PrincipalARN": "*:user/*"}}}

Rows = list[dict[str, Any]]
LAYERS: list[tuple[str, Rows, Rows | None, str, str, str, bool]] = [
    # (what it shows, the role's statements, the session's (None: it has no policy), action, resource, decision,
    #  did the session's policy decide?)
    ("no session policy takes nothing away", [allow("hbr:*")], None, UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("no session policy gives nothing either", [], None, UPGRADE, ALL_OF_HBR, DEFAULT, False),
    ("both allow", [allow("hbr:*")], [allow("hbr:*")], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("only the role allows", [allow("hbr:*")], [allow(READ)], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("only the session allows", [allow(READ)], [allow("hbr:*")], UPGRADE, ALL_OF_HBR, DEFAULT, False),
    ("neither allows", [allow("ram:*")], [allow("ram:*")], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("a role of nothing", [], [allow()], UPGRADE, ALL_OF_HBR, DEFAULT, False),
    ("the session denies", [allow()], [allow(), deny(UPGRADE)], UPGRADE, ALL_OF_HBR, DENY, True),
    ("the role denies", [allow(), deny(UPGRADE)], [allow()], UPGRADE, ALL_OF_HBR, DENY, False),
    ("both deny", [deny()], [deny()], UPGRADE, ALL_OF_HBR, DENY, True),
    ("a session that only denies allows nothing", [allow()], [deny(READ)], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("no match in the session hides the role's deny", [deny()], [allow(READ)], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("a deny of something else", [allow()], [allow(), deny(READ)], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("overlapping patterns, both reach", [allow("hbr:U*")], [allow("hbr:*s")], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("overlapping patterns, only the role's", [allow("hbr:D*")], [allow("hbr:*s")], READ, ALL_OF_HBR, DEFAULT, True),
    ("overlapping, the session's only", [allow("hbr:*s")], [allow("hbr:D*")], READ, ALL_OF_HBR, DEFAULT, False),
    ("letter case of actions", [allow("HBR:upgrade*")], [allow("hbr:UPGRADE*")], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("narrowed to an instance, that one", [allow("ecs:*")], [allow("ecs:*", ONE)], RUN, ONE, ALLOW, False),
    ("narrowed to an instance, another", [allow("ecs:*")], [allow("ecs:*", ONE)], RUN, TWO, DEFAULT, True),
    ("widened past the role's instance", [allow("ecs:*", ONE)], [allow("ecs:*")], RUN, TWO, DEFAULT, False),
    ("one instance each, not the same", [allow("ecs:*", ONE)], [allow("ecs:*", TWO)], RUN, TWO, DEFAULT, False),
    ("one of the role's two instances", [allow(RUN, [ONE, TWO])], [allow(RUN, TWO)], RUN, TWO, ALLOW, False),
    ("another account named by the session", [allow("*", ONE)], [allow("*", "acs:ecs:*:1:*")], RUN, ONE, DEFAULT, True),
    ("a session condition that holds", [allow()], [allow(**INSIDE)], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("a session condition that does not", [allow()], [allow(**OUTSIDE)], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("a role condition that does not", [allow(**OUTSIDE)], [allow()], UPGRADE, ALL_OF_HBR, DEFAULT, False),
    ("conditions of both hold", [allow(**INSIDE)], [allow(**UNTIL_2027)], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("the session's time is over", [allow(**INSIDE)], [allow(**UNTIL_2025)], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("a denying condition that fails", [allow()], [allow(), deny(**OUTSIDE)], UPGRADE, ALL_OF_HBR, ALLOW, False),
    ("a denying condition that holds", [allow()], [allow(), deny(**INSIDE)], UPGRADE, ALL_OF_HBR, DENY, True),
    ("a key the request lacks", [allow()], [allow(**OF_A_USER)], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("NotAction around a role", [allow()], [{"Effect": "Allow", "NotAction": "ram:*", "Resource": "*"}], UPGRADE,
     ALL_OF_HBR, ALLOW, False),
    ("NotAction around a role, what it leaves out", [allow()],
     [{"Effect": "Allow", "NotAction": "hbr:*", "Resource": "*"}], UPGRADE, ALL_OF_HBR, DEFAULT, True),
    ("denying all but looking", [allow()], [allow(), {"Effect": "Deny", "NotAction": READ, "Resource": "*"}], UPGRADE,
     ALL_OF_HBR, DENY, True),
    ("denying all but looking, and looking", [allow()],
     [allow(), {"Effect": "Deny", "NotAction": READ, "Resource": "*"}], READ, ALL_OF_HBR, ALLOW, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "within", "action", "resource", "expected", "by_session"),
    [pytest.param(*row[1:], id=row[0]) for row in LAYERS],
)
def test_role_and_session_policy_decide_together(
    own: Rows, within: Rows | None, action: str, resource: str, expected: str, by_session: bool
) -> None:
    """The decision says which of the two refused."""
    permissions = Permissions(read(*own), None if within is None else read(*within))
    decision = permissions.decide(action, resource, REQUEST)
    assert decision.allowed is (expected == ALLOW)
    assert decision.explicit_deny is (expected == DENY)
    assert decision.by_session is by_session


# --- Properties -----------------------------------------------------------------------------------------------------

ACTIONS = ["hbr:A", "hbr:Ab", "ecs:A"]
RESOURCES = ["acs:hbr:r:1:x", "acs:hbr:r:2:x"]
statements = st.builds(
    Statement,
    effect=st.sampled_from(Effect),
    actions=st.lists(st.sampled_from([*ACTIONS, "*", "hbr:*", "HBR:a?"]), min_size=1, max_size=2).map(tuple),
    resources=st.lists(st.sampled_from([*RESOURCES, "*"]), min_size=1, max_size=2).map(tuple),
    all_actions_but=st.booleans(),
)
sets = st.lists(statements, max_size=5).map(tuple)
asked: st.SearchStrategy[tuple[str, str, dict[str, str]]] = st.tuples(
    st.sampled_from(ACTIONS), st.sampled_from(RESOURCES), st.just({})
)


@given(sets, sets, asked)
def test_a_session_may_do_exactly_what_both_allow(own: Any, within: Any, ask: Any) -> None:
    """No more than either, and no less than both."""
    both = decide(own, *ask).allowed and decide(within, *ask).allowed
    assert Permissions(own, within).decide(*ask).allowed is both


@given(sets, sets, asked)
def test_a_session_policy_never_allows_more_than_the_role(own: Any, within: Any, ask: Any) -> None:
    """Whatever it contains."""
    if Permissions(own, within).decide(*ask).allowed:
        assert Permissions(own).decide(*ask).allowed


@given(sets, sets, statements, st.booleans(), asked)
def test_another_deny_in_either_layer_never_allows_more(own: Any, within: Any, more: Any, mine: bool, ask: Any) -> None:
    """Wherever it is placed."""
    denying = Statement(Effect.DENY, more.actions, more.resources, more.conditions, more.all_actions_but)
    before = Permissions(own, within).decide(*ask).allowed
    after = Permissions((denying, *own), within) if mine else Permissions(own, (*within, denying))
    assert before or not after.decide(*ask).allowed


@given(sets, sets, asked, st.randoms(use_true_random=False))
def test_the_order_in_either_layer_does_not_matter(own: Any, within: Any, ask: Any, random: Any) -> None:
    """Decision, explicit Deny and layer stay the same."""
    mixed = [random.sample(layer, len(layer)) for layer in (own, within)]
    one = Permissions(own, within).decide(*ask)
    other = Permissions(tuple(mixed[0]), tuple(mixed[1])).decide(*ask)
    assert (one.allowed, one.explicit_deny, one.by_session) == (other.allowed, other.explicit_deny, other.by_session)


@given(sets, asked)
def test_a_session_with_an_empty_policy_may_do_nothing(own: Any, ask: Any) -> None:
    """An empty policy is not the absence of a policy."""
    decision = Permissions(own, ()).decide(*ask)
    assert not decision.allowed
    assert decision.by_session


@given(st.text("ab*?", max_size=5), st.text("ab", max_size=4))
def test_a_pattern_of_actions_means_the_list_of_its_matches(pattern: str, name: str) -> None:
    """A statement with the pattern decides as one that lists every matching operation."""
    words = [""] + [w for n in range(1, 5) for w in _words(n)]
    expansion = tuple(f"hbr:{word}" for word in words if _stands_for(pattern, word)) or ("never:x",)
    short = Statement(Effect.ALLOW, (f"hbr:{pattern}",), ("*",))
    long = Statement(Effect.ALLOW, expansion, ("*",))
    assert decide([short], f"hbr:{name}", "*", {}).allowed == decide([long], f"hbr:{name}", "*", {}).allowed


def _words(length: int) -> list[str]:
    return ["a", "b"] if length == 1 else [head + tail for head in "ab" for tail in _words(length - 1)]


def _stands_for(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _stands_for(pattern[1:], text) or (bool(text) and _stands_for(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and _stands_for(pattern[1:], text[1:])
