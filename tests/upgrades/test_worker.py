"""The worker: sends what waits and collects what came back, alone, beside others, and when it dies in between."""

import itertools
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from backfleet import commands
from backfleet.commands import NewInvocation, State
from backfleet.fleet import ClientStatus, Preferences, set_preferences
from backfleet.paging import Page
from backfleet.upgrades import TOPIC, ItemState, Kind, Task, TaskState, find
from backfleet.upgrades.outcomes import LaterOrders
from backfleet.upgrades.worker import AT_ONCE, SPARE, later_orders, seconds_of, sent_item
from backfleet_host.contract import LONGEST_TIMEOUT_SECONDS, read_order
from operations.environment import OTHER
from upgrades.helpers import LIFE, WAIT, Helpers, PowerCut, at_once, meanwhile, nobody, report_of

# --- Sending --------------------------------------------------------------------------------------------------------


def test_a_host_gets_its_order_with_most_of_the_tasks_time(helpers: Helpers) -> None:
    """It has its item's id, so that the host answers a repeated order from its journal."""
    task = helpers.start(helpers.target())
    helpers.run_worker(at=10)
    item = helpers.item(task)
    (command,) = helpers.claim(item.instance_id, at=11).run
    order = read_order(command.content)
    assert (order.order_id, order.kind, order.package, order.version) == (item.id, "upgrade", "courier", "2.0")
    assert (order.timeout_seconds, command.timeout_seconds) == (LIFE - 10 - 60, LIFE - 10)
    assert (item.state, item.timeout_seconds, item.started_at) == (ItemState.SENT, order.timeout_seconds, None)
    assert helpers.task(task).progress == 5


def test_an_order_carries_its_clients_settings(helpers: Helpers) -> None:
    """The order of a client without settings has none."""
    task = helpers.start(helpers.target(), helpers.target())
    with helpers.transaction() as tx:
        wanted = Preferences(most_cores=2, proxy_user="bob")
        set_preferences(tx, task.items[0].client_id, wanted, sealed_password="sealed", now=helpers.moment(0))
    helpers.run_worker(at=10)
    orders = [read_order(helpers.claim(item.instance_id, at=11).run[0].content) for item in task.items]
    assert [order.settings for order in orders] == [{"most_cores": 2, "proxy_user": "bob"}, {}]


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        pytest.param(900, 840, id="a minute is spared"),
        pytest.param(100, 80, id="a fifth of little"),
        pytest.param(1, 1, id="a second at least"),
        pytest.param(0.2, 1, id="less than that"),
        pytest.param(100 * 86400, LONGEST_TIMEOUT_SECONDS, id="no more than an order may give"),
    ],
)
def test_a_hosts_time_budget_leaves_time_to_report(helpers: Helpers, left: float, seconds: int) -> None:
    """However much is left of the task's time, it makes a valid order."""
    item = sent_item(helpers.start(nobody(1)).items[0], timedelta(seconds=left), helpers.moment(0))
    assert (item.timeout_seconds, item.order().timeout_seconds) == (seconds, seconds)
    assert seconds_of(SPARE) == 60


def test_the_oldest_task_comes_first(helpers: Helpers) -> None:
    """One round sends a bounded number."""
    old = helpers.start(*(nobody(number) for number in range(AT_ONCE)))
    new = helpers.start(nobody(1000), at=1)
    assert helpers.run_worker_once(at=2)
    assert {item.state for item in helpers.task(old).items} == {ItemState.SENT}
    assert helpers.item(new).state is ItemState.WAITING
    assert not helpers.run_worker_once(at=2)
    assert helpers.item(new).state is ItemState.SENT


def test_a_second_round_sends_nothing_again(helpers: Helpers) -> None:
    """Nothing is written or published."""
    task = helpers.start(helpers.target())
    helpers.run_worker()
    before, published = helpers.task(task), list(helpers.published)
    assert not helpers.run_worker_once(at=5)
    assert (helpers.task(task), helpers.published) == (before, published)
    assert len(helpers.claim(before.items[0].instance_id).run) == 1


# --- Collecting -----------------------------------------------------------------------------------------------------


def test_an_upgrade_from_waiting_to_succeeded(helpers: Helpers) -> None:
    """Each step on the host moves the task's progress; at the end the client has its new version."""
    target = helpers.target()
    task = helpers.start(target)
    helpers.run_worker(at=1)
    command = helpers.begin(task.items[0], at=2)
    shown = []
    for seconds, stage in enumerate(("admit", "fetch", "switch", "prove"), 3):
        helpers.print_stages(task.items[0], command, stage, at=seconds)
        helpers.run_worker(at=seconds)
        item = helpers.item(task)
        assert (item.state, item.stage, item.started_at) == (ItemState.RUNNING, stage, helpers.moment(3))
        shown.append(helpers.task(task).progress)
    assert shown == sorted(set(shown))
    helpers.end(item, command, report_of(item), at=9)
    helpers.run_worker(at=10)
    over = helpers.task(task)
    assert (over.state, over.progress, over.completed_at) == (TaskState.COMPLETED, 100, helpers.moment(10))
    assert (over.items[0].state, over.items[0].current_version) == (ItemState.SUCCEEDED, "2.0")
    client = helpers.client(target.client_id)
    assert (client.version, client.status) == ("2.0", ClientStatus.ACTIVATED)


@pytest.mark.parametrize(
    ("code", "version"),
    [
        pytest.param("RolledBack", "1.0", id="rolled back"),
        pytest.param("RollbackFailed", "2.0", id="broken"),
        pytest.param("BackupRunning", "1.0", id="a backup ran all the time"),
    ],
)
def test_a_task_with_a_failure_ends_with_minus_one(helpers: Helpers, code: str, version: str) -> None:
    """Even if the others succeeded, and only when the last one is over."""
    targets = [helpers.target(), helpers.target()]
    task = helpers.start(*targets)
    helpers.run_worker()
    good, bad = task.items
    helpers.end(bad, helpers.begin(bad), report_of(bad, "failed", code=code, message="why", current_version=version))
    helpers.run_worker()
    assert (helpers.task(task).state, helpers.item(task, 1).code) == (TaskState.CREATED, code)
    assert 0 <= helpers.task(task).progress <= 99
    helpers.end(good, helpers.begin(good), report_of(good))
    helpers.run_worker()
    assert (helpers.task(task).state, helpers.task(task).progress) == (TaskState.COMPLETED, -1)
    client = helpers.client(targets[1].client_id)
    assert (client.version, client.status) == (version, ClientStatus.UPGRADE_FAILED)


def test_an_uninstalled_client_has_no_version(helpers: Helpers) -> None:
    """Its status says so."""
    target = helpers.target(to="")
    task = helpers.start(target, kind=Kind.UNINSTALL)
    helpers.run_worker()
    (item,) = task.items
    helpers.end(item, helpers.begin(item), report_of(item))
    helpers.run_worker()
    client = helpers.client(target.client_id)
    assert (client.version, client.status, client.is_installed) == ("", ClientStatus.NOT_INSTALLED, False)


def test_a_silent_host_is_lost_until_it_reports_again(helpers: Helpers) -> None:
    """Meanwhile its item has HostUnreachable and the task stays open; its report decides."""
    task, item, command = helpers.under_way()
    helpers.sweep(at=91)
    helpers.run_worker(at=92)
    lost = helpers.item(task)
    assert (lost.state, lost.code) == (ItemState.LOST, "HostUnreachable")
    assert helpers.task(task).state is TaskState.CREATED
    helpers.print_stages(item, command, "switch", at=100)
    helpers.run_worker(at=101)
    found = helpers.item(task)
    assert (found.state, found.code, found.stage) == (ItemState.RUNNING, "", "switch")
    helpers.sweep(at=300)
    helpers.run_worker(at=300)
    helpers.end(item, command, report_of(item), at=400)
    helpers.run_worker(at=401)
    assert (helpers.item(task).state, helpers.item(task).code) == (ItemState.SUCCEEDED, "")
    assert helpers.task(task).progress == 100


def test_an_order_waits_for_its_host_until_the_deadline(helpers: Helpers) -> None:
    """The host may be switched on in time."""
    task = helpers.start(helpers.target())
    helpers.run_worker()
    helpers.sweep(at=LIFE - 1)
    helpers.run_worker(at=LIFE - 1)
    assert helpers.item(task).state is ItemState.SENT


def report(**fields: object) -> bytes:
    """A report whose order id is still to be filled in."""
    facts = {"order_id": "ID", "kind": "upgrade", "package": "courier", "outcome": "failed", "current_version": "1.0"}
    return json.dumps({"report": facts | fields}).encode()


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(b"\0" * 100, id="NUL"),
        pytest.param(b'{"stage": "fetch\\u0000"}\n\xff\xfe', id="no text"),
        pytest.param(b"x" * 10_000_000, id="ten megabytes"),
        pytest.param(b'{"report":' * 3000, id="JSON without end"),
        pytest.param(report(current_version=[], message="\ud800\0"), id="a version that is no text"),
        pytest.param(report(code="DiskFull", message="\ud800\0\udfff"), id="no text in a report"),
    ],
)
def test_no_host_can_hold_up_the_others(helpers: Helpers, output: bytes) -> None:
    """Whatever it prints, both databases take what is stored of it, and the next host is served."""
    targets = [helpers.target(), helpers.target()]
    task = helpers.start(*targets)
    helpers.run_worker()
    bad, good = task.items
    helpers.end(bad, helpers.begin(bad), output=output.replace(b"ID", bad.id.encode()), at=1)
    helpers.end(good, helpers.begin(good), report_of(good), at=1)
    helpers.run_worker(at=2)
    assert [item.state for item in helpers.task(task).items] == [ItemState.FAILED, ItemState.SUCCEEDED]
    assert helpers.client(targets[0].client_id).version == "1.0"


@pytest.mark.parametrize(
    ("state", "stage", "seconds", "client", "later"),
    [
        pytest.param("running", "fetch", 1, "c-1", LaterOrders(is_open=True), id="it is moving again"),
        pytest.param("succeeded", "commit", 1, "c-1", LaterOrders(was_reported=True), id="its host reported on that"),
        pytest.param("failed", "check", 1, "c-1", LaterOrders(was_reported=True), id="its host reported a failure"),
        pytest.param("failed", "", 1, "c-1", LaterOrders(), id="failed without its host"),
        pytest.param("succeeded", "commit", 0, "c-1", LaterOrders(), id="no later than this"),
        pytest.param("succeeded", "commit", -1, "c-1", LaterOrders(), id="earlier"),
        pytest.param("succeeded", "commit", 1, "c-2", LaterOrders(), id="another client"),
    ],
)
def test_later_orders_of_the_same_client_count(
    helpers: Helpers, state: str, stage: str, seconds: float, client: str, later: LaterOrders
) -> None:
    """Only what was asked for later, and only what its host has reported."""
    (item,) = helpers.start(nobody(1)).items
    other = replace(item, id="u-other", client_id=client, state=ItemState(state), stage=stage)
    assert later_orders(item, helpers.moment(0), [(other, helpers.moment(seconds))]) == later


def test_news_of_an_unknown_item_is_ignored(helpers: Helpers) -> None:
    """It may have been purged."""
    send = NewInvocation(helpers.account, "mi-1", "true", 60, "u-nobody")
    with helpers.transaction() as tx:
        commands.send(tx, [send], topic=TOPIC, now=helpers.moment(0), draw=helpers.env.services.draw)
        commands.stop(tx, TOPIC, ["u-nobody"], now=helpers.moment(0))
    helpers.run_worker()
    with helpers.database.reading() as tx:
        assert not commands.has_news(tx, TOPIC)


def test_tasks_are_listed_newest_first_within_their_account(helpers: Helpers) -> None:
    """Each once over all pages, without their items."""
    made = [helpers.start(nobody(number), at=number) for number in range(5)]
    helpers.start(nobody(9), account=OTHER)
    seen = []
    for number in (1, 2, 3, 4):
        with helpers.database.reading() as tx:
            found = find(tx, helpers.account, Page(number, 2))
        assert found.total == 5
        seen += [task.id for task in found.items]
        assert {task.items for task in found.items} <= {()}
    assert seen == [task.id for task in reversed(made)]


# --- Several workers ------------------------------------------------------------------------------------------------


def test_workers_at_once_send_everything_once(helpers: Helpers) -> None:
    """Four of them, more than one batch each: no order is sent twice and none is left."""
    task = helpers.start(*(nobody(number) for number in range(3 * AT_ONCE)))
    at_once([helpers.run_worker] * 4)
    helpers.run_worker()
    found = helpers.task(task).items
    assert {item.state for item in found} == {ItemState.SENT}
    assert [len(helpers.claim(item.instance_id).run) for item in found[:20]] == [1] * 20


def test_workers_do_not_wait_for_each_others_items(replicas: Helpers) -> None:
    """The second one sends the rest at once."""
    first = replicas.start(nobody(1))
    with replicas.paused_before_commit(replicas.run_worker):
        second = replicas.start(nobody(2), at=1)
        replicas.run_worker_once(at=1)
        assert replicas.item(second).state is ItemState.SENT
        assert replicas.item(first).state is ItemState.WAITING
    assert replicas.item(first).state is ItemState.SENT


def test_two_workers_that_end_the_last_two_items_complete_the_task(replicas: Helpers) -> None:
    """Neither sees the other's item ended; the second one waits for the first, and then sees it."""
    task = replicas.start(replicas.target(), replicas.target())
    replicas.run_worker()
    one, two = task.items
    begun = [replicas.begin(item) for item in (one, two)]
    replicas.run_worker()
    replicas.end(one, begun[0], report_of(one), at=1)
    with replicas.paused_before_commit(partial(replicas.run_worker_once, 2)):
        replicas.end(two, begun[1], report_of(two), at=2)
        other = meanwhile(partial(replicas.run_worker_once, 3))
        assert not other.done()
    assert not other.result(WAIT)
    assert (replicas.task(task).state, replicas.task(task).progress) == (TaskState.COMPLETED, 100)


# --- Power cuts -----------------------------------------------------------------------------------------------------


COMMITS = 8  # of the workers in the scenario below

Cut = Callable[[], AbstractContextManager[None]]


def run_scenario(helpers: Helpers, cut: Cut) -> list[Task]:
    """One task that succeeds, one that fails and one whose host never comes; the worker runs after each step."""
    tasks = [helpers.start(helpers.target()) for _ in range(3)]
    worker(helpers, cut, at=1)
    (good,), (bad,), _ = (task.items for task in tasks)
    begun = [helpers.begin(item, "admit", at=2) for item in (good, bad)]
    worker(helpers, cut, at=3)
    helpers.end(good, begun[0], report_of(good), at=4)
    helpers.end(bad, begun[1], report_of(bad, "failed", code="RolledBack"), at=4)
    worker(helpers, cut, at=5)
    worker(helpers, cut, at=LIFE)
    return [helpers.task(task) for task in tasks]


def worker(helpers: Helpers, cut: Cut, at: float) -> None:
    """A worker that is started again when it dies."""
    try:
        with cut():
            helpers.run_worker(at)
    except PowerCut:
        helpers.run_worker(at)


@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_a_worker_may_die_at_any_commit(helpers: Helpers, number: int) -> None:
    """The next one does what was not committed, once: everything ends as if nothing had happened."""
    commits = itertools.count(1)
    good, bad, unfetched = run_scenario(helpers, partial(helpers.power_cut, number, commits))
    assert next(commits) > number
    assert [task.progress for task in (good, bad, unfetched)] == [100, -1, -1]
    assert [task.items[0].code for task in (good, bad, unfetched)] == ["", "RolledBack", "TaskExpired"]
    assert [task.state.value for task in (good, bad, unfetched)] == ["completed", "completed", "expired"]
    assert helpers.command_state(unfetched.items[0]) is State.CANCELLED
    for task in (good, bad, unfetched):
        assert helpers.claim(task.items[0].instance_id, at=LIFE).run == []
