"""From the sender to the agent: a command is sent once and handed out once per lease."""

import threading

import pytest

from backfleet import commands
from backfleet.commands import HandedInvocation, Handout, State, sending, worker
from backfleet.storage import Conflict
from commands.helpers import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Helpers

NOTHING = Handout([], [])


def test_a_command_waits_until_its_agent_fetches_it(helpers: Helpers) -> None:
    """The agent's topic is published; the hand-out has what was sent."""
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
    """Later, after it ended, or twice in one call: the first one stays as it is."""
    helpers.send("r-1", "r-1", content="first")
    first = helpers.row()
    helpers.send("r-2", "r-1", content="second")
    assert helpers.row() == first
    assert [command.content for command in helpers.claim().run] == ["first", "second"]
    helpers.end(first.id)
    helpers.send("r-1", content="third")
    assert helpers.claim() == NOTHING


def test_senders_do_not_share_their_references(helpers: Helpers) -> None:
    """A reference is unique within its topic only."""
    helpers.send("r-1")
    helpers.send("r-1", topic=OTHER_TOPIC)
    assert len(helpers.claim().run) == 2


def test_a_content_that_is_too_long_is_refused(helpers: Helpers) -> None:
    """Nothing is sent then, of the other commands neither."""
    with helpers.transaction() as tx:
        helpers.send_in(tx, "r-1", content="x" * sending.LONGEST_CONTENT)
    with pytest.raises(ValueError, match="49152 characters"), helpers.transaction() as tx:
        helpers.send_in(tx, "r-2")
        helpers.send_in(tx, "r-3", content="x" * (sending.LONGEST_CONTENT + 1))
    assert len(helpers.claim().run) == 1


def test_the_oldest_are_handed_out_first_and_no_more_than_an_agent_runs(helpers: Helpers) -> None:
    """What an agent has in its own queue could not be stopped: the rest waits here until something ends."""
    most = sending.RUN_AT_ONCE
    for number in range(3):
        helpers.send(*(f"r-{number}-{i}" for i in range(most // 2)), content=str(number), at=number)
    handed = helpers.claim(at=3).run
    assert [command.content for command in handed] == ["0"] * (most // 2) + ["1"] * (most // 2)
    assert helpers.claim(at=3) == NOTHING
    for command in handed[:2]:
        assert helpers.hear(command.task_id, at=4)
    assert helpers.claim(at=4) == NOTHING
    helpers.clear_published()
    assert helpers.end(handed[0].task_id, at=5)
    assert helpers.published == [TOPIC, "instance/mi-1"]  # its agent is kicked: it can run one more
    assert [command.content for command in helpers.claim(at=5).run] == ["2"]


def test_a_command_that_an_agent_would_only_queue_can_be_cancelled(helpers: Helpers) -> None:
    """It never reaches the agent."""
    helpers.send(*(f"r-{number}" for number in range(sending.RUN_AT_ONCE + 1)))
    handed = helpers.claim().run
    helpers.stop(f"r-{sending.RUN_AT_ONCE}")
    assert helpers.state(f"r-{sending.RUN_AT_ONCE}") is State.CANCELLED
    assert helpers.end(handed[0].task_id, at=1)
    assert helpers.claim(at=1) == NOTHING


def test_lost_commands_keep_no_others_from_being_handed_out(helpers: Helpers) -> None:
    """Nobody knows whether they still run, and that must not last for ever."""
    helpers.send(*(f"r-{number}" for number in range(sending.RUN_AT_ONCE)))
    for command in helpers.claim().run:
        helpers.hear(command.task_id)
    helpers.sweep(at=91)
    helpers.send("r-new", at=92)
    assert len(helpers.claim(at=92).run) == 1


def test_an_agent_that_starts_has_forgotten_its_tasks(helpers: Helpers) -> None:
    """One that ran or was to be stopped is lost at once. Other hosts keep theirs."""
    running = helpers.running("r-runs")
    helpers.handed("r-handed")
    helpers.handed("r-stopping")
    helpers.stop("r-stopping")
    helpers.send("r-there", host=OTHER_HOST)
    (there,) = helpers.claim(OTHER_HOST).run
    helpers.hear(there.task_id, host=OTHER_HOST)
    helpers.clear_published()
    with helpers.transaction() as tx:
        commands.end_all(tx, HOST, now=helpers.moment(1))
        handout = helpers.claim_in(tx, at=1)
    assert helpers.published == [TOPIC]
    assert [helpers.state(f"r-{name}") for name in ("runs", "handed", "stopping", "there")] == [
        State.LOST, State.HANDED, State.LOST, State.RUNNING
    ]  # fmt: skip
    assert handout.run == []
    assert handout.stop == [helpers.row("r-stopping").id]
    assert helpers.end(running, exit_code=0, at=2)  # if it is heard of after all, that counts
    assert helpers.state("r-runs") is State.FINISHED


def test_a_command_is_handed_out_again_only_after_its_lease_ran_out(helpers: Helpers) -> None:
    """The agent may never have received it."""
    helpers.handed()
    helpers.clear_published()
    assert helpers.sweep(at=10) == 0
    assert helpers.claim(at=10) == NOTHING
    assert helpers.sweep(at=10.001) == 1
    assert helpers.published == ["instance/mi-1"]
    assert helpers.state() is State.WAITING
    assert [command.task_id for command in helpers.claim(at=11).run] == [helpers.row().id]
    assert helpers.claim(at=11) == NOTHING
    assert helpers.news() == []  # for its sender nothing has happened


@pytest.mark.parametrize("chunk", [b"", b"begun\n"])
def test_output_of_a_command_that_waits_again_counts(helpers: Helpers, chunk: bytes) -> None:
    """It runs after all, and is not handed out a second time."""
    task_id = helpers.handed()
    helpers.sweep(at=11)
    assert helpers.hear(task_id, chunk, at=12)
    assert helpers.state() is State.RUNNING
    assert helpers.claim(at=12) == NOTHING


def test_the_final_report_of_a_command_that_waits_again_counts(helpers: Helpers) -> None:
    """Otherwise its outcome would be lost: the agent does not run it twice."""
    task_id = helpers.handed()
    helpers.sweep(at=11)
    assert helpers.end(task_id, exit_code=0, output=b"done\n", at=12)
    assert helpers.claim(at=12) == NOTHING
    assert [(outcome.state, outcome.output) for outcome in helpers.news()] == [(State.FINISHED, b"done\n")]


def test_a_running_command_is_lost_when_its_agent_goes_silent(helpers: Helpers) -> None:
    """Each heartbeat renews its lease; that it was lost is news."""
    task_id = helpers.running()
    assert helpers.hear(task_id, at=60)
    assert helpers.sweep(at=150) == 0
    helpers.clear_published()
    assert helpers.sweep(at=150.001) == 1
    assert helpers.published == [TOPIC]
    assert helpers.state() is State.LOST
    assert helpers.claim(at=151) == NOTHING
    assert [outcome.state for outcome in helpers.news()] == [State.LOST]
    assert helpers.sweep(at=1000) == 0


def test_a_sweep_goes_on_in_batches(helpers: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there may be more, it returns true."""
    monkeypatch.setattr(worker, "AT_ONCE", 2)
    helpers.send("r-1", "r-2", "r-3")
    helpers.claim()
    assert worker.run_once(helpers.database, now=helpers.moment(11))
    assert not worker.run_once(helpers.database, now=helpers.moment(11))
    assert len(helpers.claim(at=11).run) == 3
    assert not worker.run_once(helpers.database, now=helpers.moment(12))


def test_instances_with_work_are_listed_once(helpers: Helpers) -> None:
    """Those with something to run or to stop: for when notifications were lost."""
    helpers.send("r-1", "r-2", host="mi-waits")
    helpers.send("r-3", host="mi-runs")
    helpers.send("r-4", host="mi-stops")
    for host in ("mi-runs", "mi-stops"):
        helpers.claim(host)
    helpers.stop("r-4")
    with helpers.database.reading() as tx:
        assert sorted(commands.instances_with_work(tx, limit=10)) == ["mi-stops", "mi-waits"]
        assert len(commands.instances_with_work(tx, limit=1)) == 1


def test_old_commands_are_forgotten(helpers: Helpers) -> None:
    """Those of this sender, whatever their state; later reports on them are ignored."""
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


def test_agents_that_claim_at_once_share_the_work(helpers: Helpers) -> None:
    """Every command goes to exactly one of them."""
    helpers.send(*(f"r-{number}" for number in range(60)))
    at_once = threading.Barrier(6)
    got: list[str] = []

    def claim() -> None:
        at_once.wait(10)
        for _ in range(20):
            handed = [command.task_id for command in helpers.claim().run]
            got.extend(handed)
            for task_id in handed:
                helpers.end(task_id)

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == len(set(got)) == 60


def test_a_second_claim_does_not_wait_for_the_first(replicas: Helpers) -> None:
    """What another replica is handing out is skipped; if that replica dies, it is handed out later."""
    replicas.send("r-1", "r-2")
    with pytest.raises(RuntimeError), replicas.transaction() as first:
        assert len(replicas.claim_in(first).run) == 2
        with replicas.transaction() as second:
            assert replicas.claim_in(second) == NOTHING
        raise RuntimeError("the power fails")
    assert len(replicas.claim().run) == 2


def test_the_same_sent_at_once_is_one_command(replicas: Helpers) -> None:
    """The later of two replicas gets a conflict, and sends everything again."""
    conflicts: list[str] = []

    def send_too() -> None:
        try:
            replicas.send("r-2", "r-1", content="second")
        except Conflict:
            conflicts.append("conflict")

    thread = threading.Thread(target=send_too)
    with replicas.transaction() as tx:
        replicas.send_in(tx, "r-1", content="first")
        thread.start()
        thread.join(0.3)  # it reaches the row that it has to wait for
    thread.join(10)
    assert conflicts == ["conflict"]
    assert replicas.row("r-2") is None
    send_too()
    assert sorted(command.content for command in replicas.claim().run) == ["first", "second"]
