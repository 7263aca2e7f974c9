"""Starting a task: what is stored, once per token, and never two tasks at one client."""

from dataclasses import replace
from functools import partial

import pytest

from backfleet.commands import State
from backfleet.fleet import ClientStatus
from backfleet.storage import Conflict
from backfleet.upgrades import NEW_TASKS, TOPIC, ItemState, Kind, Task, TaskState, TaskTarget, TokenReused
from backfleet.upgrades._tables import items, tasks, tokens
from backfleet_host.contract import Malformed
from operations.environment import OTHER
from upgrades.helpers import LIFE, WAIT, Helpers, at_once, meanwhile, nobody, report_of

GONE = ("ClientNotInstalled", "there is none")
DAY = 86400


def stored_rows(helpers: Helpers) -> tuple[int, int, int]:
    """Rows of tasks, items and tokens."""
    return helpers.rows_of(tasks), helpers.rows_of(items), helpers.rows_of(tokens)


def test_a_new_task_is_read_as_it_was_started(helpers: Helpers) -> None:
    """The worker is notified, and the client is shown as being upgraded."""
    target = helpers.target()
    task = helpers.start(target)
    assert helpers.task(task) == task
    assert (task.state, task.progress, task.completed_at) == (TaskState.CREATED, 0, None)
    assert task.deadline == helpers.moment(LIFE)
    assert task.id.startswith("t-")
    (item,) = task.items
    assert (item.state, item.timeout_seconds, item.started_at) == (ItemState.WAITING, 0, None)
    assert (item.from_version, item.to_version, item.current_version) == ("1.0", "2.0", "1.0")
    assert helpers.published.count(TOPIC) == helpers.published.count(NEW_TASKS) == 1
    assert helpers.client(target.client_id).status is ClientStatus.UPGRADING


def test_a_hundred_clients_are_one_task(helpers: Helpers) -> None:
    """In the order of the request, whatever the order in which they are written."""
    targets = [nobody(number) for number in range(100, 0, -1)]
    task = helpers.start(*targets)
    assert [item.client_id for item in helpers.task(task).items] == [target.client_id for target in targets]
    assert [item.position for item in helpers.task(task).items] == list(range(100))
    helpers.run_worker()
    assert {item.state for item in helpers.task(task).items} == {ItemState.SENT}
    assert {helpers.command_state(item) for item in helpers.task(task).items} == {State.WAITING}


@pytest.mark.parametrize(
    ("resolved", "state", "progress"),
    [
        pytest.param(["NoRelease"], TaskState.COMPLETED, -1, id="alone"),
        pytest.param(["NotAllowedFrom", "NoRelease"], TaskState.COMPLETED, -1, id="two"),
        pytest.param(["NoRelease", None], TaskState.CREATED, 50, id="one still to be sent"),
    ],
)
def test_a_refused_target_ends_at_once(
    helpers: Helpers, resolved: list[str | None], state: TaskState, progress: int
) -> None:
    """Nothing of it is sent; a task of such targets only is over when it is stored."""
    targets = [
        nobody(number) if one is None else nobody(number, resolved=(one, "why")) for number, one in enumerate(resolved)
    ]
    task = helpers.start(*targets)
    assert (task.state, task.progress) == (state, progress)
    assert task.completed_at == (None if state is TaskState.CREATED else helpers.moment(0))
    helpers.run_worker()
    for one, item in zip(resolved, helpers.task(task).items, strict=True):
        assert (helpers.sent(item) is None) == (one is not None)
        assert item.code == (one or "")


def test_a_refusal_changes_no_client(helpers: Helpers) -> None:
    """It says nothing about its host."""
    stuck = helpers.target(resolved=("NoRelease", "there is none"))
    helpers.start(stuck)
    assert helpers.client(stuck.client_id).status is ClientStatus.ACTIVATED


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        pytest.param(Kind.UPGRADE, {"to_version": ""}, id="to nothing"),
        pytest.param(Kind.UPGRADE, {"to_version": "../2"}, id="to a version that is a path"),
        pytest.param(Kind.INSTALL, {"platform": ""}, id="on no platform"),
        pytest.param(Kind.UNINSTALL, {"package": "Courier!"}, id="of no package"),
    ],
)
def test_an_order_that_cannot_be_written_is_refused(helpers: Helpers, kind: Kind, target: dict[str, str]) -> None:
    """It would stop the worker for everybody. Nothing of the task is stored, and nothing is published."""
    with pytest.raises(Malformed):
        helpers.start(nobody(1), nobody(2, **target), kind=kind)
    assert stored_rows(helpers) == (0, 0, 0)
    assert helpers.published == []


def test_a_resolved_target_needs_no_order(helpers: Helpers) -> None:
    """It may lack everything that an order has."""
    (item,) = helpers.start(TaskTarget("mi-1", resolved=GONE)).items
    assert (item.state, item.code, item.client_id) == (ItemState.FAILED, "ClientNotInstalled", "")


def test_the_topic_of_a_task_that_is_over_at_once_is_published(helpers: Helpers) -> None:
    """Its starter need not ask."""
    helpers.start(TaskTarget("mi-1", resolved=GONE), topic="rollouts")
    assert helpers.published.count("rollouts") == 1


def test_a_task_is_stored_with_its_topic(helpers: Helpers) -> None:
    """Nothing is published under it while the task is open."""
    task = helpers.start(nobody(1), topic="rollouts")
    assert helpers.task(task).topic == "rollouts"
    assert "rollouts" not in helpers.published


# --- Busy -----------------------------------------------------------------------------------------------------------


def test_a_client_that_is_moving_is_left_to_its_task(helpers: Helpers) -> None:
    """Whatever was planned for it; the other clients of the new task are not affected."""
    target, other = helpers.target(), helpers.target()
    first = helpers.start(target)
    second = helpers.start(replace(target, resolved=("NoRelease", "")), other, at=1)
    busy, free = second.items
    assert (busy.state, busy.code) == (ItemState.FAILED, "UpgradeInProgress")
    assert first.id in busy.message
    assert free.state is ItemState.WAITING
    assert helpers.item(first).is_open
    assert helpers.client(target.client_id).status is ClientStatus.UPGRADING


def test_another_accounts_task_is_never_named(helpers: Helpers) -> None:
    """An id that is not the caller's own is not even looked up."""
    first = helpers.start(nobody(1))
    theirs = helpers.start(TaskTarget("", "c-1", resolved=("ClientNotExists", "no such client")), account=OTHER)
    (item,) = theirs.items
    assert (item.code, first.id in item.message) == ("ClientNotExists", False)


def test_a_client_is_free_again_when_its_upgrade_is_over(helpers: Helpers) -> None:
    """Succeeded, failed or cancelled."""
    target = helpers.target()
    for outcome in ("succeeded", "failed"):
        _, item, command = helpers.under_way(target)
        helpers.end(item, command, report_of(item, outcome))
        helpers.run_worker()
    cancelled = helpers.start(target)
    helpers.cancel(cancelled)
    assert helpers.start(target).items[0].is_open


def test_a_task_past_its_deadline_blocks_no_client(helpers: Helpers) -> None:
    """It is shown as expired, so it is ended here if no worker did so, and its order is withdrawn before the next."""
    target, other = helpers.target(), nobody(2)
    old = helpers.start(target, other)
    helpers.run_worker()
    assert helpers.start(target, at=LIFE - 1).items[0].code == "UpgradeInProgress"
    new = helpers.start(target, at=LIFE)
    assert new.items[0].is_open
    assert [item.state for item in helpers.task(old).items] == [ItemState.EXPIRED] * 2
    assert helpers.task(old).completed_at == old.deadline
    assert helpers.command_state(old.items[0]) is State.CANCELLED
    assert helpers.client(target.client_id).status is ClientStatus.UPGRADING


def test_the_same_client_twice_in_one_task_is_a_conflict(helpers: Helpers) -> None:
    """The database refuses it, whatever the caller does."""
    with pytest.raises(Conflict):
        helpers.start(nobody(1), nobody(1))
    assert stored_rows(helpers) == (0, 0, 0)


def test_items_without_a_client_do_not_block_each_other(helpers: Helpers) -> None:
    """Two installations on new hosts have no client yet that could be busy."""
    task = helpers.start(*(nobody(number, client_id="") for number in range(2)), kind=Kind.INSTALL)
    assert [item.is_open for item in task.items] == [True, True]


# --- Tokens ---------------------------------------------------------------------------------------------------------


def test_a_token_gives_the_task_that_it_started(helpers: Helpers) -> None:
    """As it is now. The same token of another account is another one."""
    task = helpers.start(nobody(1), token="once", fingerprint="f")
    helpers.start(nobody(2), token="once", fingerprint="g", account=OTHER)
    helpers.cancel(task)
    found = helpers.started_before("once", "f")
    assert found is not None
    assert (found.id, found.state) == (task.id, TaskState.CANCELLED)
    assert helpers.started_before("another", "f") is None


def test_a_token_with_other_parameters_is_refused(helpers: Helpers) -> None:
    """And stays bound to its task."""
    task = helpers.start(nobody(1), token="once", fingerprint="f")
    with pytest.raises(TokenReused):
        helpers.started_before("once", "g")
    found = helpers.started_before("once", "f")
    assert found is not None
    assert found.id == task.id


def test_a_token_is_forgotten_after_a_day_to_the_second(helpers: Helpers) -> None:
    """Then it may start another task, once."""
    helpers.start(nobody(1), token="once", fingerprint="f")
    assert helpers.started_before("once", "f", at=DAY - 1) is not None
    assert helpers.started_before("once", "g", at=DAY) is None
    new = helpers.start(nobody(2), token="once", fingerprint="g", at=DAY)
    found = helpers.started_before("once", "g", at=DAY + 1)
    assert found is not None
    assert found.id == new.id


def test_a_token_that_is_taken_is_a_conflict(helpers: Helpers) -> None:
    """Of two calls that found it new, one starts a task; of the other one nothing is stored."""
    helpers.start(nobody(1), token="once")
    with pytest.raises(Conflict):
        helpers.start(nobody(2), token="once")
    assert stored_rows(helpers) == (1, 1, 1)


# --- Races ----------------------------------------------------------------------------------------------------------


def test_of_two_calls_for_one_client_one_is_first(replicas: Helpers) -> None:
    """The other one waits for it, gets the conflict, and finds the task when it begins again."""
    target = replicas.target()
    first: list[Task] = []
    with replicas.paused_before_commit(lambda: first.append(replicas.start(target))):
        second = meanwhile(partial(replicas.start, target))
        assert not second.done()
    assert isinstance(second.exception(WAIT), Conflict)
    assert stored_rows(replicas) == (1, 1, 0)
    again = replicas.start(target)
    assert (again.items[0].code, first[0].id in again.items[0].message) == ("UpgradeInProgress", True)


def test_of_two_calls_with_one_token_one_is_first(replicas: Helpers) -> None:
    """Even if they name other clients."""
    with replicas.paused_before_commit(lambda: replicas.start(nobody(1), token="once")):
        second = meanwhile(partial(replicas.start, nobody(2), token="once"))
        assert not second.done()
    assert isinstance(second.exception(WAIT), Conflict)
    assert stored_rows(replicas) == (1, 1, 1)


def test_calls_that_name_the_same_clients_in_another_order_do_not_wait_for_each_other(helpers: Helpers) -> None:
    """Eight at once for the same fifty: one gets them all, without a deadlock."""
    there, back = [nobody(number) for number in range(50)], [nobody(number) for number in reversed(range(50))]
    calls = at_once([partial(helpers.start, *targets) for targets in (there, back) * 4])
    assert {type(call.exception()) for call in calls} <= {type(None), Conflict}
    started = [call.result() for call in calls if call.exception() is None]
    winners = [task for task in started if task.state is TaskState.CREATED]
    assert len(winners) == 1
    others = {item.code for task in started if task not in winners for item in task.items}
    assert others <= {"UpgradeInProgress"}
