"""One host: its agent, its clients, the orders and the backup runs of these, and what failed."""

import asyncio
from typing import Any, Final

from aiohttp import web

from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit, rows_of

RUNS: Final = 60  # the newest, in the strip


async def show_host(visit: Visit) -> web.StreamResponse:
    """Show a host."""
    host_id = visit.request.match_info["host"]
    region = visit.console.services.settings.region
    host, clients, runs, machines = await asyncio.gather(
        visit.ask("backfleet", "DescribeInstance", InstanceId=host_id),
        visit.ask_or_none("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT", InstanceIds=[host_id]),
        visit.ask_or_none("backfleet", "ListRuns", InstanceId=host_id, PageSize=RUNS),
        visit.ask_or_none("ecs", "DescribeInstances", RegionId=region, InstanceIds=[host_id]),
    )
    found = rows_of(clients, "Clients")
    return visit.page(
        "host.html",
        host=host,
        clients=found,
        strips=[(client, strip_of(rows_of(runs, "Runs"), client["ClientId"])) for client in found],
        machine=((machines or {}).get("Instances") or {}).get("Instance", [{}])[:1],
        may_see_clients=clients is not None,
    )


def strip_of(runs: list[dict[str, Any]], client_id: str) -> list[dict[str, Any]]:
    """Return the runs of a client, the oldest first, each with the word and the tone of its cell. Pure."""
    tones = {"succeeded": "good", "failed": "bad", "running": "busy"}
    mine = [run for run in reversed(runs) if run["ClientId"] == client_id]
    return [{**run, "tone": tones.get(run["Result"], "none")} for run in mine]


ROUTES = [get("/hosts/{host}", show_host)]
