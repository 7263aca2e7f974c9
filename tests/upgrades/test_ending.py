"""How open items end: by the deadline, by a cancel, and what a late report changes. Then: forgetting tasks."""

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


def test_a_task_expires_at_its_deadline_to_the_second(helpers: Helpers) -> None:
    """Whoever reads it then sees it expired, even before the worker has written that down."""
    task, item, command = helpers.under_way()
    helpers.run_worker(at=LIFE - 1)
    assert helpers.task(task, at=LIFE - 1).state is TaskState.CREATED
    shown = helpers.task(task, at=LIFE)
    helpers.run_worker(at=LIFE + 7)
    for found in (shown, helpers.task(task)):
        assert (found.state, found.progress, found.completed_at) == (TaskState.EXPIRED, -1, task.deadline)
        assert (found.items[0].state, found.items[0].code) == (ItemState.EXPIRED, "TaskExpired")
        assert found.items[0].completed_at == task.deadline
    assert helpers.claim(item.instance_id, at=LIFE + 8).stop == [command]


def test_no_order_is_sent_at_the_deadline(helpers: Helpers) -> None:
    """A worker that comes so late ends the task, and the host never hears of it."""
    target = helpers.target()
    task = helpers.start(target)
    helpers.run_worker(at=LIFE)
    assert helpers.task(task).state is TaskState.EXPIRED
    assert helpers.sent(task.items[0]) is None
    assert helpers.client(target.client_id).status is ClientStatus.UPGRADE_FAILED


def test_an_item_that_ended_in_time_does_not_expire(helpers: Helpers) -> None:
    """Only open items expire; the task is expired because of them."""
    task = helpers.start(helpers.target(), helpers.target())
    helpers.run_worker()
    good, _ = task.items
    helpers.end(good, helpers.begin(good), report_of(good))
    helpers.run_worker()
    helpers.run_worker(at=LIFE)
    assert [item.state for item in helpers.task(task).items] == [ItemState.SUCCEEDED, ItemState.EXPIRED]
    assert (helpers.task(task).state, helpers.task(task).progress) == (TaskState.EXPIRED, -1)


def test_more_overdue_tasks_than_one_round_takes_all_expire(helpers: Helpers) -> None:
    """The round reports that there may be more, and sends nothing of the tasks left to expire."""
    made = [helpers.start(nobody(number)) for number in range(TASKS_AT_ONCE + 1)]
    assert helpers.run_worker_once(at=LIFE)
    assert {helpers.sent(task.items[0]) for task in made} == {None}
    assert not helpers.run_worker_once(at=LIFE)
    assert {helpers.task(task).state for task in made} == {TaskState.EXPIRED}


def test_news_of_an_overdue_item_expires_it(helpers: Helpers) -> None:
    """This happens before the worker comes to its task. The host is asked to stop."""
    for number in range(TASKS_AT_ONCE):
        helpers.start(nobody(number))
    task, item, command = helpers.under_way()
    helpers.print_stages(item, command, "drain", at=LIFE - 1)
    helpers.run_worker_once(at=LIFE)
    over = helpers.task(task)
    assert (over.state, over.items[0].stage, over.completed_at) == (TaskState.EXPIRED, "drain", task.deadline)
    assert helpers.claim(item.instance_id, at=LIFE).stop == [command]


@pytest.mark.parametrize(
    ("outcome", "version", "status"),
    [
        pytest.param("succeeded", "2.0", ClientStatus.ACTIVATED, id="it was upgraded after all"),
        pytest.param("failed", "1.0", ClientStatus.UPGRADE_FAILED, id="it was rolled back"),
    ],
)
def test_a_late_report_updates_the_client(helpers: Helpers, outcome: str, version: str, status: ClientStatus) -> None:
    """The task stays expired; its item shows the version that the host has now."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.run_worker(at=LIFE)
    before = helpers.task(task)
    helpers.end(item, command, report_of(item, outcome, code="" if outcome == "succeeded" else "RolledBack"), at=2000)
    helpers.run_worker(at=2001)
    after = helpers.task(task)
    assert (after.state, after.completed_at, after.progress) == (TaskState.EXPIRED, before.completed_at, -1)
    assert (after.items[0].state, after.items[0].current_version) == (ItemState.EXPIRED, version)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == (version, status)


def test_a_report_that_is_collected_after_the_deadline_is_late(helpers: Helpers) -> None:
    """The task was shown as expired already. The client is as its host reports, and nothing is left to stop."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.end(item, command, report_of(item), at=LIFE - 1)
    helpers.run_worker(at=LIFE)
    assert helpers.task(task).state is TaskState.EXPIRED
    assert helpers.client(target.client_id).version == "2.0"
    assert helpers.claim(item.instance_id, at=LIFE) == commands.Handout([], [])


def test_an_old_report_leaves_a_new_task_alone(helpers: Helpers) -> None:
    """It updates the version; the status stays that of the task that moves the client now."""
    target = helpers.target()
    _, item, command = helpers.under_way(target)
    helpers.run_worker(at=LIFE)
    new = helpers.start(target, at=LIFE + 1)
    helpers.end(item, command, report_of(item), at=LIFE + 2)
    helpers.run_worker(at=LIFE + 3)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.UPGRADING)
    assert helpers.item(new).is_open


def test_a_report_of_an_older_order_does_not_overwrite_a_newer_one(helpers: Helpers) -> None:
    """The host has reported on a later order since."""
    target = helpers.target()
    _, old, command = helpers.under_way(target)
    helpers.run_worker(at=LIFE)
    new = helpers.start(target, at=LIFE + 1)
    helpers.run_worker(at=LIFE + 1)
    (item,) = new.items
    helpers.end(item, helpers.begin(item, at=LIFE + 2), report_of(item), at=LIFE + 3)
    helpers.run_worker(at=LIFE + 4)
    helpers.end(old, command, report_of(old, "failed", code="RolledBack"), at=LIFE + 5)
    helpers.run_worker(at=LIFE + 6)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


def test_of_two_reports_collected_at_once_the_later_orders_counts(helpers: Helpers) -> None:
    """Whichever was reported first."""
    target = helpers.target()
    _, old, command = helpers.under_way(target)
    helpers.run_worker(at=LIFE)
    new = helpers.start(target, at=LIFE + 1)
    helpers.run_worker(at=LIFE + 1)
    (item,) = new.items
    helpers.end(item, helpers.begin(item, at=LIFE + 2), report_of(item), at=LIFE + 3)
    helpers.end(old, command, report_of(old, "failed", code="RolledBack"), at=LIFE + 5)
    helpers.run_worker(at=LIFE + 6)
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


# --- Cancelling -----------------------------------------------------------------------------------------------------


def waiting(helpers: Helpers, task: Task) -> None:
    """Nothing was sent."""


def sent(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()


def handed(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()
    helpers.claim(task.items[0].instance_id)


def running(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()
    helpers.begin(task.items[0], "fetch")
    helpers.run_worker()


def lost(helpers: Helpers, task: Task) -> None:
    running(helpers, task)
    helpers.sweep(at=91)
    helpers.run_worker(at=91)


@pytest.mark.parametrize(
    ("so_far", "command", "stops"),
    [
        pytest.param(waiting, None, 0, id="before it is sent"),
        pytest.param(sent, State.CANCELLED, 0, id="before its host fetches it"),
        pytest.param(handed, State.HANDED, 1, id="before it begins"),
        pytest.param(running, State.RUNNING, 1, id="while it runs"),
        pytest.param(lost, State.LOST, 1, id="while it is lost"),
    ],
)
def test_cancelling_ends_the_task_and_stops_its_order(
    helpers: Helpers, so_far: Callable[[Helpers, Task], None], command: State | None, stops: int
) -> None:
    """An order that was never handed out never runs, others are stopped on their hosts. Again, it changes nothing."""
    target = helpers.target()
    task = helpers.start(target)
    so_far(helpers, task)
    assert helpers.cancel(task, at=100)
    over = helpers.task(task, at=100)
    assert (over.state, over.progress, over.completed_at) == (TaskState.CANCELLED, -1, helpers.moment(100))
    (item,) = over.items
    assert (item.state, item.code, item.completed_at) == (ItemState.CANCELLED, "TaskCancelled", helpers.moment(100))
    never_fetched = command in (None, State.CANCELLED)
    client = helpers.client(target.client_id)
    assert client.status is (ClientStatus.ACTIVATED if never_fetched else ClientStatus.UPGRADE_FAILED)
    assert (client.failure is None) is never_fetched, "nothing failed where nothing was tried"
    helpers.run_worker(at=101)
    assert helpers.cancel(task, at=102) is False
    helpers.run_worker(at=LIFE)
    assert helpers.task(task, at=LIFE) == over
    assert (None if helpers.sent(item) is None else helpers.command_state(item)) == command
    handout = helpers.claim(item.instance_id, at=103)
    assert (handout.run, len(handout.stop)) == ([], stops)


def test_a_cancelled_upgrade_may_still_finish_on_its_host(helpers: Helpers) -> None:
    """Its host had begun to switch. The task stays cancelled; the client is as its host reports."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.cancel(task, at=10)
    before = helpers.task(task)
    helpers.end(item, command, report_of(item), at=20)
    helpers.run_worker(at=21)
    after = helpers.task(task)
    assert replace(after, items=()) == replace(before, items=())
    assert (after.items[0].state, after.items[0].current_version) == (ItemState.CANCELLED, "2.0")
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


def test_a_task_that_is_over_is_not_cancelled(helpers: Helpers) -> None:
    """It stays as it ended."""
    for outcome in ("succeeded", "failed"):
        task, item, command = helpers.under_way()
        helpers.end(item, command, report_of(item, outcome))
        helpers.run_worker()
        before = helpers.task(task)
        assert helpers.cancel(task, at=5) is False
        assert helpers.task(task) == before


def test_cancelling_ends_open_items_only(helpers: Helpers) -> None:
    """The task is cancelled, even if some items had succeeded."""
    task = helpers.start(helpers.target(), helpers.target())
    helpers.run_worker()
    good, _ = task.items
    helpers.end(good, helpers.begin(good), report_of(good))
    helpers.run_worker()
    helpers.cancel(task)
    assert [item.state for item in helpers.task(task).items] == [ItemState.SUCCEEDED, ItemState.CANCELLED]
    assert (helpers.task(task).state, helpers.task(task).progress) == (TaskState.CANCELLED, -1)


def test_a_task_past_its_deadline_expires_instead_of_being_cancelled(helpers: Helpers) -> None:
    """It was shown as expired already."""
    task = helpers.start(helpers.target())
    assert helpers.cancel(task, at=LIFE) is False
    assert helpers.task(task).state is TaskState.EXPIRED
    assert helpers.item(task).code == "TaskExpired"


def test_another_accounts_task_cannot_be_cancelled(helpers: Helpers) -> None:
    """It is treated as one that does not exist."""
    task = helpers.start(nobody(1))
    assert helpers.cancel(task, account=OTHER) is None
    assert helpers.item(task).is_open
    with helpers.transaction() as tx:
        assert upgrades.cancel(tx, helpers.account, "t-none", now=helpers.moment(0)) is None
        assert upgrades.read(tx, OTHER, task.id, now=helpers.moment(0)) is None


# --- The topic ------------------------------------------------------------------------------------------------------


def reported(helpers: Helpers, task: Task) -> None:
    (item,) = task.items
    helpers.run_worker()
    command = helpers.begin(item, "fetch")
    helpers.run_worker()
    assert "rollouts" not in helpers.published
    helpers.end(item, command, report_of(item))
    helpers.run_worker()


def cancelled(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()
    helpers.cancel(task)


def expired(helpers: Helpers, task: Task) -> None:
    helpers.run_worker(at=LIFE)


@pytest.mark.parametrize("end", [reported, cancelled, expired])
def test_the_topic_of_a_task_is_published_once_when_it_ends(
    helpers: Helpers, end: Callable[[Helpers, Task], None]
) -> None:
    """However it ends; later rounds and a late cancel do not publish it again."""
    task = helpers.start(helpers.target(), topic="rollouts")
    end(helpers, task)
    assert helpers.task(task).state is not TaskState.CREATED
    assert helpers.published.count("rollouts") == 1
    helpers.cancel(task, at=LIFE)
    helpers.run_worker(at=LIFE + 1)
    assert helpers.published.count("rollouts") == 1


@pytest.mark.parametrize("end", ["failed", "lost"])
def test_an_item_that_fails_is_news_at_once_while_others_of_its_task_go_on(helpers: Helpers, end: str) -> None:
    """Who started them may want to stop the others: a rollout halts."""
    task = helpers.start(helpers.target(), helpers.target(), topic="rollouts")
    helpers.run_worker()
    first, _ = task.items
    command = helpers.begin(first, "fetch")
    helpers.run_worker()
    assert "rollouts" not in helpers.published
    if end == "failed":
        helpers.end(first, command, report_of(first, "failed", code="RolledBack", stage="back"))
    helpers.sweep(at=0 if end == "failed" else 200)
    helpers.run_worker(at=0 if end == "failed" else 200)
    assert helpers.task(task).state is TaskState.CREATED
    assert helpers.published.count("rollouts") == 1


def test_the_topic_waits_for_the_last_item(helpers: Helpers) -> None:
    """Two items that end well, one publication."""
    task = helpers.start(helpers.target(), helpers.target(), topic="rollouts")
    helpers.run_worker()
    for number, item in enumerate(task.items):
        assert helpers.published.count("rollouts") == 0, number
        helpers.end(item, helpers.begin(item), report_of(item))
        helpers.run_worker()
    assert helpers.published.count("rollouts") == 1


def test_a_task_without_a_topic_publishes_none(helpers: Helpers) -> None:
    """Only the worker's topic and those of instances."""
    cancelled(helpers, helpers.start(helpers.target()))
    assert {topic.split("/")[0] for topic in helpers.published} == {TOPIC, "instance"}


# --- At the same moment ---------------------------------------------------------------------------------------------


def test_a_cancel_while_the_order_is_being_sent(replicas: Helpers) -> None:
    """It waits for the worker, and withdraws what the worker sent."""
    task = replicas.start(replicas.target())
    with replicas.paused_before_commit(replicas.run_worker):
        cancelling = meanwhile(partial(replicas.cancel, task))
        assert not cancelling.done()
    assert cancelling.result(WAIT)
    assert replicas.item(task).state is ItemState.CANCELLED
    assert replicas.command_state(task.items[0]) is State.CANCELLED
    assert replicas.claim(task.items[0].instance_id).run == []


def test_a_cancel_while_the_report_is_collected(replicas: Helpers) -> None:
    """The report was first: the task is completed."""
    task, item, command = replicas.under_way()
    replicas.end(item, command, report_of(item), at=1)
    with replicas.paused_before_commit(partial(replicas.run_worker, 2)):
        cancelling = meanwhile(partial(replicas.cancel, task, 2))
        assert not cancelling.done()
    assert cancelling.result(WAIT) is False
    assert replicas.item(task).state is ItemState.SUCCEEDED
    assert (replicas.task(task).state, replicas.task(task).progress) == (TaskState.COMPLETED, 100)


def test_two_workers_at_the_deadline(replicas: Helpers) -> None:
    """The second finds nothing left to do."""
    task = replicas.start(replicas.target(), replicas.target())
    replicas.run_worker()
    with replicas.paused_before_commit(partial(replicas.run_worker, LIFE)):
        other = meanwhile(partial(replicas.run_worker_once, LIFE + 1))
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
    helpers.run_worker(at)
    helpers.cancel(task, at)
    helpers.run_worker(at)
    return task, task.items[0]


def test_tasks_that_were_over_before_a_moment_are_forgotten(helpers: Helpers) -> None:
    """With their items, orders and tokens. One that ended at that very moment is kept, and so is every open one."""
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


def test_a_token_whose_task_is_forgotten_can_be_used_again(helpers: Helpers) -> None:
    """Even before it expires: there is no task left to answer with."""
    finished(helpers, at=0, token="once")
    purge(helpers, before=1)
    assert helpers.started_before("once", at=2) is None
    assert helpers.start(nobody(1), at=2, token="once").items[0].is_open


def test_commands_of_another_module_are_not_forgotten(helpers: Helpers) -> None:
    """Only those under the topic of upgrades."""
    send = commands.NewInvocation(helpers.account, "mi-1", "true", 60, "r-1")
    with helpers.transaction() as tx:
        commands.send(tx, [send], topic="others", now=helpers.moment(0), draw=helpers.env.services.draw)
    purge(helpers, before=1000)
    assert len(helpers.claim("mi-1").run) == 1


def test_a_report_on_a_forgotten_task_changes_nothing(helpers: Helpers) -> None:
    """The host gets its answer all the same."""
    target = helpers.target()
    task, item, command = helpers.under_way(target)
    helpers.cancel(task)
    purge(helpers, before=1)
    with helpers.transaction() as tx:
        final = commands.FinalReport("finish", output=report_of(item).as_line().encode())
        assert not commands.record_final_report(tx, item.instance_id, command, final, now=helpers.moment(2))
    helpers.run_worker(at=3)
    assert helpers.client(target.client_id).version == "1.0"
    with helpers.database.reading() as tx:
        assert not commands.has_news(tx, TOPIC)
