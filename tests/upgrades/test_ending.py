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
from upgrades.helpers import LIFE, WAIT, Helpers, meanwhile, nobody, report_of

# --- The deadline ---------------------------------------------------------------------------------------------------


def test_the_deadline_is_exact(helpers: Helpers) -> None:
    """A second before, nothing; at the second, whoever asks is told, and the worker writes it down."""
    task, item, command = helpers.under_way()
    helpers.look(at=LIFE - 1)
    assert helpers.task(task, at=LIFE - 1).state is TaskState.CREATED
    told = helpers.task(task, at=LIFE)
    helpers.look(at=LIFE + 7)
    for found in (told, helpers.task(task)):
        assert (found.state, found.progress, found.completed_at) == (TaskState.EXPIRED, -1, task.deadline)
        assert (found.items[0].state, found.items[0].code) == (ItemState.EXPIRED, "TaskExpired")
        assert found.items[0].completed_at == task.deadline
    assert helpers.claim(item.instance_id, at=LIFE + 8).stop == [command]


def test_nothing_is_sent_at_the_deadline(helpers: Helpers) -> None:
    """A worker that comes so late ends it, and the host never hears of it."""
    target = helpers.target()
    task = helpers.start(target)
    helpers.look(at=LIFE)
    assert helpers.task(task).state is TaskState.EXPIRED
    assert helpers.sent(task.items[0]) is None
    assert helpers.client(target.client_id).status is ClientStatus.UPGRADE_FAILED


def test_what_is_over_in_time_stays_so(helpers: Helpers) -> None:
    """Only open items expire; the task is expired because of them."""
    task = helpers.start(helpers.target(), helpers.target())
    helpers.look()
    good, _ = task.items
    helpers.end(good, helpers.begin(good), report_of(good))
    helpers.look()
    helpers.look(at=LIFE)
    assert [item.state for item in helpers.task(task).items] == [ItemState.SUCCEEDED, ItemState.EXPIRED]
    assert (helpers.task(task).state, helpers.task(task).progress) == (TaskState.EXPIRED, -1)


def test_more_tasks_than_one_look_takes_all_expire(helpers: Helpers) -> None:
    """Look says that there may be more, and does not send what is left to expire."""
    made = [helpers.start(nobody(number)) for number in range(TASKS_AT_ONCE + 1)]
    assert helpers.look_once(at=LIFE)
    assert {helpers.sent(task.items[0]) for task in made} == {None}
    assert not helpers.look_once(at=LIFE)
    assert {helpers.task(task).state for task in made} == {TaskState.EXPIRED}


def test_news_that_comes_before_its_task_is_ended_ends_it(helpers: Helpers) -> None:
    """At the deadline, before the worker came to this task: it has expired, and its host is told to stop."""
    for number in range(TASKS_AT_ONCE):
        helpers.start(nobody(number))
    task, item, command = helpers.under_way()
    helpers.say(item, command, "drain", at=LIFE - 1)
    helpers.look_once(at=LIFE)
    over = helpers.task(task)
    assert (over.state, over.items[0].stage, over.completed_at) == (TaskState.EXPIRED, "drain", task.deadline)
    assert helpers.claim(item.instance_id, at=LIFE).stop == [command]


@pytest.mark.parametrize(
    ("outcome", "version", "status"),
    [
        pytest.param("succeeded", "2.0", ClientStatus.ACTIVATED, id="it came there after all"),
        pytest.param("failed", "1.0", ClientStatus.UPGRADE_FAILED, id="it was taken back"),
    ],
)
def test_a_late_report_is_true_of_the_client(
    helpers: Helpers, outcome: str, version: str, status: ClientStatus
) -> None:
    """The task stays expired; its item keeps what the host has now."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.look(at=LIFE)
    before = helpers.task(task)
    helpers.end(item, command, report_of(item, outcome, code="" if outcome == "succeeded" else "RolledBack"), at=2000)
    helpers.look(at=2001)
    after = helpers.task(task)
    assert (after.state, after.completed_at, after.progress) == (TaskState.EXPIRED, before.completed_at, -1)
    assert (after.items[0].state, after.items[0].current_version) == (ItemState.EXPIRED, version)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == (version, status)


def test_a_report_that_the_worker_collects_too_late_is_late(helpers: Helpers) -> None:
    """The task was told to have expired; its client is as its host says, and there is nothing left to stop."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.end(item, command, report_of(item), at=LIFE - 1)
    helpers.look(at=LIFE)
    assert helpers.task(task).state is TaskState.EXPIRED
    assert helpers.client(target.client_id).version == "2.0"
    assert helpers.claim(item.instance_id, at=LIFE) == commands.Handout([], [])


def test_an_old_report_leaves_a_new_task_alone(helpers: Helpers) -> None:
    """The version is the truth; the status is that of the task that moves the client now."""
    target = helpers.target()
    _, item, command = helpers.under_way(target)
    helpers.look(at=LIFE)
    new = helpers.start(target, at=LIFE + 1)
    helpers.end(item, command, report_of(item), at=LIFE + 2)
    helpers.look(at=LIFE + 3)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.UPGRADING)
    assert helpers.item(new).is_open


def test_a_report_older_than_what_is_known_is_not_believed(helpers: Helpers) -> None:
    """The host has told of a later order since."""
    target = helpers.target()
    _, old, command = helpers.under_way(target)
    helpers.look(at=LIFE)
    new = helpers.start(target, at=LIFE + 1)
    helpers.look(at=LIFE + 1)
    (item,) = new.items
    helpers.end(item, helpers.begin(item, at=LIFE + 2), report_of(item), at=LIFE + 3)
    helpers.look(at=LIFE + 4)
    helpers.end(old, command, report_of(old, "failed", code="RolledBack"), at=LIFE + 5)
    helpers.look(at=LIFE + 6)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


def test_of_two_reports_collected_at_once_the_later_orders_stays(helpers: Helpers) -> None:
    """Whichever was told first."""
    target = helpers.target()
    _, old, command = helpers.under_way(target)
    helpers.look(at=LIFE)
    new = helpers.start(target, at=LIFE + 1)
    helpers.look(at=LIFE + 1)
    (item,) = new.items
    helpers.end(item, helpers.begin(item, at=LIFE + 2), report_of(item), at=LIFE + 3)
    helpers.end(old, command, report_of(old, "failed", code="RolledBack"), at=LIFE + 5)
    helpers.look(at=LIFE + 6)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


# --- Cancelling -----------------------------------------------------------------------------------------------------


def waiting(helpers: Helpers, task: Task) -> None:
    """Nothing was sent."""


def sent(helpers: Helpers, task: Task) -> None:
    helpers.look()


def handed(helpers: Helpers, task: Task) -> None:
    helpers.look()
    helpers.claim(task.items[0].instance_id)


def running(helpers: Helpers, task: Task) -> None:
    helpers.look()
    helpers.begin(task.items[0], "fetch")
    helpers.look()


def lost(helpers: Helpers, task: Task) -> None:
    running(helpers, task)
    helpers.sweep(at=91)
    helpers.look(at=91)


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
def test_cancelling(
    helpers: Helpers, so_far: Callable[[Helpers, Task], None], command: State | None, stops: int
) -> None:
    """What was never handed out never runs, the rest is stopped on its host; a second time changes nothing."""
    target = helpers.target()
    task = helpers.start(target)
    so_far(helpers, task)
    assert helpers.cancel(task, at=100)
    over = helpers.task(task, at=100)
    assert (over.state, over.progress, over.completed_at) == (TaskState.CANCELLED, -1, helpers.moment(100))
    (item,) = over.items
    assert (item.state, item.code, item.completed_at) == (ItemState.CANCELLED, "TaskCancelled", helpers.moment(100))
    assert helpers.client(target.client_id).status is ClientStatus.UPGRADE_FAILED
    helpers.look(at=101)
    assert helpers.cancel(task, at=102)
    helpers.look(at=LIFE)
    assert helpers.task(task, at=LIFE) == over
    assert (None if helpers.sent(item) is None else helpers.command_state(item)) == command
    handout = helpers.claim(item.instance_id, at=103)
    assert (handout.run, len(handout.stop)) == ([], stops)


def test_what_is_cancelled_may_be_done_all_the_same(helpers: Helpers) -> None:
    """Its host had begun to switch: the task stays cancelled, the client is what it is."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.cancel(task, at=10)
    before = helpers.task(task)
    helpers.end(item, command, report_of(item), at=20)
    helpers.look(at=21)
    after = helpers.task(task)
    assert replace(after, items=()) == replace(before, items=())
    assert (after.items[0].state, after.items[0].current_version) == (ItemState.CANCELLED, "2.0")
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


def test_what_is_over_is_not_cancelled(helpers: Helpers) -> None:
    """Well or badly, it stays as it is."""
    for outcome in ("succeeded", "failed"):
        task, item, command = helpers.under_way()
        helpers.end(item, command, report_of(item, outcome))
        helpers.look()
        before = helpers.task(task)
        assert helpers.cancel(task, at=5)
        assert helpers.task(task) == before


def test_cancelling_ends_what_is_open_and_no_more(helpers: Helpers) -> None:
    """The task is cancelled, though some had succeeded."""
    task = helpers.start(helpers.target(), helpers.target())
    helpers.look()
    good, _ = task.items
    helpers.end(good, helpers.begin(good), report_of(good))
    helpers.look()
    helpers.cancel(task)
    assert [item.state for item in helpers.task(task).items] == [ItemState.SUCCEEDED, ItemState.CANCELLED]
    assert (helpers.task(task).state, helpers.task(task).progress) == (TaskState.CANCELLED, -1)


def test_what_is_past_its_deadline_has_expired_and_is_not_cancelled(helpers: Helpers) -> None:
    """It was told so already."""
    task = helpers.start(helpers.target())
    assert helpers.cancel(task, at=LIFE)
    assert helpers.task(task).state is TaskState.EXPIRED
    assert helpers.item(task).code == "TaskExpired"


def test_another_accounts_task_is_not_there_to_cancel(helpers: Helpers) -> None:
    """As one that never was."""
    task = helpers.start(nobody(1))
    assert not helpers.cancel(task, account=OTHER)
    assert helpers.item(task).is_open
    with helpers.transaction() as tx:
        assert not upgrades.cancel(tx, helpers.account, "t-none", now=helpers.moment(0))
        assert upgrades.read(tx, OTHER, task.id, now=helpers.moment(0)) is None


# --- At the same moment ---------------------------------------------------------------------------------------------


def test_a_cancel_while_it_is_being_sent(replicas: Helpers) -> None:
    """It waits for the worker, and takes back what the worker sent."""
    task = replicas.start(replicas.target())
    with replicas.held_back(replicas.look):
        cancelling = meanwhile(partial(replicas.cancel, task))
        assert not cancelling.done()
    assert cancelling.result(WAIT)
    assert replicas.item(task).state is ItemState.CANCELLED
    assert replicas.command_state(task.items[0]) is State.CANCELLED
    assert replicas.claim(task.items[0].instance_id).run == []


def test_a_cancel_while_its_report_is_collected(replicas: Helpers) -> None:
    """The report was first: the task is completed."""
    task, item, command = replicas.under_way()
    replicas.end(item, command, report_of(item), at=1)
    with replicas.held_back(partial(replicas.look, 2)):
        cancelling = meanwhile(partial(replicas.cancel, task, 2))
        assert not cancelling.done()
    assert cancelling.result(WAIT)
    assert replicas.item(task).state is ItemState.SUCCEEDED
    assert (replicas.task(task).state, replicas.task(task).progress) == (TaskState.COMPLETED, 100)


def test_two_workers_at_the_deadline(replicas: Helpers) -> None:
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


def purge(helpers: Helpers, before: float) -> None:
    with helpers.transaction() as tx:
        upgrades.purge(tx, before=helpers.moment(before))


def finished(helpers: Helpers, at: float, token: str | None = None) -> tuple[Task, Item]:
    """A task that was cancelled at this moment."""
    task = helpers.start(helpers.target(), at=at, token=token)
    helpers.look(at)
    helpers.cancel(task, at)
    helpers.look(at)
    return task, task.items[0]


def test_what_was_over_before_a_moment_is_forgotten(helpers: Helpers) -> None:
    """With its items, commands and token; at the moment itself it is kept, and so is whatever is open."""
    old, item = finished(helpers, at=0, token="old")
    new, kept = finished(helpers, at=10, token="new")
    open_ = helpers.start(nobody(1), at=0)
    purge(helpers, before=10)
    with helpers.database.reading() as tx:
        assert upgrades.read(tx, helpers.account, old.id, now=helpers.moment(10)) is None
    assert helpers.sent(item) is None
    assert helpers.started_before("old", at=11) is None
    assert helpers.task(new, at=10).items[0].state is ItemState.CANCELLED
    assert helpers.sent(kept) is not None
    assert helpers.started_before("new", at=11) is not None
    assert helpers.item(open_).is_open
    assert (helpers.rows_of(tasks), helpers.rows_of(items), helpers.rows_of(tokens)) == (2, 2, 1)


def test_a_token_whose_task_is_forgotten_is_free(helpers: Helpers) -> None:
    """Though its day is not over: else nobody could ever use it."""
    finished(helpers, at=0, token="once")
    purge(helpers, before=1)
    assert helpers.started_before("once", at=2) is None
    assert helpers.start(nobody(1), at=2, token="once").items[0].is_open


def test_a_command_of_another_room_is_not_forgotten_here(helpers: Helpers) -> None:
    """Only this room's topic."""
    send = commands.NewInvocation(helpers.account, "mi-1", "true", 60, "r-1")
    with helpers.transaction() as tx:
        commands.send(tx, [send], topic="others", now=helpers.moment(0), draw=helpers.env.services.draw)
    purge(helpers, before=1000)
    assert len(helpers.claim("mi-1").run) == 1


def test_a_report_for_what_is_forgotten_is_nobodys(helpers: Helpers) -> None:
    """The host is answered, and nothing changes."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.cancel(task)
    purge(helpers, before=1)
    with helpers.transaction() as tx:
        ending = commands.FinalReport("finish", output=report_of(item).as_line().encode())
        assert not commands.record_final_report(tx, item.instance_id, command, ending, now=helpers.moment(2))
    helpers.look(at=3)
    assert helpers.client(target.client_id).version == "1.0"
    with helpers.database.reading() as tx:
        assert not commands.has_news(tx, TOPIC)
