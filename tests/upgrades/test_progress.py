"""Progress: one number that a script may rely on without reading anything else."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.upgrades.progress import ItemStatus, progress_of, share_of
from backfleet.upgrades.states import FINAL, NEXT, OPEN, ItemState
from backfleet_host.contract import STAGES

stages = st.sampled_from(["", *STAGES, "a step of a newer host"])
statuses = st.lists(st.tuples(st.sampled_from(list(ItemState)), stages), min_size=1, max_size=100)
everything_open = st.sampled_from(sorted(OPEN))
shown_before = st.integers(0, 99)


@given(statuses, shown_before)
def test_100_means_that_all_succeeded_and_minus_one_that_not_all_did(items: list[ItemStatus], before: int) -> None:
    """0 to 99 means open."""
    found, states = progress_of(items, before), {state for state, _ in items}
    if states & OPEN:
        assert before <= found <= 99
    elif states == {ItemState.SUCCEEDED}:
        assert found == 100
    else:
        assert found == -1


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), stages), max_size=5), max_size=8))
def test_it_never_falls_while_the_task_is_open(rounds: list[list[tuple[int, int, str]]]) -> None:
    """Whatever happens to the items: lost and found, steps reported out of order, one ending before another."""
    items: list[ItemStatus] = [(ItemState.WAITING, "")] * 4
    shown = [0]
    for moves in rounds:
        for number, choice, stage in moves:
            following = sorted(NEXT[items[number][0]])
            items[number] = (following[choice % len(following)] if following else items[number][0], stage)
        shown.append(progress_of(items, max(shown)))
    while_open = [number for number in shown if number not in (-1, 100)]
    assert while_open == sorted(while_open)
    assert all(number in (-1, 100) for number in shown[len(while_open) :])


@given(everything_open, stages)
def test_a_clients_share_is_complete_only_when_it_is_over(state: ItemState, stage: str) -> None:
    """However far its host has come."""
    assert 0 <= share_of(state, stage) < 100
    assert {share_of(final, stage) for final in FINAL} == {100}


def test_each_step_on_the_host_is_progress() -> None:
    """In the order in which they are taken, after the order was sent and begun."""
    shares = [
        share_of(ItemState.WAITING, ""),
        share_of(ItemState.SENT, ""),
        share_of(ItemState.RUNNING, ""),
        *(share_of(ItemState.RUNNING, stage) for stage in STAGES),
    ]
    assert all(earlier < later for earlier, later in pairwise(shares))
    assert shares[0] == 0


def test_each_state_and_step_has_its_share() -> None:
    """Whole numbers, and at most 95: nothing open looks complete."""
    shares = {
        **{state: share_of(state, "") for state in OPEN},
        **{stage: share_of(ItemState.RUNNING, stage) for stage in STAGES},
    }
    assert shares == {
        "waiting": 0, "sent": 5, "running": 10, "lost": 10, "admit": 15, "check": 25, "fetch": 35, "stage": 45,
        "drain": 55, "switch": 65, "prove": 75, "commit": 85, "back": 95,
    }  # fmt: skip
    assert {type(share) for share in shares.values()} == {int}
    assert share_of(ItemState.WAITING, "a step of a newer host") == 0


@given(statuses, shown_before)
def test_progress_is_a_whole_number(items: list[ItemStatus], before: int) -> None:
    """As the API's field is."""
    assert type(progress_of(items, before)) is int


def test_a_task_with_one_open_client_of_a_thousand_is_not_complete() -> None:
    """Rounded, its share would be 100."""
    assert progress_of([(ItemState.SUCCEEDED, "commit")] * 9999 + [(ItemState.RUNNING, "back")], 0) == 99
    assert progress_of([(ItemState.RUNNING, "")], 100) == 100  # progress never falls


@pytest.mark.parametrize(
    ("items", "shown"),
    [
        pytest.param([("expired", "")], -1, id="expired alone"),
        pytest.param([("running", "prove"), ("waiting", ""), ("waiting", "")], 25, id="rounded down"),
        pytest.param([("running", "commit"), ("waiting", ""), ("waiting", "")], 28, id="rounded down, too"),
        pytest.param([("waiting", "")] * 100, 0, id="nothing yet"),
        pytest.param([("succeeded", "commit")] * 99 + [("running", "commit")], 99, id="all but the last"),
        pytest.param([("succeeded", "commit"), ("waiting", "")], 50, id="half"),
        pytest.param([("failed", "check"), ("waiting", "")], 50, id="failed work counts as done"),
        pytest.param([("succeeded", "commit"), ("expired", "prove")], -1, id="over, not all succeeded"),
        pytest.param([("succeeded", ""), ("succeeded", "commit")], 100, id="over, all succeeded"),
    ],
)
def test_the_progress_of_these_items(items: list[tuple[str, str]], shown: int) -> None:
    """Each client weighs the same."""
    assert progress_of([(ItemState(state), stage) for state, stage in items], 0) == shown
