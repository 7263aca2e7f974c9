"""What a server's farewell asks of the agent."""

import pytest

from backfleet_host.agent.protocol.channel import retry_after


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        pytest.param(b"\x03\xe9retry-after=2.5", 2.5, id="seconds"),
        pytest.param(b"\x03\xe9retry-after=30", 30.0, id="whole ones"),
        pytest.param(b"\x03\xe9", 0.0, id="nothing"),
        pytest.param(b"", 0.0, id="no code"),
        pytest.param(b"\x03\xe9retry-after=-1", 0.0, id="the past"),
        pytest.param(b"\x03\xe9retry-after=99999", 0.0, id="for ever"),
        pytest.param(b"\x03\xe9retry-after=1e9", 0.0, id="no plain number"),
        pytest.param(b"\x03\xe9\xff\xfe", 0.0, id="odd bytes"),
    ],
)
def test_when_to_come_back(content: bytes, seconds: float) -> None:
    """Anything else is no wish; whatever it is, the agent's own longest pause bounds it."""
    assert retry_after(content) == seconds
