"""What the doctor says of a server's answers."""

from typing import Any

import pytest

from backfleet.cli._doctor import check_agents


@pytest.mark.parametrize(
    ("server", "healthy", "text"),
    [
        pytest.param({"ConnectedInstances": 3, "DeafInstances": 0}, True, "3 connected", id="all connected"),
        pytest.param({"ConnectedInstances": 2, "DeafInstances": 1}, False, "1 send heartbeats but have no", id="deaf"),
        pytest.param({}, True, "an unknown number connected", id="an older server"),
    ],
)
def test_agents_without_a_connection_are_reported(server: dict[str, Any], healthy: bool, text: str) -> None:
    """They run, and cannot be notified of work."""
    found = check_agents(server)
    assert found.healthy is healthy
    assert text in found.text
