"""Members whose hosts fit no window before the deadline: explained, out of the way of later rings, ended in time."""

from datetime import timedelta

import pytest

from backfleet.rollouts.model import Member, Opening, OrderEnd
from backfleet.rollouts.policy import Ring, Window
from backfleet.rollouts.timetable import Timetable
from rollouts.strategy.decisions import HOUR, NOW, PENDING, RUNNING, M, decided, policy, row, some

TWO = (Ring("canary", count=2), Ring("early"), Ring("rest"))
NEVER = {"Mars": Opening(is_open=False, why="freeze")}
TOO_LATE = {"Mars": Opening(is_open=False, until=NOW + 24 * HOUR - timedelta(minutes=5), why="freeze")}
LATER = {"Mars": Opening(is_open=False, until=NOW + 3 * HOUR, why="freeze")}
TOO_SHORT = {"Mars": Opening(is_open=True, until=NOW + timedelta(minutes=5), why="window")}
DONE = some(2, M.SUCCEEDED)
STUCK = some(1, zone="Mars")


def early(stuck: list[Member]) -> list[Member]:
    return [*DONE, *[each._replace(ring=1) for each in stuck], *some(3, ring=2)]


@pytest.mark.parametrize(
    ("members", "zones", "begins"),
    [
        row([*some(1, M.SUCCEEDED), *STUCK, *some(3, ring=1)], NEVER, True, id="a canary that never fits is passed by"),
        row([*STUCK, *some(3, ring=1)], NEVER, False, id="where no canary succeeded nothing is known"),
        row([*some(1, M.SUCCEEDED), *STUCK, *some(3, ring=1)], TOO_LATE, True, id="one that opens too late never fits"),
        row([*some(1, M.SUCCEEDED), *STUCK, *some(3, ring=1)], LATER, False, id="one that opens later is waited for"),
        row([*some(1, M.SUCCEEDED), *STUCK, *some(1, M.UPGRADING), *some(3, ring=1)], NEVER, False,
            id="those under way are waited for"),
        row([*some(1, M.SUCCEEDED), *STUCK, *some(1, is_reachable=False), *some(3, ring=1)], NEVER, False,
            id="a canary that is away must come back all the same"),
    ],
)  # fmt: skip
def test_a_ring_is_through_without_those_that_fit_no_window(
    members: list[Member], zones: dict[str, Opening], begins: bool
) -> None:
    """Whether the ring after it starts."""
    found = decided(policy(*TWO), members, RUNNING, PENDING, PENDING, zones=zones)
    assert any((move.ring, move.to.value) == (1, "running") for move in found.ring_moves) is begins


def test_it_is_explained_and_the_others_go_on() -> None:
    """The zone is named; the ring after next begins."""
    found = decided(policy(*TWO), early(STUCK), RUNNING, RUNNING, PENDING, zones=NEVER)
    assert "none before the deadline is long enough for members in Mars" in found.waits_for
    assert len([move for move in found.moves if move.to is M.UPGRADING]) == 3


def test_it_ends_at_the_deadline_with_a_reason() -> None:
    """As every member does."""
    at = NOW + 24 * HOUR
    found = decided(policy(*TWO), early(STUCK), RUNNING, RUNNING, RUNNING, zones=NEVER, now=at)
    ended = {move.client_id: move for move in found.moves}
    assert (ended[STUCK[0].client_id].to, "deadline" in ended[STUCK[0].client_id].why) == (M.EXPIRED, True)


def test_the_last_ring_waits_for_it_until_the_deadline() -> None:
    """The rollout is not over before: a calendar may change."""
    found = decided(policy(*TWO), [*DONE, *[STUCK[0]._replace(ring=2)]], RUNNING, RUNNING, RUNNING, zones=NEVER)
    assert found.state is None
    assert found.waits_for


def test_windows_that_are_all_too_short_are_found_by_the_real_timetable() -> None:
    """Ten minutes a night are not enough for an order; twenty are."""
    for minutes, fits in ((10, False), (20, True)):
        table = Timetable(Window(times=(f"22:00-22:{minutes}",)), {})
        assert table.opens_for("", timedelta(minutes=15), NOW, NOW + 100 * HOUR) is fits


def test_one_whose_window_is_too_short_now_is_no_failure() -> None:
    """It has not begun; nothing of the budget is used."""
    ended = [each._replace(end=OrderEnd.SUCCEEDED) for each in DONE]
    found = decided(policy(*TWO), [*ended, *STUCK, *some(2, ring=1)], RUNNING, PENDING, PENDING, zones=TOO_SHORT)
    assert found.state is None
