"""ListTasks and CancelTask."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backfleet import upgrades
from backfleet.upgrades import Kind, NewTask, Task, TaskTarget

Api = Any
OTHER = "9999999999999999"


@pytest.fixture
def start(api: Api) -> Callable[..., Task]:
    """Start a task of the account with one client that cannot be moved, or with one that waits."""

    def make(kind: Kind = Kind.UPGRADE, *, waiting: bool = False, account: str = "", minutes: int = 0) -> Task:
        services = api.services
        with services.database.transaction() as tx:
            named = services.draw(6)
            target = TaskTarget(f"i-{named}", f"c-{named}", "rclone", "linux-amd64", "1.0", "2.0")
            resolved = TaskTarget("i-2", resolved=("ClientNotInstalled", "there is none"))
            account_id = account or api.caller.account_id
            new = NewTask(kind, account_id, [target if waiting else resolved], api.caller.arn)
            now = api.now + timedelta(minutes=minutes)
            return upgrades.start(tx, new, now=now, draw=services.draw, settings=services.settings)

    return make


def test_a_task_is_listed(api: Api, start: Callable[..., Task]) -> None:
    """With the fields of DescribeTask and who asked for it, without its items."""
    task = start(waiting=True)
    at = int(api.now.timestamp())
    assert api("ListTasks") == {
        "Tasks": [
            {
                "TaskId": task.id,
                "Name": "UpgradeBackupClientsTask",
                "Description": "created",
                "Progress": 0,
                "RequestedBy": api.caller.arn,
                "CreatedTime": at,
                "UpdatedTime": at,
            }
        ],
        "PageNumber": 1,
        "PageSize": 10,
        "TotalCount": 1,
    }


def test_the_history_of_an_instance_has_its_tasks_each_with_its_own_orders(
    api: Api, start: Callable[..., Task]
) -> None:
    """And none of another account's, whatever these were about."""
    first, second = start(), start(minutes=1)
    start(waiting=True, minutes=2)
    start(account=OTHER)
    assert api.refused("ListTasks", InstanceId="x" * 65) == (400, "InvalidParameter")
    found = api("ListTasks", InstanceId="i-2", PageSize="1")
    assert (found["TotalCount"], [task["TaskId"] for task in found["Tasks"]]) == (2, [second.id])
    (task,) = api("ListTasks", InstanceId="i-2", PageSize="1", PageNumber="2")["Tasks"]
    assert (task["TaskId"], task["RequestedBy"]) == (first.id, api.caller.arn)
    assert [(order["State"], order["ErrorCode"]) for order in task["Orders"]] == [("failed", "ClientNotInstalled")]
    assert api("ListTasks", InstanceId="i-never")["Tasks"] == []


def test_a_finished_task_shows_when_it_ended(api: Api, start: Callable[..., Task]) -> None:
    """And that it failed in part."""
    start(Kind.UNINSTALL)
    (task,) = api("ListTasks")["Tasks"]
    assert (task["Name"], task["Description"], task["Progress"]) == ("UninstallBackupClientsTask", "completed", -1)
    assert task["CompletedTime"] == int(api.now.timestamp())


def test_tasks_are_listed_in_pages(api: Api, start: Callable[..., Task]) -> None:
    """Newest first, and none of other accounts."""
    started = [start(minutes=number).id for number in range(5)]
    start(account=OTHER)

    def page(number: int, size: int) -> list[str]:
        found = api("ListTasks", PageNumber=str(number), PageSize=str(size))
        assert (found["PageNumber"], found["PageSize"], found["TotalCount"]) == (number, size, 5)
        return [task["TaskId"] for task in found["Tasks"]]

    assert [page(number, 2) for number in (1, 2, 3, 4)] == [started[:2:-1], started[2:0:-1], started[:1], []]
    assert page(1, 50) == started[::-1]


@pytest.mark.parametrize(
    "asked",
    [{"PageNumber": "0"}, {"PageSize": "0"}, {"PageSize": "51"}, {"PageNumber": "x"}, {"PageNumber": "1000001"}],
)
def test_bad_pages_are_refused(api: Api, asked: dict[str, str]) -> None:
    """They are not corrected."""
    assert api.refused("ListTasks", **asked) == (400, "InvalidParameter")


def test_a_task_is_cancelled_once(api: Api, start: Callable[..., Task]) -> None:
    """Its open items end; cancelling it again later changes nothing."""
    task = start(waiting=True)
    ended = {"TaskId": task.id, "Description": "cancelled", "Progress": -1}
    assert api("CancelTask", TaskId=task.id) == {**ended, "Cancelled": True}
    (cancelled,) = api("ListTasks")["Tasks"]
    assert (cancelled["Description"], cancelled["Progress"]) == ("cancelled", -1)
    assert api.later(hours=1)("CancelTask", TaskId=task.id) == {**ended, "Cancelled": False}
    assert api("ListTasks")["Tasks"] == [cancelled]


def test_a_finished_task_cannot_be_cancelled(api: Api, start: Callable[..., Task]) -> None:
    """It stays completed, and the answer says so."""
    task = start()
    before = api("ListTasks")
    answer = api.later(minutes=1)("CancelTask", TaskId=task.id)
    assert (answer["Cancelled"], answer["Description"]) == (False, "completed")
    assert api("ListTasks") == before


def test_a_task_of_another_account_does_not_exist(api: Api, start: Callable[..., Task]) -> None:
    """404, as for an unknown id; the task goes on."""
    theirs = start(account=OTHER, waiting=True)
    refusals = [api("CancelTask", TaskId=named) for named in (theirs.id, "t-never")]
    assert [(one["Status"], one["Message"]) for one in refusals] == [(404, refusals[0]["Message"])] * 2
    with api.services.database.reading() as tx:
        found = upgrades.read(tx, OTHER, theirs.id, now=api.now)
    assert found is not None
    assert found.state is theirs.state


def test_cancelling_needs_a_task_and_permission(api: Api) -> None:
    """Both are checked."""
    assert api.refused("CancelTask") == (400, "MissingParameter")
    assert api.as_user("nobody").refused("ListTasks")[0] == 403
    assert api.as_user("nobody-2").refused("CancelTask", TaskId="t-1")[0] == 403
