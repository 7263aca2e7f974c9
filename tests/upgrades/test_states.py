"""The lives of items and tasks, and the number that shows how far they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.upgrades.progress import HIGHEST_WHILE_OPEN, progress_of, share_of
from backfleet.upgrades.states import FINAL, NEXT, OPEN, ItemState, TaskState, may_move, task_state
from backfleet_host.contract import STAGES

states = st.sampled_from(ItemState)
standings = st.lists(st.tuples(states, st.sampled_from(["", *STAGES])), min_size=1, max_size=20)


def test_the_table_is_complete() -> None:
    assert set(NEXT) == set(ItemState)
    assert {way for ways in NEXT.values() for way in ways} <= set(ItemState)
    assert {ItemState.SUCCEEDED, ItemState.FAILED, ItemState.CANCELLED, ItemState.EXPIRED} == FINAL


@given(st.lists(states, max_size=12))
def test_nothing_leaves_a_final_state(walk: list[ItemState]) -> None:
    """However often, and whatever, is asked."""
    state = ItemState.WAITING
    ended: ItemState | None = None
    for to in walk:
        if may_move(state, to):
            assert ended is None
            state = to
        if state in FINAL:
            ended = state
    assert ended in (None, state)


@pytest.mark.parametrize("state", sorted(OPEN))
@pytest.mark.parametrize("end", [ItemState.CANCELLED, ItemState.EXPIRED])
def test_whatever_is_open_can_be_ended(state: ItemState, end: ItemState) -> None:
    assert may_move(state, end)


@pytest.mark.parametrize("end", sorted(FINAL))
def test_every_end_is_reached_from_the_beginning(end: ItemState) -> None:
    reached, new = {ItemState.WAITING}, {ItemState.WAITING}
    while new:
        new = {way for state in new for way in NEXT[state]} - reached
        reached |= new
    assert end in reached


def test_a_success_is_never_a_guess() -> None:
    """Only what began on a host, or was lost there and told after all, succeeds or fails."""
    for end in (ItemState.SUCCEEDED, ItemState.FAILED):
        assert {state for state in ItemState if may_move(state, end)} == {ItemState.RUNNING, ItemState.LOST}


@given(st.lists(states, min_size=1))
def test_a_task_is_what_its_items_make_it(items: list[ItemState]) -> None:
    """Open while one is open; then the worst of their ends."""
    found = task_state(items)
    assert (found is TaskState.CREATED) == any(item in OPEN for item in items)
    if found is not TaskState.CREATED:
        assert (found is TaskState.EXPIRED) == (ItemState.EXPIRED in items)
        assert (found is TaskState.COMPLETED) == set(items).issubset({ItemState.SUCCEEDED, ItemState.FAILED})
    assert found is task_state(list(reversed(items)))


@given(standings, st.integers(0, 99))
def test_progress_says_how_far_and_how_well(now: list[tuple[ItemState, str]], shown: int) -> None:
    """0 to 99 and never less than was shown while one is open; then 100 if all succeeded, else -1."""
    found = progress_of(now, shown)
    items = [state for state, _ in now]
    if any(state in OPEN for state in items):
        assert shown <= found <= HIGHEST_WHILE_OPEN
    else:
        assert found == (100 if set(items) == {ItemState.SUCCEEDED} else -1)


@given(states, st.sampled_from(STAGES), st.sampled_from(STAGES))
def test_a_later_step_is_never_less(state: ItemState, one: str, other: str) -> None:
    first, second = sorted((one, other), key=STAGES.index)
    assert 0 <= share_of(state, first) <= share_of(state, second) <= 100
