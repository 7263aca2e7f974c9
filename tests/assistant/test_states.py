"""The status of an invocation from those of its instances, for newer and older clients."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.assistant.states import (
    FAILURES,
    FILTERS,
    OPEN,
    OVER,
    Overall,
    Status,
    legacy,
    legacy_overall,
    overall,
    overalls_for,
    result_of,
    statuses_for,
)
from backfleet.commands import Outcome, State

S = Status


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        pytest.param([S.SUCCESS, S.PENDING, S.RUNNING], Overall.PENDING, id="any pending"),
        pytest.param([S.RUNNING, S.SCHEDULED], Overall.SCHEDULED, id="any scheduled"),
        pytest.param([S.RUNNING, S.STOPPING, S.FAILED], Overall.RUNNING, id="any running"),
        pytest.param([S.STOPPING, S.SUCCESS], Overall.STOPPING, id="any stopping"),
        pytest.param([S.CANCELLED, S.TERMINATED], Overall.STOPPED, id="all stopped"),
        pytest.param([S.CANCELLED, S.TIMEOUT], Overall.FAILED, id="stopped or failed"),
        pytest.param([S.INVALID, S.ABORTED, S.FAILED, S.TIMEOUT, S.ERROR], Overall.FAILED, id="all failed"),
        pytest.param([S.SUCCESS, S.CANCELLED], Overall.SUCCESS, id="success with stopped"),
        pytest.param([S.SUCCESS, S.ABORTED], Overall.PARTIAL, id="success with failed"),
        pytest.param([S.SUCCESS, S.ABORTED, S.TERMINATED], Overall.PARTIAL, id="of all kinds"),
        pytest.param([S.SUCCESS], Overall.SUCCESS, id="one success"),
    ],
)
def test_the_status_over_all_instances(statuses: list[Status], wanted: Overall) -> None:
    """As the table of the cloud has it."""
    assert overall(statuses) is wanted


@given(st.lists(st.sampled_from(list(Status)), min_size=1))
def test_the_order_of_instances_does_not_matter(statuses: list[Status]) -> None:
    """And an invocation with an open instance is open."""
    found = overall(statuses)
    assert overall(reversed(statuses)) is found
    assert (found in OVER) == (not OPEN & set(statuses))
    if found is Overall.SUCCESS:
        assert not FAILURES & set(statuses)


def test_the_statuses_of_older_clients() -> None:
    """A failure is never Finished, a schedule never ends, and every filter chooses something."""
    assert {legacy(status) for status in FAILURES} == {"Failed"}
    assert legacy(Status.SCHEDULED) == legacy_overall(Overall.SCHEDULED) == "Running"
    assert [word for word in FILTERS if not overalls_for(word)] == []
    assert statuses_for("Stopped") == {Status.CANCELLED, Status.TERMINATED}
    assert statuses_for("Success") == statuses_for("Finished") == {Status.SUCCESS}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("stop_asked", [False, True])
@pytest.mark.parametrize("undelivered", [False, True])
def test_every_state_has_a_result(state: State, stop_asked: bool, undelivered: bool) -> None:
    """A final state ends the run; a run that was stopped and still goes on is Stopping."""
    news = Outcome("t-1", "r-1", state, 0, "", "", b"", datetime(2026, 1, 1, tzinfo=UTC), 1)
    result = result_of(news, stop_asked=stop_asked, undelivered=undelivered)
    if news.is_final:
        assert result.status not in OPEN
    if state is State.RUNNING:
        assert result.status is (Status.STOPPING if stop_asked else Status.RUNNING)
    assert bool(result.error_text) == (result.status in FAILURES)
