"""The budget that is left, and when a rollout may be over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.rollouts.board import Board
from backfleet.rollouts.figures import Expected, Left, budgets, expected_end
from backfleet.rollouts.model import Member, Opening, RingRun
from backfleet.rollouts.policy import read_policy
from backfleet.rollouts.records import RolloutRecord, write_rings
from backfleet.rollouts.states import MemberState, RingState, RolloutState
from backfleet.rollouts.waiting import read_waits, waits_of, write_waits

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
POLICY = """
name = "a"
package = "courier"
version = "2.0"
deadline = "2026-12-20T06:00:00Z"
[[ring]]
name = "canary"
count = 4
max_failed = 1
[[ring]]
name = "rest"
gates = [{ kind = "soak", hours = 24 }]
[failure]
max_failed = "10%"
"""
HOUR = timedelta(hours=1)
COUNTS = {(0, "succeeded"): 3, (0, "failed"): 1, (1, "pending"): 16}


def record(**changes: Any) -> RolloutRecord:
    rings = (RingRun(RingState.RUNNING, NOW - 4 * HOUR), RingRun())
    known: dict[str, Any] = {
        "id": "ro-1", "account_id": "1", "region": "r", "name": "a", "policy": POLICY, "policy_sha256": "",
        "package": "courier", "kind": "upgrade", "state": RolloutState.RUNNING, "author": "", "created_at": NOW,
        "updated_at": NOW, "deadline": NOW + 1000 * HOUR, "rings": write_rings(rings),
    }  # fmt: skip
    return RolloutRecord(**{**known, **changes})


def test_a_ring_with_a_budget_of_its_own_counts_there_only() -> None:
    """10 % of 20 members may fail elsewhere."""
    assert budgets(read_policy(POLICY), COUNTS, {0: 1, 1: 1}) == (Left(2, 1), {0: Left(1, 1)})
    assert (Left(2, 1).left, Left(0, 1).left) == (1, -1)


def test_the_end_is_expected_at_the_pace_so_far_and_after_the_soak_times_to_come() -> None:
    """4 in 4 hours: 16 more take 16 hours, and a soak of 24 comes before them."""
    assert expected_end(record(), COUNTS, NOW) == Expected(NOW + 40 * HOUR)


@pytest.mark.parametrize(
    ("changes", "counts", "expected"),
    [
        pytest.param({"state": RolloutState.PAUSED}, COUNTS, None, id="nothing is expected of one that stands still"),
        pytest.param({}, {(0, "succeeded"): 2, (1, "pending"): 9}, None, id="two members tell nothing"),
        pytest.param({"deadline": NOW + HOUR}, COUNTS, NOW + HOUR, id="the deadline comes first"),
        pytest.param({"policy": "{"}, COUNTS, None, id="its policy cannot be read"),
        pytest.param({}, {(0, "succeeded"): 4}, NOW + 24 * HOUR, id="only the soak time is left"),
    ],
)
def test_an_end_is_expected_or_not(changes: Any, counts: Any, expected: datetime | None) -> None:
    """Each for one reason."""
    assert expected_end(record(**changes), counts, NOW).at == expected


def rings(*states: RingState) -> str:
    """Return how far two rings are: what has started did so 4 hours ago."""
    return write_rings(
        tuple(
            RingRun(
                state,
                None if state is RingState.PENDING else NOW - 4 * HOUR,
                NOW if state is RingState.FINISHED else None,
            )
            for state in states
        )
    )


RUNS, THROUGH, TO_COME = RingState.RUNNING, RingState.FINISHED, RingState.PENDING


@pytest.mark.parametrize(
    ("states", "waits", "counts", "expected"),
    [
        pytest.param(
            (THROUGH, RUNS), {"away": 2, "busy": 1}, {(0, "succeeded"): 4, (1, "pending"): 3},
            Expected(None, "nobody can begin now: 2 hosts that cannot be reached, 1 busy host"),
            id="only members that wait are left",
        ),
        pytest.param(
            (THROUGH, RUNS), {"window": 9}, {(0, "succeeded"): 4, (1, "pending"): 9},
            Expected(None, "nobody can begin now: 9 members whose windows are shut"), id="the window is shut",
        ),
        pytest.param(
            (RUNS, TO_COME), {"away": 1}, {(0, "succeeded"): 4, (0, "pending"): 1, (1, "pending"): 9},
            Expected(None, "nobody can begin now: 1 host that cannot be reached"), id="a canary is away",
        ),
        pytest.param(
            (THROUGH, RUNS), {"away": 2, "held": 1, "pinned": 1}, {(0, "succeeded"): 4, (1, "pending"): 8},
            Expected(
                NOW + 8 * HOUR,
                "without 2 hosts that cannot be reached, 1 member that is held, 1 member that is pinned",
            ),
            id="those that wait take no part in the pace",
        ),
        pytest.param(
            (THROUGH, RUNS), {"away": 3}, {(0, "succeeded"): 4, (1, "upgrading"): 1, (1, "pending"): 3},
            Expected(NOW + 2 * HOUR, "without 3 hosts that cannot be reached"), id="one is under way",
        ),
        pytest.param(
            (THROUGH, TO_COME), {"away": 1}, {(0, "succeeded"): 4, (0, "pending"): 1, (1, "pending"): 8},
            Expected(NOW + 32 * HOUR, "without 1 host that cannot be reached"), id="the next ring begins by its gates",
        ),
        pytest.param(
            (THROUGH, TO_COME), {}, {(0, "failed"): 4, (1, "pending"): 8},
            Expected(None, "no member of the rings so far has succeeded"), id="nobody tried it with success",
        ),
        pytest.param(
            (RUNS, TO_COME), {}, {(0, "succeeded"): 1, (0, "pending"): 8},
            Expected(None, "too few members have ended"), id="one member tells nothing",
        ),
    ],
)  # fmt: skip
def test_an_end_says_who_is_not_counted_or_why_nobody_can_foresee_it(
    states: Any, waits: Any, counts: Any, expected: Expected
) -> None:
    """At 4 members in 4 hours, or in 8 where the canaries took their time as well."""
    found = record(rings=rings(*states), waits=write_waits(waits))
    assert expected_end(found, counts, NOW) == expected


@pytest.mark.parametrize(("hours_ago", "expected"), [(0, 32), (20, 12), (30, 8)])
def test_of_a_soak_that_has_begun_only_the_rest_is_to_come(hours_ago: int, expected: int) -> None:
    """24 hours after the ring before ended; 8 members at the pace of 4 in 4 hours come after it."""
    ended = NOW - hours_ago * HOUR
    runs = (RingRun(THROUGH, ended - 4 * HOUR, ended), RingRun())
    found = record(rings=write_rings(runs))
    counts = {(0, "succeeded"): 4, (1, "pending"): 8}
    assert expected_end(found, counts, NOW) == Expected(NOW + expected * HOUR)


def test_members_that_wait_are_counted_by_what_they_wait_for() -> None:
    """Of rings that have started. One that waits for its turn is not counted."""
    runs = (RingRun(RUNS, NOW), RingRun())
    facts: list[dict[str, Any]] = [
        {}, {"is_reachable": False}, {"is_reachable": False}, {"not_before": NOW + HOUR}, {"not_before": NOW - HOUR},
        {"is_held": True, "is_reachable": False}, {"pinned": "it is pinned"}, {"zone": "Asia/Tokyo"},
        {"state": MemberState.UPGRADING}, {"ring": 1, "is_reachable": False},
    ]  # fmt: skip
    board = Board(
        read_policy(POLICY),
        [Member(**{"client_id": f"c{at}", "instance_id": "i", "ring": 0, "rank": at} | each)
         for at, each in enumerate(facts)],
    )  # fmt: skip
    found = waits_of(board, runs, Nights(), NOW)
    assert found == {"away": 2, "busy": 1, "held": 1, "pinned": 1, "window": 1}
    assert read_waits(write_waits(found)) == found
    assert read_waits('{"away": 1, "moon": 2}') == {"away": 1}


class Nights:
    """Windows that are shut in Tokyo."""

    def opening(self, zone: str, now: datetime) -> Opening:
        return Opening(not zone)

    def opens_for(self, zone: str, needs: timedelta, begin: datetime, end: datetime) -> bool:
        return True
