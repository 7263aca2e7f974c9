"""Stopping: what never left is cancelled, what is out is stopped on its host, and is never run again."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from backfleet import commands
from backfleet.commands import Handout, State
from commands.helpers import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Helpers


def test_what_waits_is_cancelled(helpers: Helpers) -> None:
    """No agent hears of it; its sender does. Another sender's of the same name stays."""
    helpers.send("r-1")
    helpers.send("r-1", topic=OTHER_TOPIC)
    helpers.silence()
    helpers.stop("r-1")
    assert helpers.published == []
    assert [(outcome.state, outcome.is_final) for outcome in helpers.news()] == [(State.CANCELLED, True)]
    assert len(helpers.claim().run) == 1
    assert helpers.news(OTHER_TOPIC) == []


def test_what_is_out_is_stopped_on_its_host(helpers: Helpers) -> None:
    """The agent is rung, and told each time it asks until it says that it stopped."""
    handed, running = helpers.handed("r-1"), helpers.running("r-2")
    lost = helpers.running("r-3", at=-200)
    helpers.hear(running, at=0)
    helpers.sweep(at=1)
    helpers.silence()
    helpers.stop("r-1", "r-2", "r-3", "nobody's", at=2)
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


def test_its_own_end_may_come_first(helpers: Helpers) -> None:
    """It finished before it could be stopped: then that is the truth."""
    task_id = helpers.running()
    helpers.stop("r-1")
    assert helpers.end(task_id, exit_code=0)
    assert not helpers.end(task_id, "stopped")
    assert helpers.state() is State.FINISHED
    assert helpers.claim() == Handout([], [])


def test_what_has_ended_is_not_stopped(helpers: Helpers) -> None:
    """Nothing changes and nobody is rung."""
    helpers.end(helpers.running())
    before = helpers.row()
    helpers.silence()
    helpers.stop("r-1")
    assert helpers.row() == before
    assert helpers.published == []


def test_a_stopped_one_is_never_handed_out_again(helpers: Helpers) -> None:
    """Its agent said nothing: it is lost, not run; and still to be stopped there."""
    task_id = helpers.handed()
    helpers.stop("r-1", at=1)
    helpers.silence()
    assert helpers.sweep(at=11) == 1
    assert helpers.published == [TOPIC]
    assert helpers.state() is State.LOST
    assert helpers.claim(at=11) == Handout([], [task_id])
    assert [outcome.state for outcome in helpers.news()] == [State.LOST]
    assert helpers.end(task_id, "stopped", at=12)
    assert helpers.state() is State.STOPPED


def test_one_that_waits_again_is_stopped_on_its_host(helpers: Helpers) -> None:
    """Its agent may have it all the same, so it is not taken for cancelled."""
    task_id = helpers.handed()
    helpers.sweep(at=11)
    helpers.silence()
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
def test_a_stop_is_not_lost(
    replicas: Helpers, before: Callable[[Helpers], Any], meanwhile: Callable[[Helpers, Any], None], to: State
) -> None:
    """Another replica moves the command at the same moment: the stop waits, and holds for where it then is."""
    before(replicas)
    stopping = threading.Thread(target=replicas.stop, args=("r-1",), kwargs={"at": 11})
    with replicas.transaction() as tx:
        meanwhile(replicas, tx)
        stopping.start()
        stopping.join(0.3)  # it comes to wait for the row
    stopping.join(10)
    assert replicas.state() is to
    assert replicas.claim(at=11) == Handout([], [replicas.row().id])


def test_taking_back_what_nobody_began(helpers: Helpers) -> None:
    """What runs goes on; what is out is left for later; what may be on its host is lost, and to be stopped."""
    out = helpers.running("r-1")
    helpers.handed("r-2")
    helpers.sweep(at=20)  # nothing was heard of it: it waits again, and may be on its host
    helpers.send("r-3", host=OTHER_HOST, at=20)
    helpers.claim(OTHER_HOST, at=20)
    helpers.send("r-4", host=OTHER_HOST, at=20)
    names = ["r-1", "r-2", "r-3", "r-4"]
    with helpers.transaction() as tx:
        assert commands.withdraw(tx, TOPIC, names, now=helpers.moment(21)) == ["r-3"]
    assert [helpers.state(name) for name in names] == [State.RUNNING, State.LOST, State.HANDED, State.CANCELLED]
    assert helpers.end(out)
