"""ListTasks and CancelTask."""

from typing import Any, Final

from backfleet import upgrades
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds, task_name
from backfleet.operations.hbr.errors import TaskNotFound
from backfleet.paging import Page
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe


@value_object
class ListTasks:
    """A page; with an instance, of the tasks that had orders for it."""

    instance_id: str | None = text("InstanceId", longest=64)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=10, least=1, most=50)


ORDER: Final = {
    "ClientId": str,
    "PackageName": str,
    "State": str,
    "FromVersion": str,
    "ToVersion": str,
    "ErrorCode": str,
    "Message": str,
    "Output": str,
    "StartedTime": Maybe(int),
    "CompletedTime": Maybe(int),
}
"""What a task did on one instance. Output is what a version printed that was rolled back."""


@operation(
    BACKFLEET,
    "ListTasks",
    action="backfleet:ListTasks",
    answer={
        "Tasks": [
            {
                "TaskId": str,
                "Name": str,
                "Description": str,
                "Progress": int,
                "RequestedBy": str,
                "CreatedTime": int,
                "UpdatedTime": int,
                "CompletedTime": Maybe(int),
                "Orders": Maybe([ORDER]),
            }
        ],
        "PageNumber": int,
        "PageSize": int,
        "TotalCount": int,
    },
)
def list_tasks(call: Call, asked: ListTasks) -> dict[str, Any]:
    """List the account's tasks, newest first. With InstanceId, those that had orders for it, each with these Orders."""
    page = Page(asked.page_number, asked.page_size)
    with call.services.database.reading() as tx:
        found = upgrades.find(tx, call.account_id, page, instance_id=asked.instance_id)
    return {
        "Tasks": [
            {
                "TaskId": task.id,
                "Name": task_name(task),
                "Description": task.state.value,
                "Progress": task.progress,
                "RequestedBy": task.requested_by,
                "CreatedTime": seconds(task.created_at),
                "UpdatedTime": seconds(task.updated_at),
                "CompletedTime": seconds(task.completed_at),
                **({} if asked.instance_id is None else {"Orders": [_order(item) for item in task.items]}),
            }
            for task in found.items
        ],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


def _order(item: upgrades.Item) -> dict[str, Any]:
    return {
        "ClientId": item.client_id,
        "PackageName": item.package,
        "State": item.state.value,
        "FromVersion": item.from_version,
        "ToVersion": item.goal_version,
        "ErrorCode": item.code,
        "Message": item.message,
        "Output": item.evidence,
        "StartedTime": seconds(item.started_at),
        "CompletedTime": seconds(item.completed_at),
    }


@value_object
class CancelTask:
    """A task."""

    task_id: str | None = text("TaskId", required=True, longest=64)


@operation(
    BACKFLEET,
    "CancelTask",
    action="backfleet:CancelTask",
    answer={"TaskId": str, "Cancelled": bool, "Description": str, "Progress": int},
    errors=(TaskNotFound,),
)
def cancel_task(call: Call, asked: CancelTask) -> dict[str, Any]:
    """Cancel a task: its open items end. A finished task stays as it is: Cancelled is false, and Description says how.

    Raises:
        TaskNotFound: the account has no such task.
    """
    task_id = asked.task_id or ""
    with call.services.database.transaction() as tx:
        cancelled = upgrades.cancel(tx, call.account_id, task_id, now=call.now)
        task = upgrades.read(tx, call.account_id, task_id, now=call.now)
    if cancelled is None or task is None:
        raise TaskNotFound
    return {"TaskId": task.id, "Cancelled": cancelled, "Description": task.state.value, "Progress": task.progress}
