"""Members that are alike are simulated as one value: what comes out is what comes out one by one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfleet.rollouts.assignment import Candidate
from backfleet.rollouts.policy import (
    Amount,
    Approval,
    Backups,
    Failure,
    Kind,
    Pace,
    Policy,
    PolicyRefused,
    Ring,
    Soak,
    Then,
    Verification,
    Window,
)  # fmt: skip
from backfleet.rollouts.simulation import Failures, Limits, members_of, simulate
from backfleet.rollouts.simulation.groups import Groups, may_group
from backfleet.rollouts.simulation.hosts import made_up_hosts
from backfleet.rollouts.timetable import Timetable

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
AMOUNTS = st.sampled_from(
    [Amount(1), Amount(7), Amount(40), Amount(percent=1), Amount(percent=7), Amount(percent=30), Amount(percent=100)]
)
CHECKS = st.lists(
    st.sampled_from([Backups("each"), Backups("any"), Soak(3), Approval(2), Backups("", 0)]), max_size=2, unique=True
).map(tuple)
KINDS = st.sampled_from([Kind.UPGRADE, Kind.UPGRADE, Kind.STAGE, Kind.ROLL_BACK])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Return a policy under which nothing but its rank tells when a member begins."""
    rings = [Ring("canary", count=draw(st.integers(1, 5)))]
    if draw(st.booleans()):
        rings.append(Ring("early", percent=draw(st.sampled_from([5, 20, 50])), checks=draw(CHECKS)))
    rings.append(Ring("rest", checks=draw(CHECKS), max_failed=draw(st.one_of(st.none(), AMOUNTS))))
    pace = Pace(draw(AMOUNTS), ramp=draw(st.booleans()), per_hour=draw(st.one_of(st.none(), AMOUNTS)))
    verification = Verification(draw(st.sampled_from([0, 6])), draw(st.sampled_from(["fail", "accept"])))
    window = Window(times=draw(st.sampled_from([(), ("Mon-Sun 22:00-23:30",)])))
    deadline = NOW + timedelta(hours=draw(st.sampled_from([3, 30, 400])))
    return Policy(
        "p", "courier", deadline, tuple(rings), version="2.0", kind=draw(KINDS), pace=pace, window=window,
        verification=verification, failure=Failure(draw(AMOUNTS)),
    )  # fmt: skip


def fleet(number: int, away: int) -> list[Candidate]:
    return [
        Candidate(f"c{at}", f"i{at}", "1.0", "linux-amd64", "stable", is_reachable=at % 10 >= away)
        for at in range(number)
    ]


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(
    policy=policies(),
    number=st.sampled_from([9, 60, 400]),
    away=st.integers(0, 4),
    failures=st.sampled_from([Failures(), Failures(0.05), Failures(0.4), Failures(is_bad=True)]),
    seed=st.integers(1, 5),
    decisions=st.sampled_from([40, 100_000]),
)
def test_a_simulation_of_groups_is_the_simulation_of_each_member(
    policy: Policy, number: int, away: int, failures: Failures, seed: int, decisions: int
) -> None:
    """The whole report: every count, every time, every reason and every name."""
    try:
        members = members_of(policy, fleet(number, away))
    except PolicyRefused:
        return
    assert may_group(policy, members)
    limits = Limits(decisions=decisions)
    one_by_one, grouped = (
        simulate(
            policy, members, Timetable(policy.window, {}), failures=failures, seed=seed, now=NOW, limits=limits,
            groups=groups,
        )
        for groups in (False, True)
    )  # fmt: skip
    assert grouped == one_by_one


def test_what_tells_members_apart_lets_each_be_simulated_by_itself() -> None:
    """Domains, jitter, time zones, and failures that are rolled back."""
    rings = (Ring("canary", count=1), Ring("rest"))
    plain = Policy("p", "courier", NOW + timedelta(days=1), rings, version="2.0")
    members = members_of(plain, fleet(10, 0))
    assert may_group(plain, members)
    assert not may_group(plain, [*members, members[0]._replace(domains=(("site", "ber"),))])
    assert not may_group(plain, [*members, members[0]._replace(zone="Europe/Berlin")])
    assert not may_group(replace(plain, pace=Pace(jitter_seconds=60)), members)
    assert not may_group(replace(plain, failure=Failure(then=Then.ROLL_BACK_MEMBER)), members)


def test_a_large_fleet_is_few_values() -> None:
    """Which is why a million members take less than a minute."""
    policy = Policy("p", "courier", NOW + timedelta(days=1), (Ring("canary", count=1), Ring("rest")), version="2.0")
    members = members_of(policy, fleet(5_000, 1))
    found = Groups(members, dict(made_up_hosts((each.client_id for each in members), Failures(), 1))).members()
    assert len(found) <= 3
    assert sum(each.size for each in found) == len(members)
