"""How many more backups failed under a version than before a rollout."""

import pytest

from backfleet.backups import Results
from backfleet.rollouts.health import above_baseline


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        pytest.param(Results(10, 0), Results(90, 10), 0, id="none failed"),
        pytest.param(Results(9, 1), Results(90, 10), 0, id="as many as before"),
        pytest.param(Results(8, 2), Results(90, 10), 1, id="one more"),
        pytest.param(Results(0, 2), Results(0, 0), 2, id="nothing is known of before"),
        pytest.param(Results(0, 3), Results(0, 50), 0, id="all failed before, too"),
        pytest.param(Results(0, 1), Results(900, 10), 1, id="a share that gives no whole failure"),
    ],
)
def test_failures_beyond_the_share_of_before_are_counted(now: Results, before: Results, expected: int) -> None:
    assert above_baseline(now, before) == expected
