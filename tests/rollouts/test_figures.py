"""The budget that is left, and when a rollout may be over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.rollouts.figures import Left, budgets, expected_end
from backfleet.rollouts.model import RingRun
from backfleet.rollouts.policy import read_policy
from backfleet.rollouts.records import RolloutRecord, write_rings
from backfleet.rollouts.states import RingState, RolloutState

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
    assert expected_end(record(), COUNTS, NOW) == NOW + 40 * HOUR


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
    assert expected_end(record(**changes), counts, NOW) == expected
