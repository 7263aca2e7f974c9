"""Members that share a value of a tag: how many of them are open at one time."""

import pytest

from backfleet.rollouts.model import Member
from backfleet.rollouts.policy import Amount, Pace
from rollouts.strategy.decisions import LENIENT, M, begun, decided, policy, row, some, tagged

APART = Pace(Amount(percent=100), ramp=False, never_together=("set",))
TWO_A_SITE = Pace(Amount(percent=100), ramp=False, per_domain={"site": 2})
BOTH = Pace(Amount(percent=100), ramp=False, never_together=("set",), per_domain={"site": 2})


@pytest.mark.parametrize(
    ("limits", "members", "expected"),
    [
        row(APART, [tagged(name="x", set="a"), tagged(name="y", set="a")], 1, id="two replicas of one set: one begins"),
        row(APART, [tagged(set="a"), tagged(set="b")], 2, id="members of two sets begin together"),
        row(APART, [tagged(set="a"), tagged(M.UPGRADING, set="a")], 0, id="one waits while the other is under way"),
        row(APART, [tagged(set="a"), tagged(M.VERIFYING, set="a")], 0, id="and while the other is verifying"),
        row(APART, [tagged(set="a"), tagged(M.ROLLING_BACK, set="a")], 0, id="and while the other goes back"),
        row(APART, [tagged(set="a"), tagged(M.SUCCEEDED, set="a")], 1, id="it begins once the other succeeded"),
        row(APART, [tagged(set="a"), tagged(M.FAILED, set="a")], 1, id="a failed one that has ended is not under way"),
        row(APART, some(3), 3, id="members without the tag are apart from nobody"),
        row(APART, [tagged(other="a"), tagged(name="z", other="a")], 2, id="other tags keep nobody apart"),
        row(APART, [tagged(set="a"), tagged(M.UPGRADING, ring=1, set="a")], 0, id="rings do not matter"),
        row(TWO_A_SITE, [tagged(name=n, site="a") for n in "pqr"], 2, id="two of a site are two"),
        row(TWO_A_SITE, [tagged(name=n, site=n[0]) for n in ("a1", "a2", "b1")], 3, id="each site has its own limit"),
        row(TWO_A_SITE, [tagged(site="a"), tagged(M.UPGRADING, site="a")], 1, id="one of two places of a site is free"),
        row(TWO_A_SITE, [*[tagged(site="a")], *[tagged(M.VERIFYING, name=n, site="a") for n in "pq"]], 1,
            id="verifying frees the place of a site"),
        row(BOTH, [tagged(name=n, site="a", set=n) for n in "pqr"], 2, id="both limits hold at one time"),
        row(BOTH, [tagged(name=n, site=n, set="s") for n in "pqr"], 1, id="the stricter one decides"),
    ],
)  # fmt: skip
def test_members_of_a_domain(limits: Pace, members: list[Member], expected: int) -> None:
    """As many as the domain lets."""
    two_rings = policy(*(policy().rings * 2), pace=limits, **LENIENT)
    assert len(begun(decided(two_rings, members))) == expected


def test_what_a_blocked_member_waits_for_names_the_tag_and_its_value() -> None:
    """So that somebody can look for the other one."""
    found = decided(policy(pace=APART, **LENIENT), [tagged(set="a"), tagged(M.VERIFYING, set="a")])
    assert found.waits_for == "never together: another member with set=a is under way"


def test_a_blocked_member_does_not_keep_others_from_beginning() -> None:
    """The next one by rank takes its place."""
    blocked, free = tagged(name="p", set="a")._replace(rank=0), tagged(name="q", set="b")._replace(rank=1)
    found = decided(policy(pace=Pace(Amount(2), ramp=False, never_together=("set",))), [
        blocked, free, tagged(M.UPGRADING, set="a"),
    ])  # fmt: skip
    assert begun(found) == ["q"]
