"""Two checkouts side by side: CPU of their servers for the busiest calls, as ratios of blocks in turns.

    .venv/bin/python bench/pairs.py --before CHECKOUT [--blocks 6] [--hosts 120] [--engine sqlite|postgresql]

Both servers run at the same time, each with a database of its own, and this checkout's Python, libraries, seeds and
simulated agents. A block of calls goes to one, then to the other, then the next one in the other order, so that other
work on the machine slows both down alike. CPU is user and system time of the server process, from /proc; PostgreSQL's
processes are not counted.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

import api
import fleet as fleet_bench
from backfleet import fleet
from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet_sim import Agent, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.seeding import PER_ACTIVATION, give_clients, make_activations, offer_release

BLOCKS_OF = {"UpgradeBackupClients, 100 ids": 8, "DescribeTask, 100 items": 40, "GetCallerIdentity": 100}
REST_SECONDS = 20.0
HERE = Path(__file__).resolve().parent.parent


@dataclass
class Side:
    """One checkout: what its servers cost, by what they did."""

    checkout: Path
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        no_limit = {"BACKFLEET_CALLS_PER_SECOND": "1000000", "BACKFLEET_CALLS_BURST": "1000000"}
        one_process = {"BACKFLEET_HOLD_LISTENERS": "false", "PYTHONPATH": str(self.checkout / "src")}
        return os.environ | no_limit | one_process

    def commit(self) -> str:
        words = ["git", "-C", str(self.checkout), "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    async def cost(self, what: str, pid: int, count: int, work: Awaitable[Any]) -> None:
        """Note what the server spent on some work, for each of so many parts of it."""
        before = fleet_bench.cpu_of(pid)
        await work
        self.milliseconds.setdefault(what, []).append((fleet_bench.cpu_of(pid) - before) * 1000 / count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the earlier commit")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--hosts", type=int, default=120)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--only-calls", action="store_true")
    asked = parser.parse_args()
    missing = sorted(migrations(HERE) - migrations(asked.before))
    if missing:
        parser.error(f"{asked.before} lacks migration {missing[0]}, so its server cannot open these databases; "
                     f"compare with a commit that has all of them: {missing[-1]} is the last")  # fmt: skip
    before, after = Side(asked.before.resolve()), Side(HERE)
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; {asked.engine}; "
          f"before: {before.commit()}, after: {after.commit()}; load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        asyncio.run(measure_calls([before, after], Path(folder), asked.engine, asked.blocks))
        if not asked.only_calls:
            asyncio.run(measure_waves([before, after], Path(folder), asked.engine, asked.blocks, asked.hosts))
    print(f"{'server CPU, ms':58}{'before':>9}{'after':>9}{'ratio':>8}   ratios of the blocks")
    for what, old in before.milliseconds.items():
        new = after.milliseconds[what]
        ratios = [late / early for early, late in zip(old, new, strict=True)]
        print(f"{what:58}{statistics.median(old):9.2f}{statistics.median(new):9.2f}{statistics.median(ratios):8.2f}"
              f"   {' '.join(f'{ratio:.2f}' for ratio in ratios)}")  # fmt: skip


def migrations(checkout: Path) -> set[str]:
    folder = checkout / "src" / "backfleet" / "storage" / "migrations" / "versions"
    return {each.stem for each in folder.glob("[0-9]*.py")}


async def measure_calls(sides: list[Side], folder: Path, engine: str, blocks: int) -> None:
    """Single calls, one after another, at servers without workers."""
    async with AsyncExitStack() as until_done:
        session = await until_done.enter_async_context(aiohttp.ClientSession())
        work = [
            await calls_of(side, folder / f"calls-{number}", engine, session, until_done)
            for number, side in enumerate(sides)
        ]
        for block in range(-1, blocks):
            for what, count in BLOCKS_OF.items():
                for at in (0, 1) if block % 2 == 0 else (1, 0):
                    pid, refresh, calls = work[at]
                    refresh()
                    side = sides[at] if block >= 0 else Side(sides[at].checkout)  # the first block warms up
                    await side.cost(what, pid, count, repeated(calls[what], session, count))


async def repeated(call: api.Call, session: aiohttp.ClientSession, count: int) -> None:
    for _ in range(count):
        await call(session)


async def calls_of(
    side: Side, folder: Path, engine: str, session: aiohttp.ClientSession, until_done: AsyncExitStack
) -> tuple[int, Callable[[], None], dict[str, api.Call]]:
    """A server of one checkout: its process, how its hosts are kept reachable, and the calls to it."""
    services, data, url = opened(folder, engine, until_done)
    ids = api.seed(services)
    process, ready = started(side, data, url, ["--only", "openapi,agents,downloads"], until_done)
    client = Client(connect(ConnectionFlags(endpoint=ready["http"], data=data), {}), utc_now)

    def refresh() -> None:
        with services.database.transaction() as tx:
            beats = [fleet.Heartbeat(each, utc_now(), reachable_at=utc_now()) for each in ids]
            fleet.note_heartbeats(tx, beats)

    refresh()
    upgrade = api.upgrading(client, services, ids)
    await upgrade(session)
    task = (await asyncio.to_thread(partial(client.call, "backfleet", "ListTasks", PageSize=1)))["Tasks"][0]["TaskId"]
    calls = (
        upgrade,
        api.posts(ready["http"], client, "DescribeTask", TaskId=task),
        api.posts(ready["http"], client, "GetCallerIdentity", product="sts"),
    )
    return process.pid, refresh, dict(zip(BLOCKS_OF, calls, strict=True))


async def measure_waves(sides: list[Side], folder: Path, engine: str, blocks: int, hosts: int) -> None:
    """Fleets at rest, and waves of upgrades through them."""
    async with AsyncExitStack() as until_done:
        fleets = [
            await fleet_of(side, folder / f"fleet-{number}", engine, hosts, until_done)
            for number, side in enumerate(sides)
        ]
        await asyncio.sleep(3)
        await asyncio.gather(
            *(
                side.cost(
                    "at rest: a heartbeat with its ping", one[0], int(hosts * REST_SECONDS / 60), asyncio.sleep(20)
                )
                for side, one in zip(sides, fleets, strict=True)
            )
        )
        for block in range(blocks):
            for at in (0, 1) if block % 2 == 0 else (1, 0):
                pid, client, ids = fleets[at]
                share = ids[block * len(ids) // blocks : (block + 1) * len(ids) // blocks]
                await sides[at].cost("wave: an upgrade", pid, len(share), through(client, share))


async def fleet_of(
    side: Side, folder: Path, engine: str, hosts: int, until_done: AsyncExitStack
) -> tuple[int, Client, list[str]]:
    """A server of one checkout with connected agents: its process, a client of it, and the hosts."""
    services, data, url = opened(folder, engine, until_done)
    admin = json.loads((data / "admin.json").read_text())
    offer_release(services)
    process, ready = started(side, data, url, [], until_done)
    connector = aiohttp.TCPConnector(limit=100)
    session = await until_done.enter_async_context(aiohttp.ClientSession(connector=connector))
    simulation = Simulation([Server("127.0.0.1", int(ready["http"].rpartition(":")[2]), None)], make_keys(20), session)
    agents = [Agent(simulation, number) for number in range(hosts)]
    await enrol(agents, make_activations(services, admin["account_id"], hosts), per_code=PER_ACTIVATION)
    ids = [agent.instance_id for agent in agents]
    await asyncio.to_thread(give_clients, services, admin["account_id"], ids)
    until_done.push_async_callback(simulation.end)
    for agent in agents:
        simulation.start(agent.run())
    await all_connected(agents, 600)
    return process.pid, Client(connect(ConnectionFlags(endpoint=ready["http"], data=data), {}), utc_now), ids


async def through(client: Client, ids: list[str]) -> None:
    """Upgrade these hosts in one call, and return when its task is over."""
    call = partial(client.call, "hbr")
    task_id = (await asyncio.to_thread(partial(call, "UpgradeBackupClients", InstanceIds=ids)))["TaskId"]
    while True:
        task = await asyncio.to_thread(partial(call, "DescribeTask", TaskId=task_id))
        if task["Description"] in fleet_bench.FINAL:
            assert not any(item["errorCode"] for item in json.loads(task["Result"])), task
            return
        await asyncio.sleep(0.5)


def opened(folder: Path, engine: str, until_done: AsyncExitStack) -> tuple[Any, Path, str]:
    folder.mkdir()
    url, close = api.database_of(engine, folder)
    until_done.callback(close)
    flags = {"data": folder / "data", "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    until_done.callback(services.database.close)
    return services, folder / "data", url


def started(
    side: Side, data: Path, url: str, words: list[str], until_done: AsyncExitStack
) -> tuple["subprocess.Popen[bytes]", dict[str, str]]:
    program = [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(data), "--log-level", "ERROR"]
    program += ["--database-url", url] if url else []
    program += ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", *words]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, env=side.environment())
    until_done.callback(api.ended, process)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


if __name__ == "__main__":
    main()
