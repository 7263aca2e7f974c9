"""Two checkouts side by side: CPU of the server for its busiest calls, as ratios of interleaved runs.

    .venv/bin/python bench/pairs.py --before CHECKOUT [--rounds 3] [--hosts 600] [--engine sqlite|postgresql]

Each round measures the earlier checkout and this one in turns, each with servers and a database of its own, and this
checkout's Python and libraries. CPU is user and system time of the server process, from /proc; PostgreSQL's processes
are not counted.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

import api
import fleet as fleet_bench
from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet_sim import Agent, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.seeding import PER_ACTIVATION, give_clients, make_activations, offer_release

UPGRADES = 40  # calls of UpgradeBackupClients, 100 ids each
SMALL_CALLS = 600
REST_SECONDS = 20.0
HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=600)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--one", action="store_true", help="measure what is imported, once, and print it as JSON")
    asked = parser.parse_args()
    if asked.one:
        with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
            print(json.dumps(calls(asked.engine, Path(folder)) | wave(asked.engine, Path(folder), asked.hosts)))
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; {asked.engine}, "
          f"{asked.hosts} hosts; before: {commit_of(asked.before)}, after: {commit_of(HERE)}; "
          f"load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    found: dict[Path, list[dict[str, float]]] = {asked.before.resolve(): [], HERE: []}
    for number in range(asked.rounds):
        for checkout in list(found)[:: 1 if number % 2 == 0 else -1]:
            found[checkout].append(measured(checkout, asked.engine, asked.hosts))
    before, after = found.values()
    print(f"{'server CPU, ms':58}{'before':>9}{'after':>9}{'ratio':>8}   ratios of the rounds")
    for name in before[0]:
        old, new = ([one[name] for one in runs] for runs in (before, after))
        ratios = [late / early for early, late in zip(old, new, strict=True)]
        print(f"{name:58}{statistics.median(old):9.2f}{statistics.median(new):9.2f}{statistics.median(ratios):8.2f}"
              f"   {' '.join(f'{ratio:.2f}' for ratio in ratios)}")  # fmt: skip


def measured(checkout: Path, engine: str, hosts: int) -> dict[str, float]:
    """What one checkout costs, measured by a process that imports it."""
    words = [sys.executable, __file__, "--one", "--engine", engine, "--hosts", str(hosts)]
    ended = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": str(checkout / "src")}, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def commit_of(checkout: Path) -> str:
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def calls(engine: str, folder: Path) -> dict[str, float]:
    """CPU of single calls, one after another, on a server without workers."""
    (folder / "api").mkdir()
    url, close = api.database_of(engine, folder / "api")
    data = folder / "api" / "data"
    flags = {"data": data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    ids = api.seed(services)
    os.environ["BACKFLEET_HOLD_LISTENERS"] = "false"  # the process itself, not a parent of it
    program = [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(data), "--log-level", "ERROR"]
    program += ["--database-url", url] if url else []
    program += ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--only", "openapi,agents,downloads"]
    server, address = api.started(program)
    try:
        client = Client(connect(ConnectionFlags(endpoint=address, data=data), {}), utc_now)
        found = {}
        upgrade = api.upgrading(client, services, ids)
        found["UpgradeBackupClients, 100 ids"] = asyncio.run(cpu_of_calls(server.pid, UPGRADES, upgrade))
        task_id = client.call("hbr", "UpgradeBackupClients", InstanceIds=ids)["TaskId"]
        describe = api.posts(address, client, "DescribeTask", TaskId=task_id)
        found["DescribeTask, 100 items"] = asyncio.run(cpu_of_calls(server.pid, SMALL_CALLS // 2, describe))
        who = api.posts(address, client, "GetCallerIdentity", product="sts")
        found["GetCallerIdentity"] = asyncio.run(cpu_of_calls(server.pid, SMALL_CALLS, who))
        return found
    finally:
        api.ended(server)
        services.database.close()
        close()


async def cpu_of_calls(pid: int, count: int, call: api.Call) -> float:
    """CPU milliseconds of the server for one call, after some that are not counted."""
    async with aiohttp.ClientSession() as session:
        for _ in range(api.WARM_UP_CALLS):
            await call(session)
        before = fleet_bench.cpu_of(pid)
        for _ in range(count):
            await call(session)
        return (fleet_bench.cpu_of(pid) - before) * 1000 / count


def wave(engine: str, folder: Path, hosts: int) -> dict[str, float]:
    """CPU of heartbeats and of an upgrade in a wave through all hosts."""
    (folder / "fleet").mkdir()
    url, close = fleet_bench.database_of(engine, folder / "fleet")
    try:
        return asyncio.run(_wave(folder / "fleet" / "data", url, hosts))
    finally:
        close()


async def _wave(data: Path, url: str, hosts: int) -> dict[str, float]:
    flags = {"data": data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    admin = json.loads((data / "admin.json").read_text())
    offer_release(services)
    process, ready = fleet_bench.started(data, url)
    found = {}
    try:
        server = Server("127.0.0.1", int(ready["http"].rpartition(":")[2]), None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:
            simulation = Simulation([server], make_keys(20), session)
            agents = [Agent(simulation, number) for number in range(hosts)]
            await enrol(agents, make_activations(services, admin["account_id"], hosts), per_code=PER_ACTIVATION)
            ids = [agent.instance_id for agent in agents]
            await asyncio.to_thread(give_clients, services, admin["account_id"], ids)
            for agent in agents:
                simulation.start(agent.run())
            await all_connected(agents, 600)
            await asyncio.sleep(3)
            cpu = fleet_bench.cpu_of(process.pid)
            await asyncio.sleep(REST_SECONDS)
            spent = (fleet_bench.cpu_of(process.pid) - cpu) * 1000
            found["at rest: a heartbeat with its ping"] = spent / (hosts * REST_SECONDS / 60)
            client = Client(connect(ConnectionFlags(endpoint=ready["http"], data=data), {}), utc_now)
            cpu = fleet_bench.cpu_of(process.pid)
            await _through_all(client, ids)
            found["wave: an upgrade"] = (fleet_bench.cpu_of(process.pid) - cpu) * 1000 / hosts
            assert not simulation.lost
            assert all(count == 1 for count in simulation.begun.values())
            await simulation.end()
        return found
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        services.database.close()


async def _through_all(client: Client, ids: list[str]) -> None:
    """Upgrade every host, 100 a call, and return when all tasks are over."""
    at_once = fleet_bench.IDS

    async def ask(action: str, **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(partial(client.call, "hbr", action, **parameters))
        return answer

    tasks = [
        (await ask("UpgradeBackupClients", InstanceIds=ids[at : at + at_once]))["TaskId"]
        for at in range(0, len(ids), at_once)
    ]
    for task_id in tasks:
        while (await ask("DescribeTask", TaskId=task_id))["Description"] not in fleet_bench.FINAL:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    main()
