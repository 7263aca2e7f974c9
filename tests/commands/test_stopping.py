"""Stopping: what never left is cancelled, what is out is stopped on its host, and is never run again."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from backfleet import commands
from backfleet.commands import Handout, State
from commands.hands import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Hands


def test_what_waits_is_cancelled(hands: Hands) -> None:
    """No agent hears of it; its sender does. Another sender's of the same name stays."""
    hands.send("r-1")
    hands.send("r-1", topic=OTHER_TOPIC)
    hands.silence()
    hands.stop("r-1")
    assert hands.published == []
    assert [(outcome.state, outcome.is_final) for outcome in hands.news()] == [(State.CANCELLED, True)]
    assert len(hands.claim().run) == 1
    assert hands.news(OTHER_TOPIC) == []


def test_what_is_out_is_stopped_on_its_host(hands: Hands) -> None:
    """The agent is rung, and told each time it asks until it says that it stopped."""
    handed, running = hands.handed("r-1"), hands.running("r-2")
    lost = hands.running("r-3", at=-200)
    hands.hear(running, at=0)
    hands.sweep(at=1)
    hands.silence()
    hands.stop("r-1", "r-2", "r-3", "nobody's", at=2)
    assert hands.published == ["instance/mi-1"]
    with hands.database.reading() as tx:
        assert commands.waiting_for(tx, HOST) is not None
    for _ in range(2):
        handout = hands.claim(at=2)
        assert (handout.run, sorted(handout.stop)) == ([], sorted([handed, running, lost]))
    for task_id in (handed, running, lost):
        assert hands.end(task_id, "stopped", at=3)
    assert hands.claim(at=3) == Handout([], [])
    with hands.database.reading() as tx:
        assert commands.waiting_for(tx, HOST) is None


def test_its_own_end_may_come_first(hands: Hands) -> None:
    """It finished before it could be stopped: then that is the truth."""
    task_id = hands.running()
    hands.stop("r-1")
    assert hands.end(task_id, exit_code=0)
    assert not hands.end(task_id, "stopped")
    assert hands.state() is State.FINISHED
    assert hands.claim() == Handout([], [])


def test_what_has_ended_is_not_stopped(hands: Hands) -> None:
    """Nothing changes and nobody is rung."""
    hands.end(hands.running())
    before = hands.row()
    hands.silence()
    hands.stop("r-1")
    assert hands.row() == before
    assert hands.published == []


def test_a_stopped_one_is_never_handed_out_again(hands: Hands) -> None:
    """Its agent said nothing: it is lost, not run; and still to be stopped there."""
    task_id = hands.handed()
    hands.stop("r-1", at=1)
    hands.silence()
    assert hands.sweep(at=11) == 1
    assert hands.published == [TOPIC]
    assert hands.state() is State.LOST
    assert hands.claim(at=11) == Handout([], [task_id])
    assert [outcome.state for outcome in hands.news()] == [State.LOST]
    assert hands.end(task_id, "stopped", at=12)
    assert hands.state() is State.STOPPED


def test_one_that_waits_again_is_stopped_on_its_host(hands: Hands) -> None:
    """Its agent may have it all the same, so it is not taken for cancelled."""
    task_id = hands.handed()
    hands.sweep(at=11)
    hands.silence()
    hands.stop("r-1", at=12)
    assert hands.published == ["instance/mi-1"]
    assert hands.state() is State.LOST
    assert hands.claim(at=12) == Handout([], [task_id])
    assert hands.end(task_id, exit_code=0, at=13)
    assert hands.state() is State.FINISHED


# --- Races ----------------------------------------------------------------------------------------------------------


def claim(hands: Hands, tx: Any) -> None:
    assert hands.claim_in(tx, at=11).run


def sweep(hands: Hands, tx: Any) -> None:
    assert commands.sweep(tx, now=hands.moment(11), limit=10) == 1


@pytest.mark.parametrize(
    ("before", "meanwhile", "to"),
    [
        pytest.param(lambda hands: hands.send("r-1"), claim, State.HANDED, id="while it is handed out"),
        pytest.param(lambda hands: hands.handed(), sweep, State.LOST, id="while it is put back"),
    ],
)
def test_a_stop_is_not_lost(
    replicas: Hands, before: Callable[[Hands], Any], meanwhile: Callable[[Hands, Any], None], to: State
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


def test_taking_back_what_nobody_began(hands: Hands) -> None:
    """What runs goes on; what is out is left for later; what may be on its host is lost, and to be stopped."""
    out = hands.running("r-1")
    hands.handed("r-2")
    hands.sweep(at=20)  # nothing was heard of it: it waits again, and may be on its host
    hands.send("r-3", host=OTHER_HOST, at=20)
    hands.claim(OTHER_HOST, at=20)
    hands.send("r-4", host=OTHER_HOST, at=20)
    names = ["r-1", "r-2", "r-3", "r-4"]
    with hands.transaction() as tx:
        assert commands.take_back(tx, TOPIC, names, now=hands.moment(21)) == ["r-3"]
    assert [hands.state(name) for name in names] == [State.RUNNING, State.LOST, State.HANDED, State.CANCELLED]
    assert hands.end(out)
