"""The table of states, and that every event in the life of a command makes one of its moves."""

import itertools
import string
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfleet.commands import FINAL_REPORTS, State
from backfleet.commands.states import FINAL, NEXT, may_move
from commands.helpers import HANDED, HOST, OTHER_HOST, RUNNING, Helpers

ONES = itertools.count(1)


def test_every_state_has_a_row() -> None:
    """Every row leads to known states."""
    assert set(NEXT) == set(State)
    assert all(to in NEXT for following in NEXT.values() for to in following)


def test_every_state_can_be_reached() -> None:
    """From waiting."""
    found = {State.WAITING}
    while (more := found.union(*(NEXT[state] for state in found))) != found:
        found = more
    assert found == set(State)


def test_final_states_are_never_left() -> None:
    """So are what an agent reports as an end, a cancel before it fetched the command, and a deregistered instance."""
    assert {*FINAL_REPORTS.values(), State.CANCELLED, State.GONE} == FINAL
    assert not any(may_move(state, to) for state in FINAL for to in State)


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
@pytest.mark.parametrize("to", sorted(FINAL_REPORTS.values()))
def test_a_final_report_is_accepted_in_every_open_state(state: State, to: State) -> None:
    """Also after the command was lost, and while it waits to be handed out again."""
    assert may_move(state, to)


def test_only_what_was_never_handed_out_is_cancelled() -> None:
    """What an agent may have can only be stopped on its host."""
    assert [state for state in State if may_move(state, State.CANCELLED)] == [State.WAITING]


EVENTS: Final = st.one_of(
    st.sampled_from(["claim", "heartbeat", "stop", "started before", "report of another host"]),
    st.sampled_from(sorted(FINAL_REPORTS)),
    st.integers(0, 120).map(lambda seconds: f"sweep after {seconds}"),
    st.text(string.ascii_lowercase, min_size=1, max_size=5).map(lambda text: f"chunk {text}"),
)


class Scenario:
    """One command, and what must hold after every event."""

    def __init__(self, helpers: Helpers) -> None:
        number = next(ONES)  # one database sees many examples
        self.helpers, self.reference, self.host = helpers, f"scenario-{number}", f"{HOST}-{number}"
        helpers.send(self.reference, host=self.host)
        self.row = helpers.row(self.reference)
        self.at, self.leased_until, self.stopped = 0.0, 0.0, False

    def happen(self, event: str) -> None:
        self._do(event)
        before, self.row = self.row, self.helpers.row(self.reference)
        self._check_the_move(event, before)

    def _do(self, event: str) -> None:
        helpers, task_id = self.helpers, self.row.id
        match event.split():
            case ["claim"]:
                self._claim()
            case ["stop"]:
                helpers.stop(self.reference, at=self.at)
                self.stopped = True
            case ["sweep", "after", seconds]:
                self.at += float(seconds)
                helpers.sweep(self.at, limit=1000)
            case ["report", *_]:
                assert not helpers.end(task_id, host=OTHER_HOST, at=self.at)
                assert not helpers.hear(task_id, b"forged", host=OTHER_HOST, at=self.at)
            case ["heartbeat"]:
                self._lease(helpers.hear(task_id, host=self.host, at=self.at))
            case ["chunk", text]:
                self._lease(helpers.hear(task_id, text.encode(), host=self.host, at=self.at))
            case ["started", *_]:
                helpers.end(task_id, "error", error_code="-9", host=self.host, at=self.at)
            case [kind]:
                helpers.end(task_id, kind, exit_code=self.row.revision, host=self.host, at=self.at)

    def _claim(self) -> None:
        handout = self.helpers.claim(self.host, at=self.at)
        if handout.run:
            assert self.row.state == State.WAITING
            assert self.at >= self.leased_until
            assert not self.stopped
            self.leased_until = self.at + HANDED.total_seconds()

    def _lease(self, taken: bool) -> None:
        if taken:
            self.leased_until = self.at + RUNNING.total_seconds()

    def _check_the_move(self, event: str, before: Any) -> None:
        state, to = State(before.state), State(self.row.state)
        assert to is state or may_move(state, to), event
        if state in FINAL:
            assert self.row == before, event
        if to is not state and {to, state} != {State.WAITING, State.HANDED}:
            assert self.row.revision > before.revision, event
        assert (self.row.lease_until is not None) >= (to in (State.HANDED, State.RUNNING)), event
        if to in FINAL | {State.LOST}:
            assert self.row.lease_until is None, event
        if self.stopped:
            assert to is not State.WAITING, event


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENTS, max_size=14))
def test_every_event_makes_a_move_of_the_table(helpers: Helpers, events: list[str]) -> None:
    """An end is final, nothing is handed out twice under one lease, and nothing runs that is to be stopped."""
    scenario = Scenario(helpers)
    for event in events:
        scenario.happen(event)
