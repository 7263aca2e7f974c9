"""Tasks: one call's work on some clients, host by host, stage by stage."""

import json
from typing import Any, Final

from aiohttp import web

from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import Visit, go_to
from backfleet.wire.errors import InvalidParameter

PAGE_SIZE: Final = 25
STAGES: Final = ("admit", "check", "fetch", "stage", "drain", "switch", "prove", "commit")
RETRIED: Final = "UpgradeBackupClientsTask"


async def show_tasks(visit: Visit) -> web.StreamResponse:
    """List tasks, newest first."""
    found = await visit.ask("backfleet", "ListTasks", PageNumber=visit.number("page"), PageSize=PAGE_SIZE)
    return visit.page("tasks.html", found=found, page_number=visit.number("page"), page_size=PAGE_SIZE)


async def show_task(visit: Visit) -> web.StreamResponse:
    """Show a task with a bar for each of its clients."""
    task = await visit.ask("hbr", "DescribeTask", TaskId=visit.request.match_info["task"])
    items = [item | shown_item(item) for item in json.loads(task["Result"])]
    failed = [item["clientId"] for item in items if item["tone"] == "bad" and item["clientId"]]
    return visit.page(
        "task.html",
        task=task,
        items=items,
        stages=len(STAGES) + 1,
        failed=failed if task["Name"] == RETRIED else [],
        is_open=not task.get("CompletedTime"),
    )


async def cancel_task(visit: Visit) -> web.StreamResponse:
    """Cancel a task."""
    task_id = visit.request.match_info["task"]
    await visit.ask("backfleet", "CancelTask", TaskId=task_id)
    return go_to(f"/tasks/{task_id}")


async def try_again(visit: Visit) -> web.StreamResponse:
    """Order what failed in a task once more, also where a host keeps a version in quarantine."""
    task = await visit.ask("hbr", "DescribeTask", TaskId=visit.request.match_info["task"])
    items = [item | shown_item(item) for item in json.loads(task["Result"])]
    ids = [item["clientId"] for item in items if item["tone"] == "bad" and item["clientId"]]
    if not ids or task["Name"] != RETRIED:
        raise InvalidParameter("Nothing of this task can be tried again.")
    found = await visit.ask("hbr", "UpgradeBackupClients", ClientIds=ids, TryAgain="true")
    task_id = found.get("TaskId")
    return go_to(f"/tasks/{task_id}") if task_id else visit.page("not_ordered.html", found=found, status=409)


def shown_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return how far an item is, its tone, and the word for it. Pure."""
    stage = item.get("stage") or ""
    if item.get("completedTime"):
        is_bad = bool(item.get("errorCode"))
        return {"done": len(STAGES) + 1, "tone": "bad" if is_bad else "good", "word": "failed" if is_bad else "done"}
    done = STAGES.index(stage) + 1 if stage in STAGES else 0
    return {"done": done, "tone": "busy" if done else "none", "word": stage or "waiting"}


ROUTES = [
    get("/tasks", show_tasks),
    get("/tasks/{task}", show_task),
    post("/tasks/{task}/cancel", cancel_task),
    post("/tasks/{task}/retry", try_again),
]
