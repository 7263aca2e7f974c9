"""Each way in which an item ends before its host reports has words of its own: they say what the host has done."""

from collections.abc import Callable
from functools import partial

import pytest

import backfleet.operations.ecs  # noqa: F401 -- its operations are known once it is imported
from backfleet.commands import State
from backfleet.upgrades import ItemState, Task, TaskState
from operations.environment import REGION
from upgrades.helpers import LIFE, WAIT, Helpers, meanwhile

ECS = "2014-05-26"


def waiting(helpers: Helpers, task: Task) -> None:
    """Nothing was sent."""


def sent(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()


def fetched(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()
    helpers.claim(task.items[0].instance_id)


def fetched_long_ago(helpers: Helpers, task: Task) -> None:
    """Its lease ran out: it waits to be handed out again."""
    fetched(helpers, task)
    helpers.sweep(at=91)


def begun(helpers: Helpers, task: Task) -> None:
    helpers.run_worker()
    helpers.begin(task.items[0], "fetch")
    helpers.run_worker()


def begun_unread(helpers: Helpers, task: Task) -> None:
    """The worker has not collected the news that it began."""
    helpers.run_worker()
    helpers.begin(task.items[0], "fetch")


def silent(helpers: Helpers, task: Task) -> None:
    begun(helpers, task)
    helpers.sweep(at=91)
    helpers.run_worker(at=91)


STEPS = (waiting, sent, fetched, fetched_long_ago, begun, begun_unread, silent)
SoFar = Callable[[Helpers, Task], None]


def words_of(step: SoFar, before: str, got_it: str, at_work: str, went_silent: str) -> str:
    if step in (waiting, sent):
        return before
    if step in (fetched, fetched_long_ago):
        return got_it
    return went_silent if step is silent else at_work


@pytest.mark.parametrize("so_far", STEPS, ids=lambda step: step.__name__)
def test_a_task_that_runs_out_of_time_says_how_far_its_host_came(helpers: Helpers, so_far: SoFar) -> None:
    """Of a host that never fetched its order it does not say that the host finishes by itself."""
    task = helpers.start(helpers.target())
    so_far(helpers, task)
    helpers.run_worker(at=LIFE)
    item = helpers.item(task)
    assert (item.state, item.code) == (ItemState.EXPIRED, "TaskExpired")
    assert (
        words_of(
            so_far,
            "before its host fetched the order, so nothing was changed there",
            "fetched the order and did not report that it began",
            "the host began and did not end in time",
            "the host began and then stopped reporting",
        )
        in item.message
    )
    assert ("by itself" in item.message) is (so_far not in (waiting, sent))


@pytest.mark.parametrize("so_far", STEPS, ids=lambda step: step.__name__)
def test_a_cancelled_task_says_how_far_its_host_had_come(helpers: Helpers, so_far: SoFar) -> None:
    """Before the host fetched the order, or after."""
    task = helpers.start(helpers.target())
    so_far(helpers, task)
    helpers.cancel(task, at=100)
    item = helpers.item(task)
    assert (item.state, item.code) == (ItemState.CANCELLED, "TaskCancelled")
    assert (
        words_of(
            so_far,
            "cancelled before its host fetched the order, so nothing was changed there",
            "cancelled after its host fetched the order and before it reported that it began",
            "cancelled while its host was at work",
            "cancelled after its host began and stopped reporting",
        )
        in item.message
    )


def deregister(helpers: Helpers, task: Task) -> None:
    instance_id = task.items[0].instance_id
    status, answer = helpers.env.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId=instance_id)
    assert status == 200, answer


@pytest.mark.parametrize("so_far", STEPS, ids=lambda step: step.__name__)
def test_deregistering_a_host_ends_its_tasks_at_once(helpers: Helpers, so_far: SoFar) -> None:
    """The instance exists no longer: nothing is waited for, and the words say what the host may have done."""
    task = helpers.start(helpers.target())
    so_far(helpers, task)
    deregister(helpers, task)
    helpers.run_worker(at=100)
    helpers.run_worker(at=100)  # what was sent to it only now is news for the next round
    item = helpers.item(task)
    assert (item.state, item.code) == (ItemState.FAILED, "InstanceNotExists")
    assert (
        words_of(
            so_far,
            "deregistered before the host fetched the order, so nothing was changed there",
            "deregistered after the host fetched the order; whether it began is not known",
            "deregistered while the host was at work",
            "deregistered while the host was at work",
        )
        in item.message
    )
    assert helpers.task(task, at=100).state is TaskState.COMPLETED
    assert helpers.command_state(item) is State.GONE
    assert helpers.claim(item.instance_id, at=101).run == []


def test_deregistering_one_host_leaves_the_others_of_its_task_alone(helpers: Helpers) -> None:
    """The task goes on for them."""
    task = helpers.start(helpers.target(), helpers.target())
    helpers.run_worker()
    deregister(helpers, task)
    helpers.run_worker(at=1)
    assert [item.is_open for item in helpers.task(task).items] == [False, True]


def test_an_order_that_is_being_sent_while_its_host_is_deregistered_is_not_left_open(replicas: Helpers) -> None:
    """Whichever is first: the deregistration waits for the sender, and ends what it sent."""
    task = replicas.start(replicas.target())
    with replicas.paused_before_commit(replicas.run_worker):
        leaving = meanwhile(partial(deregister, replicas, task))
        assert not leaving.done()
    leaving.result(WAIT)
    replicas.run_worker(at=1)
    assert replicas.item(task).code == "InstanceNotExists"
