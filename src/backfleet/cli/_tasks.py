"""backfleet task: what installs, upgrades and other orders came to."""

from typing import Any

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._options import FINISHED_BEFORE, WholeNumber, calls_the_api, report_error
from backfleet.cli._print import moment, say
from backfleet.cli._progress import as_document, has_failed, items_of, state_of, summary
from backfleet.cli._tables import Output, output_options
from backfleet.cli._targets import instance_id_of
from backfleet.cli._watching import have_succeeded, show_ended, show_items, wait_for

PAGE = 50  # tasks per call: the API's maximum


@click.group()
def task() -> None:
    """Tasks: installs, upgrades and uninstalls."""


@task.command(name="list")
@click.option("--instance", metavar="HOST", help="The history of this host, by id or name: each order, and its end.")
@click.option("--page", type=WholeNumber(1), default=1, show_default=True)
@output_options
@calls_the_api
def list_tasks(api: Client, instance: str | None, page: int, output: Output) -> None:
    """List tasks, newest first."""
    instance_id = None if instance is None else instance_id_of(api, instance)
    found = api.call("backfleet", "ListTasks", InstanceId=instance_id, PageNumber=page, PageSize=PAGE)["Tasks"]
    if instance_id is not None:
        _show_history(found, output)
        return
    output.show(
        ("TASK", "NAME", "STATE", "PROGRESS", "CREATED", "COMPLETED"),
        [
            (
                t["TaskId"],
                t["Name"],
                state_of(t),
                "" if has_failed(t) else t["Progress"],
                moment(t["CreatedTime"]),
                moment(t.get("CompletedTime")),
            )
            for t in found
        ],
        found,
    )


def _show_history(tasks: list[dict[str, Any]], output: Output) -> None:
    rows = [
        (moment(t["CreatedTime"]), t["Name"], o["PackageName"], o["FromVersion"], o["ToVersion"],
         o["ErrorCode"] or o["State"], t["RequestedBy"], t["TaskId"])
        for t in tasks
        for o in t["Orders"]
    ]  # fmt: skip
    output.show(("CREATED", "NAME", "PACKAGE", "FROM", "TO", "OUTCOME", "BY", "TASK"), rows, tasks)


@task.command()
@click.argument("task_id")
@output_options
@calls_the_api
def show(api: Client, task_id: str, output: Output) -> None:
    """Show one task and each of its hosts."""
    found = api.call("hbr", "DescribeTask", TaskId=task_id)
    items = items_of(found)
    if output.form == "table":
        say(summary(found))
    show_items(items, output, as_document(found))
    if output.form != "table":
        return
    for item in items:
        if item.get("evidence"):
            say("")
            say(f"{item['instanceId']}: what {item.get('toVersion')} printed before it was rolled back")
            for line in str(item["evidence"]).splitlines():
                say(f"  {line}")


@task.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID...")
@output_options
@calls_the_api
def watch(api: Client, task_ids: tuple[str, ...], output: Output) -> None:
    """Show the progress of tasks by host until they end. Exits with 0 only if every host succeeded."""
    tasks = wait_for(api, list(dict.fromkeys(task_ids)), draw=output.form == "table")
    show_ended(tasks, output)
    raise SystemExit(0 if have_succeeded(tasks) else 1)


task.add_command(watch, "wait")


@task.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID...")
@output_options
@calls_the_api
def cancel(api: Client, task_ids: tuple[str, ...], output: Output) -> None:
    """Cancel tasks. A host that has begun to switch finishes, or rolls back by itself.

    Exits with 4 if one of them had finished before: then there was nothing to cancel.
    """
    answers: list[dict[str, Any]] = []
    for task_id in dict.fromkeys(task_ids):
        try:
            answers.append(api.call("backfleet", "CancelTask", TaskId=task_id))
        except CallFailed as problem:
            if len(task_ids) == 1:
                raise
            answers.append({"TaskId": task_id, "Cancelled": False, "Error": problem.answer or problem.message})
            report_error(f"{task_id}: {problem.message}", str(problem.answer.get("Code", "")), output.is_json)
    if output.form == "table":
        for answer in answers:
            if "Error" not in answer:
                say(_what_cancelling_did(answer))
    else:
        rows = [
            (each["TaskId"], "yes" if each["Cancelled"] else "no", each.get("Description"), each.get("Progress"))
            for each in answers
        ]
        document = answers[0] if len(answers) == 1 else answers
        output.show(("TASK", "CANCELLED", "STATE", "PROGRESS"), rows, document)
    if any("Error" in answer for answer in answers):
        raise SystemExit(1)
    if not all(answer["Cancelled"] for answer in answers):
        raise SystemExit(FINISHED_BEFORE)


def _what_cancelling_did(answer: dict[str, Any]) -> str:
    task_id = answer["TaskId"]
    if answer["Cancelled"]:
        return f"{task_id}: cancelled"
    if answer["Description"] == "cancelled":
        return f"{task_id}: not cancelled: it was cancelled before"
    how = "with success" if answer["Progress"] == 100 else "not all of it with success"
    return f"{task_id}: not cancelled: it had finished before ({answer['Description']}, {how})"
