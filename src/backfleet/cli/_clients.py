"""backfleet client and backfleet task: backup clients, and tasks on them."""

import sys
import time
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail, json_option
from backfleet.cli._pins import pinned
from backfleet.cli._print import ITEM_HEADINGS, item_rows, items_of, moment, print_json, print_table, say, table
from backfleet_host.texts import printable

PAGE = 99  # clients per call: the API's maximum
POLL_SECONDS = 1.0  # between two calls while a task is watched
LONGEST_WATCH_SECONDS = 3600  # longer than any task


@click.group()
def client() -> None:
    """Backup clients on hosts."""


@client.command(name="list")
@json_option
@calls_the_api
def list_clients(api: Client, as_json: bool) -> None:
    """List every backup client, its version and the newest one for it."""
    found: list[dict[str, Any]] = []
    while True:
        page = len(found) // PAGE + 1
        answer = api.call("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT", PageNumber=page, PageSize=PAGE)
        found += answer["Clients"]
        if len(answer["Clients"]) < PAGE:
            break
    if as_json:
        print_json(found)
        return
    print_table(
        ("CLIENT", "INSTANCE", "HOSTNAME", "PACKAGE", "VERSION", "NEWEST", "STATUS"),
        [
            (
                c["ClientId"],
                c["InstanceId"],
                c.get("Hostname"),
                c.get("PackageName"),
                c.get("ClientVersion"),
                c.get("MaxClientVersion"),
                c["Status"] + _offered(c) + _unconfirmed(c) + pinned(c),
            )
            for c in found
        ],
    )


def _offered(found: dict[str, Any]) -> str:
    """Return what is said of a client whose version is not offered any more."""
    return ", behind what is offered (withdrawn)" if found.get("OfferState") == "Withdrawn" else ""


def _unconfirmed(found: dict[str, Any]) -> str:
    """Return what is said of a client whose host has not said lately which version it has."""
    if found.get("Confirmed", True):  # a server from before this field does not say
        return ""
    since = moment(found.get("ConfirmedTime"))
    return f", not confirmed since {since}" if since else ", never confirmed"


def _targets(command: Any) -> Any:
    command = click.option("--instance", "instances", multiple=True, metavar="ID")(command)
    command = click.option("--client", "clients", multiple=True, metavar="ID")(command)
    command = click.option("--wait", is_flag=True, help="Show progress until the task ends.")(command)
    return json_option(command)


_try_again = click.option(
    "--try-again", is_flag=True, help="Also try a version that a host rolled back within the last day."
)


_version = click.option("--version", metavar="VERSION", help="Go to this version. Default: the newest.")


@client.command(name="set")
@click.argument("client_id")
@click.option("--channel", required=True, help="The channel whose newest release it gets from now on.")
@json_option
@calls_the_api
def set_(api: Client, client_id: str, channel: str, as_json: bool) -> None:
    """Have a client follow another channel. Its next upgrade goes by it; nothing is sent to its host now."""
    found = api.call("backfleet", "SetClientChannel", ClientId=client_id, Channel=channel)
    if as_json:
        print_json(found)
        return
    say(f"client {client_id} follows {channel}; before it was {found['PreviousChannel']}")


@client.command()
@_targets
@_version
@_try_again
@calls_the_api
def upgrade(
    api: Client,
    instances: tuple[str, ...],
    clients: tuple[str, ...],
    version: str | None,
    try_again: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Upgrade clients to their newest release, or to a named one."""
    _need_a_target(instances, clients)
    named = {"InstanceIds": list(instances), "ClientIds": list(clients), "ReleaseVersion": version}
    _start(api, "UpgradeBackupClients", wait, as_json, **named, **_flag("TryAgain", try_again))


@client.command(name="roll-back")
@_targets
@click.option(
    "--version", metavar="VERSION", help="Go down to this version. Default: what each host had before, verified."
)
@calls_the_api
def roll_back(
    api: Client, instances: tuple[str, ...], clients: tuple[str, ...], version: str | None, wait: bool, as_json: bool
) -> None:
    """Take clients back to an older version. Each host decides whether it goes down."""
    _need_a_target(instances, clients)
    named = {"InstanceIds": list(instances), "ClientIds": list(clients), "ReleaseVersion": version}
    _start(api, "RollBackClients", wait, as_json, **named)


@client.command()
@click.option("--package", help="The backup client. Default: the only one, or the server's setting.")
@click.option("--instance", "instances", multiple=True, required=True, metavar="ID")
@click.option("--wait", is_flag=True, help="Show progress until the task ends.")
@_version
@_try_again
@json_option
@calls_the_api
def install(
    api: Client,
    package: str | None,
    instances: tuple[str, ...],
    version: str | None,
    try_again: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Install a backup client on hosts: its newest release, or a named one."""
    named = {"InstanceIds": list(instances), "PackageName": package, "ReleaseVersion": version}
    _start(api, "InstallBackupClients", wait, as_json, **named, **_flag("TryAgain", try_again))


@client.command()
@_targets
@click.option(
    "--remove-state", is_flag=True, help="Remove their configuration and state, too. They cannot be restored."
)
@calls_the_api
def uninstall(
    api: Client, instances: tuple[str, ...], clients: tuple[str, ...], remove_state: bool, wait: bool, as_json: bool
) -> None:
    """Uninstall backup clients from hosts. Their preserved state (configuration, data) stays."""
    _need_a_target(instances, clients)
    named = {"InstanceIds": list(instances), "ClientIds": list(clients)}
    _start(api, "UninstallBackupClients", wait, as_json, **named, **_flag("RemoveState", remove_state))


def _flag(name: str, given: bool) -> dict[str, bool]:
    """Return a boolean parameter, only if its flag was given."""
    return {name: True} if given else {}


def _need_a_target(instances: tuple[str, ...], clients: tuple[str, ...]) -> None:
    if not instances and not clients:
        raise click.UsageError("name at least one --instance ID or --client ID")


def _start(api: Client, action: str, wait: bool, as_json: bool, **parameters: object) -> None:
    answer = api.call("backfleet" if action == "RollBackClients" else "hbr", action, **parameters)
    unreachable = [status for status in answer["InstanceStatuses"] if not status["ValidInstance"]]
    if not wait:
        print_json(answer) if as_json else _print_started(answer, unreachable)
        return
    if unreachable and not as_json:
        print_table(("REFUSED INSTANCE", "CODE"), [(s["InstanceId"], s["ErrorCode"]) for s in unreachable])
    task = _watch(api, answer["TaskId"], draw=not as_json)
    if as_json:
        print_json({**answer, "Task": {**task, "Result": items_of(task)}})
    raise SystemExit(0 if task["Progress"] == 100 and not unreachable else 1)


def _print_started(answer: dict[str, Any], unreachable: list[dict[str, Any]]) -> None:
    for status in unreachable:
        say(f"{status['InstanceId']}: not started: {status['ErrorCode']}")
    say(f"{answer['TaskId']} started; follow it with `backfleet task watch {answer['TaskId']}`")


@click.group()
def task() -> None:
    """Tasks: installs, upgrades and uninstalls."""


@task.command(name="list")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@json_option
@calls_the_api
def list_tasks(api: Client, page: int, as_json: bool) -> None:
    """List tasks, newest first."""
    found = api.call("backfleet", "ListTasks", PageNumber=page, PageSize=50)["Tasks"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("TASK", "NAME", "STATE", "PROGRESS", "CREATED", "COMPLETED"),
        [
            (
                t["TaskId"],
                t["Name"],
                t["Description"],
                t["Progress"],
                moment(t["CreatedTime"]),
                moment(t.get("CompletedTime")),
            )
            for t in found
        ],
    )


@task.command()
@click.argument("task_id")
@json_option
@calls_the_api
def show(api: Client, task_id: str, as_json: bool) -> None:
    """Show one task and each of its hosts."""
    found = api.call("hbr", "DescribeTask", TaskId=task_id)
    if as_json:
        print_json({**found, "Result": items_of(found)})
        return
    say(_summary(found))
    items = items_of(found)
    print_table(ITEM_HEADINGS, item_rows(items))
    for item in items:
        if item.get("evidence"):
            say("")
            say(f"{item['instanceId']}: what {item.get('toVersion')} printed before it was rolled back")
            for line in str(item["evidence"]).splitlines():
                say(f"  {line}")


@task.command()
@click.argument("task_id")
@calls_the_api
def watch(api: Client, task_id: str) -> None:
    """Show a task's progress by host until it ends. Exits with 0 only if every host succeeded."""
    raise SystemExit(0 if _watch(api, task_id, draw=True)["Progress"] == 100 else 1)


@task.command()
@click.argument("task_id")
@calls_the_api
def cancel(api: Client, task_id: str) -> None:
    """Cancel a task. A host that has begun to switch finishes, or rolls back by itself."""
    api.call("backfleet", "CancelTask", TaskId=task_id)
    say(f"{task_id}: cancelled")


def _watch(api: Client, task_id: str, *, draw: bool) -> dict[str, Any]:
    """Poll a task until it ends and return the last answer."""
    drawn = _Drawing()
    give_up = time.monotonic() + LONGEST_WATCH_SECONDS
    while True:
        found = api.call("hbr", "DescribeTask", TaskId=task_id)
        if draw:
            drawn.show(f"{printable(_summary(found))}\n{table(ITEM_HEADINGS, item_rows(items_of(found)))}")
        if found["Description"] != "created":
            return found
        if time.monotonic() > give_up:
            fail(f"{task_id} has not ended yet; watch it again with `backfleet task watch {task_id}`")
        time.sleep(POLL_SECONDS)


class _Drawing:
    """Draws over its last text on a terminal; elsewhere prints a text only if it changed."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, text: str) -> None:
        if text == self._last:
            return
        if self._last and sys.stdout.isatty():
            click.echo(f"\x1b[{self._last.count(chr(10)) + 1}F\x1b[J", nl=False)
        click.echo(text)  # its parts are escaped
        self._last = text


def _summary(found: dict[str, Any]) -> str:
    progress = "failed" if found["Progress"] == -1 else f"{found['Progress']} %"
    return f"{found['Name']}: {found['Description']}, {progress}"
