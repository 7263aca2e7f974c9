"""Pauses between attempts, and the waits that servers ask for."""

from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.retries import backoff_seconds, retry_after_of_close_frame, retry_after_seconds

DATE = "Wed, 25 Nov 2026 10:00:00 GMT"


def test_pauses_double_up_to_their_bound() -> None:
    """Each pause lies in the upper half of its bound, wherever chance falls."""
    assert [backoff_seconds(number, 1.0, 8.0, 0.0) for number in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert [backoff_seconds(number, 1.0, 8.0, 0.999) for number in range(5)] == pytest.approx(
        [1.0, 2.0, 4.0, 8.0, 8.0], rel=0.01
    )


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_stay_within_their_bound(attempt: int, chance: float) -> None:
    """Never more than the most; never less than half of it once they have grown."""
    wait = backoff_seconds(attempt, 0.5, 30.0, chance)
    assert 0.25 <= wait <= 30
    assert attempt < 7 or wait >= 15


def test_a_server_that_is_away_for_years_does_not_overflow_the_pause() -> None:
    """Attempts count on without an end."""
    assert backoff_seconds(100_000, 1.0, 30.0, 0.5) == 22.5


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, 0.0, id="no header"),
        pytest.param({"Retry-After": "120"}, 120.0, id="seconds"),
        pytest.param({"Retry-After": " 7 "}, 7.0, id="blanks"),
        pytest.param({"Retry-After": "Wed, 25 Nov 2026 10:01:30 GMT", "Date": DATE}, 90.0, id="a date"),
        pytest.param({"Retry-After": "Wed, 25 Nov 2026 09:00:00 GMT", "Date": DATE}, 0.0, id="a date in the past"),
        pytest.param({"Retry-After": "Wed, 25 Nov 2026 10:01:30 GMT"}, 0.0, id="a date, and no Date to compare with"),
        pytest.param({"Retry-After": "-5"}, 0.0, id="negative"),
        pytest.param({"Retry-After": "soon", "Date": DATE}, 0.0, id="neither seconds nor a date"),
        pytest.param({"Retry-After": "9" * 400}, 0.0, id="a number that is far too long"),
    ],
)
def test_retry_after_header(headers: dict[str, str], seconds: float) -> None:
    """Anything that cannot be read asks for nothing."""
    message = Message()
    for name, value in headers.items():
        message[name] = value
    assert retry_after_seconds(message) == seconds  # type: ignore[arg-type]  # as urllib3's headers: any case


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        pytest.param(b"\x03\xe9retry-after=2.5", 2.5, id="seconds"),
        pytest.param(b"\x03\xe9retry-after=30", 30.0, id="whole seconds"),
        pytest.param(b"\x03\xe9", 0.0, id="no reason"),
        pytest.param(b"", 0.0, id="no code"),
        pytest.param(b"\x03\xe9retry-after=-1", 0.0, id="negative"),
        pytest.param(b"\x03\xe9retry-after=99999", 0.0, id="more than a few hours"),
        pytest.param(b"\x03\xe9retry-after=1e9", 0.0, id="not a plain number"),
        pytest.param(b"\x03\xe9\xff\xfe", 0.0, id="bytes that are not text"),
    ],
)
def test_retry_after_of_close_frame(content: bytes, seconds: float) -> None:
    """Anything that cannot be read asks for nothing; the agent's own longest pause bounds the rest."""
    assert retry_after_of_close_frame(content) == seconds
