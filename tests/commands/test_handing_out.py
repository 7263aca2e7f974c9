"""From the sender to the agent: sent once, handed out once per lease."""

import threading

import pytest

from backfleet import commands
from backfleet.commands import Command, Handout, State, sending, worker
from backfleet.storage import Conflict
from commands.hands import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Hands

NOTHING = Handout([], [])


def test_what_is_sent_waits_until_its_agent_asks(hands: Hands) -> None:
    """The agent's bell rings; the hand-out carries what was sent."""
    hands.send("r-1", content="echo é")
    assert hands.published == ["instance/mi-1"]
    task_id = hands.row().id
    with hands.database.reading() as tx:
        assert commands.waiting_for(tx, HOST) == task_id
        assert commands.waiting_for(tx, OTHER_HOST) is None
    assert hands.claim(OTHER_HOST) == NOTHING
    assert hands.claim() == Handout([Command(task_id, "echo é", 60)], [])
    assert hands.state() is State.HANDED
    assert hands.news() == []


def test_the_same_sent_twice_is_one_command(hands: Hands) -> None:
    """Later, after it ended, or twice in one go: the first stays as it is."""
    hands.send("r-1", "r-1", content="first")
    first = hands.row()
    hands.send("r-2", "r-1", content="second")
    assert hands.row() == first
    assert [command.content for command in hands.claim().run] == ["first", "second"]
    hands.end(first.id)
    hands.send("r-1", content="third")
    assert hands.claim() == NOTHING


def test_senders_do_not_share_their_names(hands: Hands) -> None:
    """A reference means something to its topic only."""
    hands.send("r-1")
    hands.send("r-1", topic=OTHER_TOPIC)
    assert len(hands.claim().run) == 2


def test_a_command_has_a_longest_content(hands: Hands) -> None:
    """One character more leaves nothing, of the others neither."""
    with hands.transaction() as tx:
        hands.send_in(tx, "r-1", content="x" * sending.LONGEST_CONTENT)
    with pytest.raises(ValueError, match="49152 characters"), hands.transaction() as tx:
        hands.send_in(tx, "r-2")
        hands.send_in(tx, "r-3", content="x" * (sending.LONGEST_CONTENT + 1))
    assert len(hands.claim().run) == 1


def test_oldest_first_and_not_too_many_at_once(hands: Hands) -> None:
    """A list that is too long would make the official agent kill itself; the rest keeps waiting."""
    most = sending.HANDED_AT_ONCE
    for number in range(3):
        hands.send(*(f"r-{number}-{i}" for i in range(most // 2)), content=str(number), at=number)
    assert [command.content for command in hands.claim(at=3).run] == ["0"] * (most // 2) + ["1"] * (most // 2)
    assert [command.content for command in hands.claim(at=3).run] == ["2"] * (most // 2)
    assert hands.claim(at=3) == NOTHING


def test_a_lease_that_runs_is_kept_and_one_that_ran_out_is_handed_again(hands: Hands) -> None:
    """The agent may never have got the answer."""
    hands.handed()
    hands.silence()
    assert hands.sweep(at=10) == 0
    assert hands.claim(at=10) == NOTHING
    assert hands.sweep(at=10.001) == 1
    assert hands.published == ["instance/mi-1"]
    assert hands.state() is State.WAITING
    assert [command.task_id for command in hands.claim(at=11).run] == [hands.row().id]
    assert hands.claim(at=11) == NOTHING
    assert hands.news() == []  # to its sender nothing has happened


@pytest.mark.parametrize("chunk", [b"", b"begun\n"])
def test_a_report_of_one_that_waits_again_is_the_truth(hands: Hands, chunk: bytes) -> None:
    """Its first report may be lost or late; it is not handed out a second time."""
    task_id = hands.handed()
    hands.sweep(at=11)
    assert hands.hear(task_id, chunk, at=12)
    assert hands.state() is State.RUNNING
    assert hands.claim(at=12) == NOTHING


def test_an_end_of_one_that_waits_again_is_the_truth(hands: Hands) -> None:
    """Otherwise its outcome would be gone: the agent does not run it twice."""
    task_id = hands.handed()
    hands.sweep(at=11)
    assert hands.end(task_id, exit_code=0, output=b"done\n", at=12)
    assert hands.claim(at=12) == NOTHING
    assert [(outcome.state, outcome.output) for outcome in hands.news()] == [(State.FINISHED, b"done\n")]


def test_a_running_one_lives_as_long_as_it_is_heard(hands: Hands) -> None:
    """Each sign of life renews its lease; silence loses it, and is told."""
    task_id = hands.running()
    assert hands.hear(task_id, at=60)
    assert hands.sweep(at=150) == 0
    hands.silence()
    assert hands.sweep(at=150.001) == 1
    assert hands.published == [TOPIC]
    assert hands.state() is State.LOST
    assert hands.claim(at=151) == NOTHING
    assert [outcome.state for outcome in hands.news()] == [State.LOST]
    assert hands.sweep(at=1000) == 0


def test_a_sweep_in_parts(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there may be more, the worker is told so."""
    monkeypatch.setattr(worker, "AT_ONCE", 2)
    hands.send("r-1", "r-2", "r-3")
    hands.claim()
    assert worker.look(hands.database, now=hands.moment(11))
    assert not worker.look(hands.database, now=hands.moment(11))
    assert len(hands.claim(at=11).run) == 3
    assert not worker.look(hands.database, now=hands.moment(12))


def test_who_has_work(hands: Hands) -> None:
    """Each instance once, for those whose pubsub were lost: with something to run or to stop."""
    hands.send("r-1", "r-2", host="mi-waits")
    hands.send("r-3", host="mi-runs")
    hands.send("r-4", host="mi-stops")
    for host in ("mi-runs", "mi-stops"):
        hands.claim(host)
    hands.stop("r-4")
    with hands.database.reading() as tx:
        assert sorted(commands.instances_with_work(tx, limit=10)) == ["mi-stops", "mi-waits"]
        assert len(commands.instances_with_work(tx, limit=1)) == 1


def test_the_old_are_forgotten(hands: Hands) -> None:
    """Of this sender, whatever their state; their reports are nobody's then."""
    old = hands.running("old", at=-100)
    hands.send("old", topic=OTHER_TOPIC, host=OTHER_HOST, at=-100)
    hands.send("new")
    with hands.transaction() as tx:
        assert commands.drop_before(tx, TOPIC, hands.now) == 1
        assert commands.drop_before(tx, TOPIC, hands.now) == 0
    assert not hands.end(old)
    assert not hands.hear(old)
    assert hands.state("new") is State.WAITING
    assert hands.row("old").topic == OTHER_TOPIC


# --- Races ----------------------------------------------------------------------------------------------------------


def test_many_claimers_at_once_share_the_work(hands: Hands) -> None:
    """Every command goes to exactly one of them."""
    hands.send(*(f"r-{number}" for number in range(60)))
    at_once = threading.Barrier(6)
    got: list[str] = []

    def ask() -> None:
        at_once.wait(10)
        for _ in range(3):
            got.extend(command.task_id for command in hands.claim().run)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == len(set(got)) == 60


def test_a_second_claimer_does_not_wait_for_the_first(replicas: Hands) -> None:
    """What another replica is handing out is skipped; if that replica dies, it waits again."""
    replicas.send("r-1", "r-2")
    with pytest.raises(RuntimeError), replicas.transaction() as first:
        assert len(replicas.claim_in(first).run) == 2
        with replicas.transaction() as second:
            assert replicas.claim_in(second) == NOTHING
        raise RuntimeError("the power fails")
    assert len(replicas.claim().run) == 2


def test_the_same_sent_at_once_is_one_command(replicas: Hands) -> None:
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
