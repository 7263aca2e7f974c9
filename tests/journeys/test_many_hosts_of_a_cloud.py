"""The run of `bench/clouds.py`, for a few hosts, all but one with simulated agents."""

from pathlib import Path

import pytest

from journeys.many_cloud_hosts import run

HOSTS = 24

pytestmark = pytest.mark.slow


def test_every_host_ends_right_and_nothing_happens_twice_whatever_the_cloud_does(tmp_path: Path) -> None:
    """Calls are throttled, cut, doubled and lost, and both servers are killed while orders are under way."""
    found = run(tmp_path, simulated=HOSTS - 1, real=1, kills=1, seed=1)
    assert found.outcomes == {"1.0 1.0": HOSTS, "2.0 2.0": HOSTS}, found.errors
    assert (found.twice, found.errors) == ([], [])
    assert 0 < found.invocations <= found.batches
    assert found.kills == {"cloud": 2, "server": 2}
