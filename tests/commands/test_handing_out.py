"""From the sender to the agent: sent once, handed out once per lease."""

import threading

import pytest

from backfleet import commands
from backfleet.commands import HandedInvocation, Handout, State, sending, worker
from backfleet.storage import Conflict
from commands.helpers import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Helpers

NOTHING = Handout([], [])


def test_what_is_sent_waits_until_its_agent_asks(helpers: Helpers) -> None:
    """The agent's bell rings; the hand-out carries what was sent."""
    helpers.send("r-1", content="echo é")
    assert helpers.published == ["instance/mi-1"]
    task_id = helpers.row().id
    with helpers.database.reading() as tx:
        assert commands.oldest_work_for(tx, HOST) == task_id
        assert commands.oldest_work_for(tx, OTHER_HOST) is None
    assert helpers.claim(OTHER_HOST) == NOTHING
    assert helpers.claim() == Handout([HandedInvocation(task_id, "echo é", 60)], [])
    assert helpers.state() is State.HANDED
    assert helpers.news() == []


def test_the_same_sent_twice_is_one_command(helpers: Helpers) -> None:
    """Later, after it ended, or twice in one go: the first stays as it is."""
    helpers.send("r-1", "r-1", content="first")
    first = helpers.row()
    helpers.send("r-2", "r-1", content="second")
    assert helpers.row() == first
    assert [command.content for command in helpers.claim().run] == ["first", "second"]
    helpers.end(first.id)
    helpers.send("r-1", content="third")
    assert helpers.claim() == NOTHING


def test_senders_do_not_share_their_names(helpers: Helpers) -> None:
    """A reference means something to its topic only."""
    helpers.send("r-1")
    helpers.send("r-1", topic=OTHER_TOPIC)
    assert len(helpers.claim().run) == 2


def test_a_command_has_a_longest_content(helpers: Helpers) -> None:
    """One character more leaves nothing, of the others neither."""
    with helpers.transaction() as tx:
        helpers.send_in(tx, "r-1", content="x" * sending.LONGEST_CONTENT)
    with pytest.raises(ValueError, match="49152 characters"), helpers.transaction() as tx:
        helpers.send_in(tx, "r-2")
        helpers.send_in(tx, "r-3", content="x" * (sending.LONGEST_CONTENT + 1))
    assert len(helpers.claim().run) == 1


def test_oldest_first_and_not_too_many_at_once(helpers: Helpers) -> None:
    """A list that is too long would make the official agent kill itself; the rest keeps waiting."""
    most = sending.HANDED_AT_ONCE
    for number in range(3):
        helpers.send(*(f"r-{number}-{i}" for i in range(most // 2)), content=str(number), at=number)
    assert [command.content for command in helpers.claim(at=3).run] == ["0"] * (most // 2) + ["1"] * (most // 2)
    assert [command.content for command in helpers.claim(at=3).run] == ["2"] * (most // 2)
    assert helpers.claim(at=3) == NOTHING


def test_a_lease_that_runs_is_kept_and_one_that_ran_out_is_handed_again(helpers: Helpers) -> None:
    """The agent may never have got the answer."""
    helpers.handed()
    helpers.silence()
    assert helpers.sweep(at=10) == 0
    assert helpers.claim(at=10) == NOTHING
    assert helpers.sweep(at=10.001) == 1
    assert helpers.published == ["instance/mi-1"]
    assert helpers.state() is State.WAITING
    assert [command.task_id for command in helpers.claim(at=11).run] == [helpers.row().id]
    assert helpers.claim(at=11) == NOTHING
    assert helpers.news() == []  # to its sender nothing has happened


@pytest.mark.parametrize("chunk", [b"", b"begun\n"])
def test_a_report_of_one_that_waits_again_is_the_truth(helpers: Helpers, chunk: bytes) -> None:
    """Its first report may be lost or late; it is not handed out a second time."""
    task_id = helpers.handed()
    helpers.sweep(at=11)
    assert helpers.hear(task_id, chunk, at=12)
    assert helpers.state() is State.RUNNING
    assert helpers.claim(at=12) == NOTHING


def test_an_end_of_one_that_waits_again_is_the_truth(helpers: Helpers) -> None:
    """Otherwise its outcome would be gone: the agent does not run it twice."""
    task_id = helpers.handed()
    helpers.sweep(at=11)
    assert helpers.end(task_id, exit_code=0, output=b"done\n", at=12)
    assert helpers.claim(at=12) == NOTHING
    assert [(outcome.state, outcome.output) for outcome in helpers.news()] == [(State.FINISHED, b"done\n")]


def test_a_running_one_lives_as_long_as_it_is_heard(helpers: Helpers) -> None:
    """Each sign of life renews its lease; silence loses it, and is told."""
    task_id = helpers.running()
    assert helpers.hear(task_id, at=60)
    assert helpers.sweep(at=150) == 0
    helpers.silence()
    assert helpers.sweep(at=150.001) == 1
    assert helpers.published == [TOPIC]
    assert helpers.state() is State.LOST
    assert helpers.claim(at=151) == NOTHING
    assert [outcome.state for outcome in helpers.news()] == [State.LOST]
    assert helpers.sweep(at=1000) == 0


def test_a_sweep_in_parts(helpers: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there may be more, the worker is told so."""
    monkeypatch.setattr(worker, "AT_ONCE", 2)
    helpers.send("r-1", "r-2", "r-3")
    helpers.claim()
    assert worker.run_once(helpers.database, now=helpers.moment(11))
    assert not worker.run_once(helpers.database, now=helpers.moment(11))
    assert len(helpers.claim(at=11).run) == 3
    assert not worker.run_once(helpers.database, now=helpers.moment(12))


def test_who_has_work(helpers: Helpers) -> None:
    """Each instance once, for those whose pubsub were lost: with something to run or to stop."""
    helpers.send("r-1", "r-2", host="mi-waits")
    helpers.send("r-3", host="mi-runs")
    helpers.send("r-4", host="mi-stops")
    for host in ("mi-runs", "mi-stops"):
        helpers.claim(host)
    helpers.stop("r-4")
    with helpers.database.reading() as tx:
        assert sorted(commands.instances_with_work(tx, limit=10)) == ["mi-stops", "mi-waits"]
        assert len(commands.instances_with_work(tx, limit=1)) == 1


def test_the_old_are_forgotten(helpers: Helpers) -> None:
    """Of this sender, whatever their state; their reports are nobody's then."""
    old = helpers.running("old", at=-100)
    helpers.send("old", topic=OTHER_TOPIC, host=OTHER_HOST, at=-100)
    helpers.send("new")
    with helpers.transaction() as tx:
        assert commands.drop_before(tx, TOPIC, helpers.now) == 1
        assert commands.drop_before(tx, TOPIC, helpers.now) == 0
    assert not helpers.end(old)
    assert not helpers.hear(old)
    assert helpers.state("new") is State.WAITING
    assert helpers.row("old").topic == OTHER_TOPIC


# --- Races ----------------------------------------------------------------------------------------------------------


def test_many_claimers_at_once_share_the_work(helpers: Helpers) -> None:
    """Every command goes to exactly one of them."""
    helpers.send(*(f"r-{number}" for number in range(60)))
    at_once = threading.Barrier(6)
    got: list[str] = []

    def ask() -> None:
        at_once.wait(10)
        for _ in range(3):
            got.extend(command.task_id for command in helpers.claim().run)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == len(set(got)) == 60


def test_a_second_claimer_does_not_wait_for_the_first(replicas: Helpers) -> None:
    """What another replica is handing out is skipped; if that replica dies, it waits again."""
    replicas.send("r-1", "r-2")
    with pytest.raises(RuntimeError), replicas.transaction() as first:
        assert len(replicas.claim_in(first).run) == 2
        with replicas.transaction() as second:
            assert replicas.claim_in(second) == NOTHING
        raise RuntimeError("the power fails")
    assert len(replicas.claim().run) == 2


def test_the_same_sent_at_once_is_one_command(replicas: Helpers) -> None:
    """The later of two replicas learns that it came second, and tries again as a whole."""
    told: list[str] = []

    def send_too() -> None:
        try:
            replicas.send("r-2", "r-1", content="second")
        except Conflict:
            told.append("conflict")

    thread = threading.Thread(target=send_too)
    with replicas.transaction() as tx:
        replicas.send_in(tx, "r-1", content="first")
        thread.start()
        thread.join(0.3)  # it comes to wait for the first one's row
    thread.join(10)
    assert told == ["conflict"]
    assert replicas.row("r-2") is None
    send_too()
    assert sorted(command.content for command in replicas.claim().run) == ["first", "second"]
