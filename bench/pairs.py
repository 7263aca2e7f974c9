"""Two checkouts side by side: CPU of their servers for the busiest calls, as ratios of blocks in turns.

    .venv/bin/python bench/pairs.py --before CHECKOUT [--blocks 6] [--hosts 120] [--engine sqlite|postgresql]

Both servers run at the same time, each with a database of its own that is filled through its own commands and API, so
that any two commits can be compared that speak the same protocols. Python, libraries and simulated agents are those of
this checkout. A block of calls goes to one, then to the other, then the next one in the other order, so that other work
on the machine slows both down alike. CPU is user and system time of the server process, from /proc; PostgreSQL's
processes are not counted. Before each kind of call the bare handler of `api.py` is called as well: it is the floor of
how long a call takes.
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
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp

import api
import fleet as fleet_bench
from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys, sign_ahead
from backfleet_sim.seeding import NEW, OLD, PACKAGE, PER_ACTIVATION

BLOCKS_OF = {"UpgradeBackupClients, 100 ids": 8, "DescribeTask, 100 items": 40, "GetCallerIdentity": 100}
BARE_CALLS = 100
REST_SECONDS = 20.0
AGENTS_RETURN_SECONDS = 15.0  # after their server was away
REGION = "cn-hangzhou"  # the default of every commit
MOST_IN_A_CALL, INSTALL_AT_ONCE = 100, 20
HERE = Path(__file__).resolve().parent.parent


@dataclass
class Side:
    """One checkout: what its servers cost, by what they did."""

    checkout: Path
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    floors: dict[str, list[float]] = field(default_factory=dict)  # how often a call took as long as a bare one

    def environment(self) -> dict[str, str]:
        no_limit = {"BACKFLEET_CALLS_PER_SECOND": "1000000", "BACKFLEET_CALLS_BURST": "1000000"}
        one_process = {"BACKFLEET_HOLD_LISTENERS": "false", "PYTHONPATH": str(self.checkout / "src")}
        return os.environ | no_limit | one_process

    def commit(self) -> str:
        words = ["git", "-C", str(self.checkout), "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    async def cost(self, what: str, pid: int, count: int, work: Awaitable[Any]) -> None:
        """Note what the server spent on some work, for each of so many parts of it."""
        before = cpu_of(pid)
        await work
        self.note(what, cpu_of(pid) - before, count)

    def note(self, what: str, seconds: float, count: int) -> None:
        self.milliseconds.setdefault(what, []).append(seconds * 1000 / count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the earlier commit")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--hosts", type=int, default=120)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--only-calls", action="store_true")
    asked = parser.parse_args()
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
    print(f"\n{'p50, as a multiple of the bare handler':58}{'before':>9}{'after':>9}")
    for what, old in before.floors.items():
        print(f"{what:58}{statistics.median(old):9.1f}{statistics.median(after.floors[what]):9.1f}")


async def measure_calls(sides: list[Side], folder: Path, engine: str, blocks: int) -> None:
    """Single calls, one after another, at servers without workers."""
    async with AsyncExitStack() as until_done:
        session = await until_done.enter_async_context(aiohttp.ClientSession())
        fleets = [
            await Fleet.of(side, folder / f"calls-{number}", engine, MOST_IN_A_CALL, until_done)
            for number, side in enumerate(sides)
        ]
        work = [(each, await each.without_workers(session)) for each in fleets]
        bare, address = await asyncio.to_thread(api.started, [sys.executable, "-c", api.BARE])
        until_done.callback(api.ended, bare)
        for block in range(-1, blocks):
            for what, count in BLOCKS_OF.items():
                floor = statistics.median([await api.posts(address)(session) for _ in range(BARE_CALLS)])
                for at in (0, 1) if block % 2 == 0 else (1, 0):
                    one, calls = work[at]
                    side = sides[at] if block >= 0 else Side(sides[at].checkout)  # the first block warms up
                    spent, took = await cost_of(calls[what], one, session, count)
                    side.note(what, spent, count)
                    side.floors.setdefault(what, []).append(took / floor)


async def cost_of(call: api.Call, one: "Fleet", session: aiohttp.ClientSession, count: int) -> tuple[float, float]:
    """Return the seconds of CPU of so many calls, without what tidies up after each, and their p50 in milliseconds."""
    spent, taken = 0.0, []
    for _ in range(count):
        before = cpu_of(one.pid)
        taken.append(await call(session))
        spent += cpu_of(one.pid) - before
        await asyncio.to_thread(one.cancel_open_task)
    return spent, statistics.median(taken)


def cpu_of(pid: int) -> float:
    """Return the seconds that the threads of a process ran: by the scheduler, which counts nanoseconds."""
    return sum(int((each / "schedstat").read_text().split()[0]) for each in Path(f"/proc/{pid}/task").iterdir()) / 1e9


async def measure_waves(sides: list[Side], folder: Path, engine: str, blocks: int, hosts: int) -> None:
    """Fleets at rest, and waves of upgrades through them."""
    async with AsyncExitStack() as until_done:
        fleets = [
            await Fleet.of(side, folder / f"fleet-{number}", engine, hosts, until_done)
            for number, side in enumerate(sides)
        ]
        await asyncio.sleep(3)
        await asyncio.gather(
            *(
                side.cost(
                    "at rest: a heartbeat with its ping", one.pid, int(hosts * REST_SECONDS / 60), asyncio.sleep(20)
                )
                for side, one in zip(sides, fleets, strict=True)
            )
        )
        for block in range(blocks):
            for at in (0, 1) if block % 2 == 0 else (1, 0):
                one = fleets[at]
                share = await one.share(block, blocks)
                await sides[at].cost("wave: an upgrade", one.pid, len(share), wave(one.client, share))


@dataclass
class Fleet:
    """A server of one checkout, and simulated hosts with an old client that are connected to it."""

    side: Side
    folder: Path
    url: str
    until_done: AsyncExitStack
    pid: int = 0
    address: str = ""
    agents: list[Agent] = field(default_factory=list)
    _cancelled: str = ""
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    async def of(cls, side: Side, folder: Path, engine: str, hosts: int, until_done: AsyncExitStack) -> Self:
        url, close = await asyncio.to_thread(opened, engine, folder)
        until_done.callback(close)
        made = cls(side, folder, url, until_done)
        made.serve()
        until_done.callback(made.stop)
        made.offer(OLD)
        await made.enrol(hosts)
        for start in range(0, hosts, INSTALL_AT_ONCE):
            await through(made.client, "InstallBackupClients", made.ids[start : start + INSTALL_AT_ONCE])
        made.offer(NEW)
        return made

    @property
    def ids(self) -> list[str]:
        return [agent.instance_id for agent in self.agents]

    @property
    def client(self) -> Client:
        return Client(connect(ConnectionFlags(endpoint=self.address, data=self.folder / "data"), {}), utc_now)

    async def share(self, block: int, blocks: int) -> list[str]:
        """Return the hosts of one block of waves. What they ask is signed before, as by hosts of their own."""
        share = self.agents[block * len(self.agents) // blocks : (block + 1) * len(self.agents) // blocks]
        await sign_ahead(share, fleet_bench.REQUESTS_OF_AN_ORDER)
        return [agent.instance_id for agent in share]

    def serve(self, *words: str) -> None:
        """Start the server, on the port it had."""
        port = self.address.rpartition(":")[2] or "0"
        words = ("serve", "--log-level", "ERROR", "--http", f"127.0.0.1:{port}", "--https", "127.0.0.1:0", *words)
        if self.url:
            words += ("--database-url", self.url)
        process = subprocess.Popen(self._command(*words), stdout=subprocess.PIPE, env=self.side.environment())
        self._stack.callback(api.ended, process)
        assert process.stdout is not None
        self.pid, self.address = process.pid, json.loads(process.stdout.readline())["http"]

    def stop(self) -> None:
        self._stack.close()

    def offer(self, version: str) -> None:
        """Add a release of the small client, by the checkout's own command line."""
        artifact = self.folder / f"{PACKAGE}-{version}"
        artifact.write_text(f"#!/bin/sh\necho {PACKAGE} {version}\n")
        words = ("release", "add", str(artifact), "--package", PACKAGE, "--version", version)
        asked = self._command(*words, "--platform", "linux-amd64", "--from", "binary")
        subprocess.run(asked, env=self.side.environment(), check=True, capture_output=True)

    async def enrol(self, hosts: int) -> None:
        """Register so many simulated agents and connect them."""
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        client = await self.until_done.enter_async_context(self.client_of_agents())
        simulation = Simulation([Server(host, int(port), None)], make_keys(20), client, work_seconds=0.1)
        self.settle(simulation)
        agents = [Agent(simulation, number) for number in range(hosts)]
        codes = []
        for _ in range(0, hosts, PER_ACTIVATION):
            create = partial(self.client.call, "ecs", "CreateActivation", InstanceCount=PER_ACTIVATION, RegionId=REGION)
            answer = await asyncio.to_thread(create)
            codes.append((answer["ActivationId"], answer["ActivationCode"]))
        await enrol(agents, codes, per_code=PER_ACTIVATION)
        self.agents = agents
        self.until_done.push_async_callback(simulation.end)
        for agent in agents:
            simulation.start(agent.run())
        await all_connected(agents, 600)

    def client_of_agents(self) -> HttpClient:
        """Return the HTTP client of the agents."""
        return HttpClient()

    def settle(self, simulation: Simulation) -> None:
        """Change how the agents are simulated."""

    async def without_workers(self, session: aiohttp.ClientSession) -> dict[str, api.Call]:
        """Start the server again without workers, and return calls to it."""
        self.stop()
        self.serve("--only", f"openapi,{self._agents_part()},downloads")
        await asyncio.sleep(AGENTS_RETURN_SECONDS)
        client = self.client
        post = partial(api.posts, self.address, client)
        upgrade = post("UpgradeBackupClients", InstanceIds=json.dumps(self.ids))
        await upgrade(session)
        described = post("DescribeTask", TaskId=await asyncio.to_thread(self._newest_task))
        await asyncio.to_thread(self.cancel_open_task)
        return dict(zip(BLOCKS_OF, (upgrade, described, post("GetCallerIdentity", product="sts")), strict=True))

    def cancel_open_task(self) -> None:
        """Let the next call find idle clients."""
        newest = self._newest_task()
        if newest != self._cancelled:
            self.client.call("backfleet", "CancelTask", TaskId=newest)
            self._cancelled = newest

    def _newest_task(self) -> str:
        found: str = self.client.call("backfleet", "ListTasks", PageSize=1)["Tasks"][0]["TaskId"]
        return found

    def _agents_part(self) -> str:
        """Return the name of the part that agents connect to: it had another one once."""
        asked = subprocess.run(
            self._command("serve", "--help"), env=self.side.environment(), check=True, capture_output=True, text=True
        )
        return "assist" if "assist" in asked.stdout else "agents"

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "backfleet.cli", *words, "--data", str(self.folder / "data")]


def opened(engine: str, folder: Path) -> tuple[str, Callable[[], None]]:
    """Make a folder and a database in it; return its address and how it ends."""
    folder.mkdir()
    return api.database_of(engine, folder)


async def wave(client: Client, ids: list[str]) -> None:
    """Upgrade these hosts, as many in a call as it takes, and return when all are done."""
    calls = (ids[at : at + MOST_IN_A_CALL] for at in range(0, len(ids), MOST_IN_A_CALL))
    await asyncio.gather(*(through(client, "UpgradeBackupClients", some) for some in calls))


async def through(client: Client, action: str, ids: list[str]) -> None:
    """Do this to these hosts in one call, and return when its task is over.

    Raises:
        AssertionError: it failed on one of them.
    """
    call = partial(client.call, "hbr")
    package = {"PackageName": PACKAGE} if action == "InstallBackupClients" else {}
    task_id = (await asyncio.to_thread(partial(call, action, InstanceIds=ids, **package)))["TaskId"]
    while True:
        task = await asyncio.to_thread(partial(call, "DescribeTask", TaskId=task_id))
        if task["Description"] in fleet_bench.FINAL:
            assert not any(item["errorCode"] for item in json.loads(task["Result"])), task
            return
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    main()
