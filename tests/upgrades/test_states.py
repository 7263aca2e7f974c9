"""The states of items and tasks, as properties of the table of moves."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.fleet import ClientStatus
from backfleet.upgrades import IllegalMove, Item, ItemState, Kind, TaskState
from backfleet.upgrades.model import new_item
from backfleet.upgrades.states import FINAL, NEXT, OPEN, may_move, task_state
from upgrades.helpers import nobody

STATES = list(ItemState)
states = st.sampled_from(STATES)


def item(now: datetime, *path: ItemState, kind: Kind = Kind.UPGRADE) -> Item:
    """An item that went through these states, a second each."""
    made = new_item(
        nobody(1), item_id="u-1", task_id="t-1", position=0, account_id="1000000000000001", kind=kind, now=now
    )
    for seconds, state in enumerate(path, 1):
        made = made.moved(state, at=now + timedelta(seconds=seconds), code=f"in {state}")
    return made


def test_every_state_is_in_the_table_and_is_open_or_final() -> None:
    """Four of each."""
    assert set(NEXT) == set(STATES)
    assert {state.value for state in OPEN} == {"waiting", "sent", "running", "lost"}
    assert {state.value for state in FINAL} == {"succeeded", "failed", "cancelled", "expired"}


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_final_state_is_never_left(state: ItemState, now: datetime) -> None:
    """An attempt to do so is a fault."""
    assert NEXT[state] == frozenset()
    over = item(now, ItemState.SENT, ItemState.RUNNING, state)
    for to in set(STATES) - {state}:
        with pytest.raises(IllegalMove):
            over.moved(to, at=now)
    assert over.moved(state, at=now + timedelta(days=1), code="again") is over


@pytest.mark.parametrize("state", sorted(OPEN))
def test_every_open_item_can_end(state: ItemState) -> None:
    """By its deadline or a cancel at once, by success or failure in the end."""
    assert {ItemState.CANCELLED, ItemState.EXPIRED} <= NEXT[state]
    reached, fresh = {state}, {state}
    while fresh:
        fresh = {to for one in fresh for to in NEXT[one]} - reached
        reached |= fresh
    assert reached >= FINAL


def test_only_a_host_that_began_can_succeed_or_fail() -> None:
    """No other state leads there."""
    ends = {ItemState.SUCCEEDED, ItemState.FAILED}
    assert {state for state in STATES if NEXT[state] & ends} == {ItemState.RUNNING, ItemState.LOST}


def test_nothing_is_sent_twice() -> None:
    """Nothing leads back to waiting, and only waiting leads to sent."""
    assert [state for state in STATES if may_move(state, ItemState.WAITING)] == []
    assert [state for state in STATES if may_move(state, ItemState.SENT)] == [ItemState.WAITING]


@given(st.lists(states, max_size=12))
def test_an_item_makes_only_the_moves_of_the_table(asked: list[ItemState]) -> None:
    """It ends at most once, and has a completion time exactly when it has ended."""
    start = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
    now, ends = item(start), []
    for seconds, to in enumerate(asked, 1):
        before = now
        try:
            now = now.moved(to, at=start + timedelta(seconds=seconds))
        except IllegalMove:
            assert not may_move(before.state, to)
        if now.state is not before.state:
            assert may_move(before.state, now.state)
            ends += [seconds] if not now.is_open else []
        assert (now.completed_at is None) == now.is_open
        assert now.started_at is not None or now.state is not ItemState.RUNNING
    assert len(ends) <= 1
    assert now.completed_at == (start + timedelta(seconds=ends[0]) if ends else None)


def test_an_item_starts_when_its_host_first_reports_on_it(now: datetime) -> None:
    """Being lost and found again does not change that; the old code is cleared."""
    lost = item(now, ItemState.SENT, ItemState.RUNNING, ItemState.LOST)
    found = lost.moved(ItemState.RUNNING, at=now + timedelta(seconds=60))
    assert (found.started_at, found.code) == (now + timedelta(seconds=2), "")


@pytest.mark.parametrize(
    ("kind", "open_", "succeeded", "failed"),
    [
        pytest.param(
            Kind.UPGRADE, ClientStatus.UPGRADING, ClientStatus.ACTIVATED, ClientStatus.UPGRADE_FAILED, id="upgrade"
        ),
        pytest.param(
            Kind.INSTALL, ClientStatus.INSTALLING, ClientStatus.ACTIVATED, ClientStatus.INSTALL_FAILED, id="install"
        ),
        pytest.param(
            Kind.UNINSTALL,
            ClientStatus.UNINSTALLING,
            ClientStatus.NOT_INSTALLED,
            ClientStatus.UNINSTALL_FAILED,
            id="uninstall",
        ),
    ],
)
def test_a_clients_status_follows_its_item(
    kind: Kind, open_: ClientStatus, succeeded: ClientStatus, failed: ClientStatus, now: datetime
) -> None:
    """In the API's words, for each state."""
    begun = (ItemState.SENT, ItemState.RUNNING)
    for path in ((), begun[:1], begun, (*begun, ItemState.LOST)):
        assert item(now, *path, kind=kind).client_status is open_
    assert item(now, *begun, ItemState.SUCCEEDED, kind=kind).client_status is succeeded
    for end in (ItemState.FAILED, ItemState.CANCELLED, ItemState.EXPIRED):
        over = item(now, *begun, end, kind=kind)
        assert replace(over, current_version="").client_status is failed
        assert replace(over, current_version="1.0", code="RollbackFailed").client_status is failed
        runs = ClientStatus.ACTIVATED if kind is Kind.INSTALL else failed  # an install of another version failed
        assert replace(over, current_version="1.0").client_status is runs


# --- Tasks ----------------------------------------------------------------------------------------------------------


@given(st.lists(states, min_size=1, max_size=100))
def test_a_task_is_open_exactly_while_an_item_is(items: list[ItemState]) -> None:
    """The order of its items does not matter."""
    found = task_state(items)
    assert (found is TaskState.CREATED) == any(state in OPEN for state in items)
    assert task_state(items[::-1]) is found
    if found is TaskState.COMPLETED:
        assert set(items) <= {ItemState.SUCCEEDED, ItemState.FAILED}


@pytest.mark.parametrize(
    ("items", "state"),
    [
        pytest.param("succeeded", TaskState.COMPLETED, id="all succeeded"),
        pytest.param("succeeded failed", TaskState.COMPLETED, id="partly"),
        pytest.param("failed", TaskState.COMPLETED, id="failed"),
        pytest.param("succeeded cancelled", TaskState.CANCELLED, id="cancelled halfway"),
        pytest.param("succeeded expired", TaskState.EXPIRED, id="some out of time"),
        pytest.param("cancelled expired", TaskState.EXPIRED, id="both"),
        pytest.param("succeeded failed lost", TaskState.CREATED, id="one lost"),
        pytest.param("waiting expired", TaskState.CREATED, id="one still to be sent"),
    ],
)
def test_how_a_task_ended(items: str, state: TaskState) -> None:
    """Completed means that every item ended by itself."""
    assert task_state([ItemState(value) for value in items.split()]) is state
