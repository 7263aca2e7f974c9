"""Ending what is open: the deadline, an operator, and what a host says of it later; then forgetting."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from backfleet import commands, upgrades
from backfleet.commands import State
from backfleet.fleet import ClientStatus
from backfleet.upgrades import TOPIC, Item, ItemState, Task, TaskState
from backfleet.upgrades._tables import items, tasks, tokens
from backfleet.upgrades.worker import TASKS_AT_ONCE
from operations.environment import OTHER
from upgrades.hands import LIFE, WAIT, Hands, meanwhile, nobody, report_of

# --- The deadline ---------------------------------------------------------------------------------------------------


def test_the_deadline_is_exact(hands: Hands) -> None:
    """A second before, nothing; at the second, whoever asks is told, and the worker writes it down."""
    task, item, command = hands.under_way()
    hands.look(at=LIFE - 1)
    assert hands.task(task, at=LIFE - 1).state is TaskState.CREATED
    told = hands.task(task, at=LIFE)
    hands.look(at=LIFE + 7)
    for found in (told, hands.task(task)):
        assert (found.state, found.progress, found.completed_at) == (TaskState.EXPIRED, -1, task.deadline)
        assert (found.items[0].state, found.items[0].code) == (ItemState.EXPIRED, "TaskExpired")
        assert found.items[0].completed_at == task.deadline
    assert hands.claim(item.instance_id, at=LIFE + 8).stop == [command]


def test_nothing_is_sent_at_the_deadline(hands: Hands) -> None:
    """A worker that comes so late ends it, and the host never hears of it."""
    target = hands.target()
    task = hands.start(target)
    hands.look(at=LIFE)
    assert hands.task(task).state is TaskState.EXPIRED
    assert hands.sent(task.items[0]) is None
    assert hands.client(target.client_id).status is ClientStatus.UPGRADE_FAILED


def test_what_is_over_in_time_stays_so(hands: Hands) -> None:
    """Only open items expire; the task is expired because of them."""
    task = hands.start(hands.target(), hands.target())
    hands.look()
    good, _ = task.items
    hands.end(good, hands.begin(good), report_of(good))
    hands.look()
    hands.look(at=LIFE)
    assert [item.state for item in hands.task(task).items] == [ItemState.SUCCEEDED, ItemState.EXPIRED]
    assert (hands.task(task).state, hands.task(task).progress) == (TaskState.EXPIRED, -1)


def test_more_tasks_than_one_look_takes_all_expire(hands: Hands) -> None:
    """Look says that there may be more, and does not send what is left to expire."""
    made = [hands.start(nobody(number)) for number in range(TASKS_AT_ONCE + 1)]
    assert hands.look_once(at=LIFE)
    assert {hands.sent(task.items[0]) for task in made} == {None}
    assert not hands.look_once(at=LIFE)
    assert {hands.task(task).state for task in made} == {TaskState.EXPIRED}


def test_news_that_comes_before_its_task_is_ended_ends_it(hands: Hands) -> None:
    """At the deadline, before the worker came to this task: it has expired, and its host is told to stop."""
    for number in range(TASKS_AT_ONCE):
        hands.start(nobody(number))
    task, item, command = hands.under_way()
    hands.say(item, command, "drain", at=LIFE - 1)
    hands.look_once(at=LIFE)
    over = hands.task(task)
    assert (over.state, over.items[0].stage, over.completed_at) == (TaskState.EXPIRED, "drain", task.deadline)
    assert hands.claim(item.instance_id, at=LIFE).stop == [command]


@pytest.mark.parametrize(
    ("outcome", "version", "status"),
    [
        pytest.param("succeeded", "2.0", ClientStatus.ACTIVATED, id="it came there after all"),
        pytest.param("failed", "1.0", ClientStatus.UPGRADE_FAILED, id="it was taken back"),
    ],
)
def test_a_late_report_is_true_of_the_client(hands: Hands, outcome: str, version: str, status: ClientStatus) -> None:
    """The task stays expired; its item keeps what the host has now."""
    target = hands.target()
    task, item, command = hands.under_way(target)
    hands.look(at=LIFE)
    before = hands.task(task)
    hands.end(item, command, report_of(item, outcome, code="" if outcome == "succeeded" else "RolledBack"), at=2000)
    hands.look(at=2001)
    after = hands.task(task)
    assert (after.state, after.completed_at, after.progress) == (TaskState.EXPIRED, before.completed_at, -1)
    assert (after.items[0].state, after.items[0].current_version) == (ItemState.EXPIRED, version)
    client = hands.client(target.client_id)
    assert (client.version, client.status) == (version, status)


def test_a_report_that_the_worker_collects_too_late_is_late(hands: Hands) -> None:
    """The task was told to have expired; its client is as its host says, and there is nothing left to stop."""
    target = hands.target()
    task, item, command = hands.under_way(target)
    hands.end(item, command, report_of(item), at=LIFE - 1)
    hands.look(at=LIFE)
    assert hands.task(task).state is TaskState.EXPIRED
    assert hands.client(target.client_id).version == "2.0"
    assert hands.claim(item.instance_id, at=LIFE) == commands.Handout([], [])


def test_an_old_report_leaves_a_new_task_alone(hands: Hands) -> None:
    """The version is the truth; the status is that of the task that moves the client now."""
    target = hands.target()
    _, item, command = hands.under_way(target)
    hands.look(at=LIFE)
    new = hands.start(target, at=LIFE + 1)
    hands.end(item, command, report_of(item), at=LIFE + 2)
    hands.look(at=LIFE + 3)
    client = hands.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.UPGRADING)
    assert hands.item(new).is_open


def test_a_report_older_than_what_is_known_is_not_believed(hands: Hands) -> None:
    """The host has told of a later order since."""
    target = hands.target()
    _, old, command = hands.under_way(target)
    hands.look(at=LIFE)
    new = hands.start(target, at=LIFE + 1)
    hands.look(at=LIFE + 1)
    (item,) = new.items
    hands.end(item, hands.begin(item, at=LIFE + 2), report_of(item), at=LIFE + 3)
    hands.look(at=LIFE + 4)
    hands.end(old, command, report_of(old, "failed", code="RolledBack"), at=LIFE + 5)
    hands.look(at=LIFE + 6)
    client = hands.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


def test_of_two_reports_collected_at_once_the_later_orders_stays(hands: Hands) -> None:
    """Whichever was told first."""
    target = hands.target()
    _, old, command = hands.under_way(target)
    hands.look(at=LIFE)
    new = hands.start(target, at=LIFE + 1)
    hands.look(at=LIFE + 1)
    (item,) = new.items
    hands.end(item, hands.begin(item, at=LIFE + 2), report_of(item), at=LIFE + 3)
    hands.end(old, command, report_of(old, "failed", code="RolledBack"), at=LIFE + 5)
    hands.look(at=LIFE + 6)
    client = hands.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


# --- Cancelling -----------------------------------------------------------------------------------------------------


def waiting(hands: Hands, task: Task) -> None:
    """Nothing was sent."""


def sent(hands: Hands, task: Task) -> None:
    hands.look()


def handed(hands: Hands, task: Task) -> None:
    hands.look()
    hands.claim(task.items[0].instance_id)


def running(hands: Hands, task: Task) -> None:
    hands.look()
    hands.begin(task.items[0], "fetch")
    hands.look()


def lost(hands: Hands, task: Task) -> None:
    running(hands, task)
    hands.sweep(at=91)
    hands.look(at=91)


@pytest.mark.parametrize(
    ("so_far", "command", "stops"),
    [
        pytest.param(waiting, None, 0, id="before it is sent"),
        pytest.param(sent, State.CANCELLED, 0, id="before its host asks"),
        pytest.param(handed, State.HANDED, 1, id="before it begins"),
        pytest.param(running, State.RUNNING, 1, id="while it runs"),
        pytest.param(lost, State.LOST, 1, id="while it is in doubt"),
    ],
)
def test_cancelling(hands: Hands, so_far: Callable[[Hands, Task], None], command: State | None, stops: int) -> None:
    """What was never handed out never runs, the rest is stopped on its host; a second time changes nothing."""
    target = hands.target()
    task = hands.start(target)
    so_far(hands, task)
    assert hands.cancel(task, at=100)
    over = hands.task(task, at=100)
    assert (over.state, over.progress, over.completed_at) == (TaskState.CANCELLED, -1, hands.moment(100))
    (item,) = over.items
    assert (item.state, item.code, item.completed_at) == (ItemState.CANCELLED, "TaskCancelled", hands.moment(100))
    assert hands.client(target.client_id).status is ClientStatus.UPGRADE_FAILED
    hands.look(at=101)
    assert hands.cancel(task, at=102)
    hands.look(at=LIFE)
    assert hands.task(task, at=LIFE) == over
    assert (None if hands.sent(item) is None else hands.command_state(item)) == command
    handout = hands.claim(item.instance_id, at=103)
    assert (handout.run, len(handout.stop)) == ([], stops)


def test_what_is_cancelled_may_be_done_all_the_same(hands: Hands) -> None:
    """Its host had begun to switch: the task stays cancelled, the client is what it is."""
    target = hands.target()
    task, item, command = hands.under_way(target)
    hands.cancel(task, at=10)
    before = hands.task(task)
    hands.end(item, command, report_of(item), at=20)
    hands.look(at=21)
    after = hands.task(task)
    assert replace(after, items=()) == replace(before, items=())
    assert (after.items[0].state, after.items[0].current_version) == (ItemState.CANCELLED, "2.0")
    client = hands.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


def test_what_is_over_is_not_cancelled(hands: Hands) -> None:
    """Well or badly, it stays as it is."""
    for outcome in ("succeeded", "failed"):
        task, item, command = hands.under_way()
        hands.end(item, command, report_of(item, outcome))
        hands.look()
        before = hands.task(task)
        assert hands.cancel(task, at=5)
        assert hands.task(task) == before


def test_cancelling_ends_what_is_open_and_no_more(hands: Hands) -> None:
    """The task is cancelled, though some had succeeded."""
    task = hands.start(hands.target(), hands.target())
    hands.look()
    good, _ = task.items
    hands.end(good, hands.begin(good), report_of(good))
    hands.look()
    hands.cancel(task)
    assert [item.state for item in hands.task(task).items] == [ItemState.SUCCEEDED, ItemState.CANCELLED]
    assert (hands.task(task).state, hands.task(task).progress) == (TaskState.CANCELLED, -1)


def test_what_is_past_its_deadline_has_expired_and_is_not_cancelled(hands: Hands) -> None:
    """It was told so already."""
    task = hands.start(hands.target())
    assert hands.cancel(task, at=LIFE)
    assert hands.task(task).state is TaskState.EXPIRED
    assert hands.item(task).code == "TaskExpired"


def test_another_accounts_task_is_not_there_to_cancel(hands: Hands) -> None:
    """As one that never was."""
    task = hands.start(nobody(1))
    assert not hands.cancel(task, account=OTHER)
    assert hands.item(task).is_open
    with hands.transaction() as tx:
        assert not upgrades.cancel(tx, hands.account, "t-none", now=hands.moment(0))
        assert upgrades.read(tx, OTHER, task.id, now=hands.moment(0)) is None


# --- At the same moment ---------------------------------------------------------------------------------------------


def test_a_cancel_while_it_is_being_sent(replicas: Hands) -> None:
    """It waits for the worker, and takes back what the worker sent."""
    task = replicas.start(replicas.target())
    with replicas.held_back(replicas.look):
        cancelling = meanwhile(partial(replicas.cancel, task))
        assert not cancelling.done()
    assert cancelling.result(WAIT)
    assert replicas.item(task).state is ItemState.CANCELLED
    assert replicas.command_state(task.items[0]) is State.CANCELLED
    assert replicas.claim(task.items[0].instance_id).run == []


def test_a_cancel_while_its_report_is_collected(replicas: Hands) -> None:
    """The report was first: the task is completed."""
    task, item, command = replicas.under_way()
    replicas.end(item, command, report_of(item), at=1)
    with replicas.held_back(partial(replicas.look, 2)):
        cancelling = meanwhile(partial(replicas.cancel, task, 2))
        assert not cancelling.done()
    assert cancelling.result(WAIT)
    assert replicas.item(task).state is ItemState.SUCCEEDED
    assert (replicas.task(task).state, replicas.task(task).progress) == (TaskState.COMPLETED, 100)


def test_two_workers_at_the_deadline(replicas: Hands) -> None:
    """The second finds nothing left to do."""
    task = replicas.start(replicas.target(), replicas.target())
    replicas.look()
    with replicas.held_back(partial(replicas.look, LIFE)):
        other = meanwhile(partial(replicas.look_once, LIFE + 1))
        assert not other.done()
    assert not other.result(WAIT)
    over = replicas.task(task)
    assert (over.state, over.completed_at, over.updated_at) == (TaskState.EXPIRED, task.deadline, task.deadline)


# --- Forgetting -----------------------------------------------------------------------------------------------------


def purge(hands: Hands, before: float) -> None:
    with hands.transaction() as tx:
        upgrades.purge(tx, before=hands.moment(before))


def finished(hands: Hands, at: float, token: str | None = None) -> tuple[Task, Item]:
    """A task that was cancelled at this moment."""
    task = hands.start(hands.target(), at=at, token=token)
    hands.look(at)
    hands.cancel(task, at)
    hands.look(at)
    return task, task.items[0]


def test_what_was_over_before_a_moment_is_forgotten(hands: Hands) -> None:
    """With its items, commands and token; at the moment itself it is kept, and so is whatever is open."""
    old, item = finished(hands, at=0, token="old")
    new, kept = finished(hands, at=10, token="new")
    open_ = hands.start(nobody(1), at=0)
    purge(hands, before=10)
    with hands.database.reading() as tx:
        assert upgrades.read(tx, hands.account, old.id, now=hands.moment(10)) is None
    assert hands.sent(item) is None
    assert hands.started_before("old", at=11) is None
    assert hands.task(new, at=10).items[0].state is ItemState.CANCELLED
    assert hands.sent(kept) is not None
    assert hands.started_before("new", at=11) is not None
    assert hands.item(open_).is_open
    assert (hands.rows_of(tasks), hands.rows_of(items), hands.rows_of(tokens)) == (2, 2, 1)


def test_a_token_whose_task_is_forgotten_is_free(hands: Hands) -> None:
    """Though its day is not over: else nobody could ever use it."""
    finished(hands, at=0, token="once")
    purge(hands, before=1)
    assert hands.started_before("once", at=2) is None
    assert hands.start(nobody(1), at=2, token="once").items[0].is_open


def test_a_command_of_another_room_is_not_forgotten_here(hands: Hands) -> None:
    """Only this room's topic."""
    send = commands.Send(hands.account, "mi-1", "true", 60, "r-1")
    with hands.transaction() as tx:
        commands.send_many(tx, [send], topic="others", now=hands.moment(0), draw=hands.env.services.draw)
    purge(hands, before=1000)
    assert len(hands.claim("mi-1").run) == 1


def test_a_report_for_what_is_forgotten_is_nobodys(hands: Hands) -> None:
    """The host is answered, and nothing changes."""
    target = hands.target()
    task, item, command = hands.under_way(target)
    hands.cancel(task)
    purge(hands, before=1)
    with hands.transaction() as tx:
        ending = commands.Ending("finish", output=report_of(item).as_line().encode())
        assert not commands.ended(tx, item.instance_id, command, ending, now=hands.moment(2))
    hands.look(at=3)
    assert hands.client(target.client_id).version == "1.0"
    with hands.database.reading() as tx:
        assert not commands.has_news(tx, TOPIC)
