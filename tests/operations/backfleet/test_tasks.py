"""The list of tasks, and stopping one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backfleet import upgrades
from backfleet.upgrades import Kind, NewTask, Task, TaskTarget

Own = Any
OTHER = "9999999999999999"


@pytest.fixture
def start(own: Own) -> Callable[..., Task]:
    """Start a task of the account's own with one target that cannot be moved, or with one that is waiting."""

    def make(kind: Kind = Kind.UPGRADE, *, waiting: bool = False, account: str = "", minutes: int = 0) -> Task:
        services = own.services
        with services.database.transaction() as tx:
            named = services.draw(6)
            target = TaskTarget(f"i-{named}", f"c-{named}", "rclone", "linux-amd64", "1.0", "2.0")
            resolved = TaskTarget("i-2", resolved=("ClientNotInstalled", "there is none"))
            account_id = account or own.caller.account_id
            new = NewTask(kind, account_id, [target if waiting else resolved], own.caller.arn)
            now = own.now + timedelta(minutes=minutes)
            return upgrades.start(tx, new, now=now, draw=services.draw, settings=services.settings)

    return make


def test_a_task_in_the_list(own: Own, start: Callable[..., Task]) -> None:
    """As DescribeTask calls it, with who asked, without its items."""
    task = start(waiting=True)
    at = int(own.now.timestamp())
    assert own("ListTasks") == {
        "Tasks": [
            {
                "TaskId": task.id,
                "Name": "UpgradeBackupClientsTask",
                "Description": "created",
                "Progress": 0,
                "RequestedBy": own.caller.arn,
                "CreatedTime": at,
                "UpdatedTime": at,
            }
        ],
        "PageNumber": 1,
        "PageSize": 10,
        "TotalCount": 1,
    }


def test_a_task_that_is_over_says_when(own: Own, start: Callable[..., Task]) -> None:
    """And that not all went well."""
    start(Kind.UNINSTALL)
    (task,) = own("ListTasks")["Tasks"]
    assert (task["Name"], task["Description"], task["Progress"]) == ("UninstallBackupClientsTask", "completed", -1)
    assert task["CompletedTime"] == int(own.now.timestamp())


def test_pages(own: Own, start: Callable[..., Task]) -> None:
    """The newest first, and nobody else's."""
    started = [start(minutes=number).id for number in range(5)]
    start(account=OTHER)

    def page(number: int, size: int) -> list[str]:
        found = own("ListTasks", PageNumber=str(number), PageSize=str(size))
        assert (found["PageNumber"], found["PageSize"], found["TotalCount"]) == (number, size, 5)
        return [task["TaskId"] for task in found["Tasks"]]

    assert [page(number, 2) for number in (1, 2, 3, 4)] == [started[:2:-1], started[2:0:-1], started[:1], []]
    assert page(1, 50) == started[::-1]


@pytest.mark.parametrize(
    "asked",
    [{"PageNumber": "0"}, {"PageSize": "0"}, {"PageSize": "51"}, {"PageNumber": "x"}, {"PageNumber": "1000001"}],
)
def test_pages_that_cannot_be(own: Own, asked: dict[str, str]) -> None:
    """Refused, and not made to fit."""
    assert own.refused("ListTasks", **asked) == (400, "InvalidParameter")


def test_a_task_is_cancelled_once(own: Own, start: Callable[..., Task]) -> None:
    """What was open is over; saying so again, later, changes nothing."""
    task = start(waiting=True)
    assert own("CancelTask", TaskId=task.id) == {}
    (cancelled,) = own("ListTasks")["Tasks"]
    assert (cancelled["Description"], cancelled["Progress"]) == ("cancelled", -1)
    assert own.later(hours=1)("CancelTask", TaskId=task.id) == {}
    assert own("ListTasks")["Tasks"] == [cancelled]


def test_a_task_that_is_over_stays_as_it_is(own: Own, start: Callable[..., Task]) -> None:
    """Completed is not cancelled afterwards."""
    task = start()
    before = own("ListTasks")
    assert own.later(minutes=1)("CancelTask", TaskId=task.id) == {}
    assert own("ListTasks") == before


def test_another_account_s_task_is_not_there(own: Own, start: Callable[..., Task]) -> None:
    """404 in the same words as for one that never was; it goes on."""
    theirs = start(account=OTHER, waiting=True)
    refusals = [own("CancelTask", TaskId=named) for named in (theirs.id, "t-never")]
    assert [(one["Status"], one["Message"]) for one in refusals] == [(404, refusals[0]["Message"])] * 2
    with own.services.database.reading() as tx:
        found = upgrades.read(tx, OTHER, theirs.id, now=own.now)
    assert found is not None
    assert found.state is theirs.state


def test_a_task_must_be_named(own: Own) -> None:
    """And is asked for by those who may."""
    assert own.refused("CancelTask") == (400, "MissingParameter")
    assert own.as_user("nobody").refused("ListTasks")[0] == 403
    assert own.as_user("nobody-2").refused("CancelTask", TaskId="t-1")[0] == 403
