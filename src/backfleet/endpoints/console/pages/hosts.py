"""One host: its agent, its clients, every order that it got, the backup runs, and what failed with its evidence."""

import asyncio
from typing import Any, Final

from aiohttp import web

from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit, rows_of

RUNS: Final = 60  # the newest, in the strip
ORDERED: Final = 10  # tasks on a page of the history


async def show_host(visit: Visit) -> web.StreamResponse:
    """Show a host."""
    host_id = visit.request.match_info["host"]
    region = visit.console.services.settings.region
    host, clients, runs, machines, history = await asyncio.gather(
        visit.ask("backfleet", "DescribeInstance", InstanceId=host_id),
        visit.ask_or_none("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT", InstanceIds=[host_id]),
        visit.ask_or_none("backfleet", "ListRuns", InstanceId=host_id, PageSize=RUNS),
        visit.ask_or_none("ecs", "DescribeInstances", RegionId=region, InstanceIds=[host_id]),
        visit.ask_or_none(
            "backfleet", "ListTasks", InstanceId=host_id, PageNumber=visit.number("page"), PageSize=ORDERED
        ),
    )
    found = rows_of(clients, "Clients")
    return visit.page(
        "host.html",
        host=host,
        clients=found,
        strips=[(client, strip_of(rows_of(runs, "Runs"), client["ClientId"])) for client in found],
        machine=((machines or {}).get("Instances") or {}).get("Instance", [{}])[:1],
        may_see_clients=clients is not None,
        history=history,
        orders=orders_of(rows_of(history, "Tasks")),
        page_number=visit.number("page"),
        page_size=ORDERED,
    )


def orders_of(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the orders of a host, the newest first, each with its task, and with its outcome in a word. Pure."""
    tones = {"succeeded": "good", "failed": "bad", "expired": "bad", "cancelled": "none"}
    return [
        {**task, **order, "tone": tones.get(order["State"], "busy"), "what": _what(task["Name"])}
        for task in tasks
        for order in task["Orders"]
    ]


def _what(name: str) -> str:
    """Return what a task does, from a name such as UpgradeBackupClientsTask; a name of the caller's stays."""
    words = {"UpgradeBackupClientsTask": "upgrade", "InstallBackupClientsTask": "install",
             "UninstallBackupClientsTask": "uninstall", "RollBackClientsTask": "roll back",
             "PrecheckClientsTask": "precheck", "StageClientsTask": "stage",
             "UpdateClientSettingsTask": "settings"}  # fmt: skip
    return words.get(name, name)


def strip_of(runs: list[dict[str, Any]], client_id: str) -> list[dict[str, Any]]:
    """Return the runs of a client, the oldest first, each with the word and the tone of its cell. Pure."""
    tones = {"succeeded": "good", "failed": "bad", "running": "busy"}
    mine = [run for run in reversed(runs) if run["ClientId"] == client_id]
    return [{**run, "tone": tones.get(run["Result"], "none")} for run in mine]


ROUTES = [get("/hosts/{host}", show_host)]
