"""How fast agents are kicked."""

import pytest

from backfleet.endpoints.agents.pacing import LEAST, SOON, Pace

MOST = 32
EARLY, LATE = SOON / 2, SOON * 2


def rounds(pace: Pace, count: int, seconds: float) -> int:
    """Let all awaited agents get their lists so often; return how many may be awaited then."""
    for _ in range(count):
        for _ in range(pace.allowed):
            pace.answered(seconds)
    return pace.allowed


def test_more_agents_are_awaited_while_lists_come_soon() -> None:
    """One more a round, up to the limit."""
    pace = Pace(MOST)
    before = pace.allowed
    assert before < rounds(pace, 3, EARLY) <= before + 4
    assert rounds(pace, 100, EARLY) == MOST


def test_fewer_agents_are_awaited_while_lists_come_late() -> None:
    """About half of them after a round, and never none."""
    pace = Pace(MOST)
    rounds(pace, 100, EARLY)
    assert MOST / 3 < rounds(pace, 1, LATE) < MOST * 2 / 3
    assert rounds(pace, 100, LATE) == LEAST
    assert rounds(pace, 100, EARLY) == MOST


@pytest.mark.parametrize("seconds", [EARLY, LATE])
def test_there_is_always_one(seconds: float) -> None:
    assert rounds(Pace(1), 100, seconds) == 1
