"""ListTasks and CancelTask."""

from dataclasses import dataclass
from typing import Any

from backfleet import upgrades
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds, task_name
from backfleet.operations.hbr.errors import TaskNotFound
from backfleet.paging import Page
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe


@dataclass(frozen=True, slots=True)
class ListTasks:
    """A page."""

    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=10, least=1, most=50)


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
            }
        ],
        "PageNumber": int,
        "PageSize": int,
        "TotalCount": int,
    },
)
def list_tasks(call: Call, asked: ListTasks) -> dict[str, Any]:
    """List the account's tasks without their items, newest first."""
    page = Page(asked.page_number, asked.page_size)
    with call.services.database.reading() as tx:
        found = upgrades.find(tx, call.account_id, page)
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
            }
            for task in found.items
        ],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


@dataclass(frozen=True, slots=True)
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
