"""Stopping: what nobody has fetched is cancelled; what an agent has is stopped on its host, and never run again."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from backfleet import commands
from backfleet.commands import Handout, State
from commands.helpers import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Helpers


def test_a_waiting_command_is_cancelled(helpers: Helpers) -> None:
    """That is news for its sender only. Another sender's command of the same reference is not affected."""
    helpers.send("r-1")
    helpers.send("r-1", topic=OTHER_TOPIC)
    helpers.clear_published()
    helpers.stop("r-1")
    assert helpers.published == []
    assert [(outcome.state, outcome.is_final) for outcome in helpers.news()] == [(State.CANCELLED, True)]
    assert len(helpers.claim().run) == 1
    assert helpers.news(OTHER_TOPIC) == []


def test_a_command_that_an_agent_has_is_stopped_on_its_host(helpers: Helpers) -> None:
    """The agent is notified, and gets the stop with each fetch until it reports that the command stopped."""
    handed, running = helpers.handed("r-1"), helpers.running("r-2")
    lost = helpers.running("r-3", at=-200)
    helpers.hear(running, at=0)
    helpers.sweep(at=1)
    helpers.clear_published()
    helpers.stop("r-1", "r-2", "r-3", "unknown", at=2)
    assert helpers.published == ["instance/mi-1"]
    with helpers.database.reading() as tx:
        assert commands.oldest_work_for(tx, HOST) is not None
    for _ in range(2):
        handout = helpers.claim(at=2)
        assert (handout.run, sorted(handout.stop)) == ([], sorted([handed, running, lost]))
    for task_id in (handed, running, lost):
        assert helpers.end(task_id, "stopped", at=3)
    assert helpers.claim(at=3) == Handout([], [])
    with helpers.database.reading() as tx:
        assert commands.oldest_work_for(tx, HOST) is None


def test_a_command_may_finish_before_it_is_stopped(helpers: Helpers) -> None:
    """Then it has finished."""
    task_id = helpers.running()
    helpers.stop("r-1")
    assert helpers.end(task_id, exit_code=0)
    assert not helpers.end(task_id, "stopped")
    assert helpers.state() is State.FINISHED
    assert helpers.claim() == Handout([], [])


def test_a_command_that_has_ended_is_not_stopped(helpers: Helpers) -> None:
    """Nothing changes and nothing is published."""
    helpers.end(helpers.running())
    before = helpers.row()
    helpers.clear_published()
    helpers.stop("r-1")
    assert helpers.row() == before
    assert helpers.published == []


def test_a_command_to_be_stopped_is_never_handed_out_again(helpers: Helpers) -> None:
    """If its agent stays silent it is lost, and still to be stopped on its host."""
    task_id = helpers.handed()
    helpers.stop("r-1", at=1)
    helpers.clear_published()
    assert helpers.sweep(at=11) == 1
    assert helpers.published == [TOPIC]
    assert helpers.state() is State.LOST
    assert helpers.claim(at=11) == Handout([], [task_id])
    assert [outcome.state for outcome in helpers.news()] == [State.LOST]
    assert helpers.end(task_id, "stopped", at=12)
    assert helpers.state() is State.STOPPED


def test_a_command_that_waits_again_is_stopped_on_its_host(helpers: Helpers) -> None:
    """Its agent may have it all the same, so it is not cancelled."""
    task_id = helpers.handed()
    helpers.sweep(at=11)
    helpers.clear_published()
    helpers.stop("r-1", at=12)
    assert helpers.published == ["instance/mi-1"]
    assert helpers.state() is State.LOST
    assert helpers.claim(at=12) == Handout([], [task_id])
    assert helpers.end(task_id, exit_code=0, at=13)
    assert helpers.state() is State.FINISHED


# --- Races ----------------------------------------------------------------------------------------------------------


def claim(helpers: Helpers, tx: Any) -> None:
    assert helpers.claim_in(tx, at=11).run


def sweep(helpers: Helpers, tx: Any) -> None:
    assert commands.sweep(tx, now=helpers.moment(11), limit=10) == 1


@pytest.mark.parametrize(
    ("before", "meanwhile", "to"),
    [
        pytest.param(lambda helpers: helpers.send("r-1"), claim, State.HANDED, id="while it is handed out"),
        pytest.param(lambda helpers: helpers.handed(), sweep, State.LOST, id="while it is put back"),
    ],
)
def test_a_stop_during_another_change_is_not_lost(
    replicas: Helpers, before: Callable[[Helpers], Any], meanwhile: Callable[[Helpers, Any], None], to: State
) -> None:
    """Another replica changes the command at the same moment: the stop waits, and applies to its new state."""
    before(replicas)
    stopping = threading.Thread(target=replicas.stop, args=("r-1",), kwargs={"at": 11})
    with replicas.transaction() as tx:
        meanwhile(replicas, tx)
        stopping.start()
        stopping.join(0.3)  # it reaches the row that it has to wait for
    stopping.join(10)
    assert replicas.state() is to
    assert replicas.claim(at=11) == Handout([], [replicas.row().id])


def test_withdrawing_stops_only_what_nobody_has_fetched(helpers: Helpers) -> None:
    """What runs goes on; what was handed out is returned; what may be on its host is lost, and to be stopped."""
    running = helpers.running("r-1")
    helpers.handed("r-2")
    helpers.sweep(at=20)  # its lease ran out: it waits again, and may be on its host
    helpers.send("r-3", host=OTHER_HOST, at=20)
    helpers.claim(OTHER_HOST, at=20)
    helpers.send("r-4", host=OTHER_HOST, at=20)
    names = ["r-1", "r-2", "r-3", "r-4"]
    with helpers.transaction() as tx:
        assert commands.withdraw(tx, TOPIC, names, now=helpers.moment(21)) == ["r-3"]
    assert [helpers.state(name) for name in names] == [State.RUNNING, State.LOST, State.HANDED, State.CANCELLED]
    assert helpers.end(running)
