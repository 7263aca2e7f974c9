"""More hosts than one process may have sockets: several serving processes, several of agents, one wave through all.

    .venv/bin/python bench/large_fleet.py [--hosts 1000,50000] [--engine sqlite|postgresql] [--processes 4]
        [--in-flight 5000] [--idle 60] [--heartbeat 60] [--swarms 1]

As `fleet.py`, whose agents are one process: here each has AGENTS of them, and two addresses of its own, for sockets and
for requests. One address has some 28,000 ports, and from half of them on the kernel takes 2 ms to find another. At
most so many hosts as `--in-flight` says are under way, as the pace of a rollout has it; with 0 every call is sent at
once. Agents with a heartbeat each minute, as real ones have, are more than two cores can carry beside the server from
some 40,000 on: `--heartbeat` has them send fewer. With so many processes of agents as `--swarms` says a small fleet
shares the cores with as many as a large one, so that only the fleet differs. Several numbers of hosts are measured one
after the other, each with a server of its own. Exits with 1 if an upgrade did not end well, was begun twice, or lost
its report.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet_sim.seeding import PER_ACTIVATION, give_clients, make_activations, offer_release
from fleet import FINAL, HERE, IDS, Kind, Pids, Stopwatch, cpu_of, database_of, memory_of, pids_of, spread, started

AGENTS = 12 * PER_ACTIVATION  # of one process: it may have 20,000 descriptors
POLL_SECONDS = 2.0
CALLS_AT_ONCE = 4
ANSWER = 1 << 26  # bytes of one answer of a swarm


class Swarm:
    """A process of agents."""

    def __init__(self, process: asyncio.subprocess.Process, first: int, count: int) -> None:
        self.process, self.first, self.count = process, first, count

    async def ask(self, do: str, **given: Any) -> Any:
        """Have it do something, and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **given}).encode() + b"\n")
        await self.process.stdin.drain()
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the agents from number {self.first} have ended")
        return json.loads(line)


async def swarms_for(hosts: int, port: int, heartbeat: float, swarms: int) -> list[Swarm]:
    """Start as many processes of agents as so many hosts need, and at least so many."""
    made, of_each = [], min(AGENTS, -(-hosts // swarms))
    for number, first in enumerate(range(0, hosts, of_each)):
        count = min(of_each, hosts - first)
        settings = {"port": port, "source": f"127.0.0.{2 + number}", "source_of_requests": f"127.0.1.{2 + number}",
                    "first": first, "count": count, "heartbeat": heartbeat}  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "bench" / "swarm.py"), json.dumps(settings),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=ANSWER,
        )  # fmt: skip
        made.append(Swarm(process, first, count))
    return made


async def end_all(swarms: list[Swarm]) -> None:
    """End every process of agents."""
    for swarm in swarms:
        if swarm.process.returncode is None:
            swarm.process.terminate()
        await swarm.process.wait()


async def measure(data: Path, url: str, hosts: int, asked: argparse.Namespace) -> bool:
    """Measure one fleet; return whether every upgrade ended well, once, with its report."""
    flags = {"data": data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    admin = json.loads((data / "admin.json").read_text())
    offer_release(services)
    kind = Kind(HERE, asked.processes)
    process, ready = started(data, url, kind)
    pids = pids_of(process, kind.processes)
    swarms = await swarms_for(hosts, int(ready["http"].rpartition(":")[2]), asked.heartbeat, asked.swarms)
    try:
        codes = make_activations(services, admin["account_id"], hosts)
        clock = Stopwatch(pids)
        enrolled = await asyncio.gather(*(swarm.ask("enrol", codes=codes) for swarm in swarms))
        clock.report("enrol", "enrolment", hosts)
        ids = [
            each for several in zip_longest(*enrolled) for each in several if each
        ]  # a call has some of each process
        await asyncio.to_thread(give_clients, services, admin["account_id"], ids)
        before, clock = memory_of(pids), Stopwatch(pids)
        await asyncio.gather(*(swarm.ask("connect") for swarm in swarms))
        clock.report("storm", "connection", hosts)
        print(f"memory: {before / 1024:.0f} MiB before, {memory_of(pids) / 1024:.0f} MiB connected: "
              f"{(memory_of(pids) - before) / hosts:.1f} KiB a connection")  # fmt: skip
        resting = await rest(pids, asked.idle, hosts)
        client = Client(connect(ConnectionFlags(endpoint=ready["http"], data=data), {}), utc_now)
        return await wave(client, swarms, ids, pids, asked.in_flight, resting)
    finally:
        await end_all(swarms)
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
        services.database.close()


async def rest(pids: Pids, seconds: float, hosts: int) -> float:
    """At rest: heartbeats and pings. Return the seconds of CPU in each second."""
    cpu = cpu_of(pids)
    await asyncio.sleep(seconds)
    used = cpu_of(pids) - cpu
    print(
        f"at rest: {used / seconds * 100:.1f} % of a core; {used * 60_000 / hosts / seconds:.2f} ms a host each minute"
    )
    return float(used / seconds)


async def wave(client: Client, swarms: list[Swarm], ids: list[str], pids: Pids, in_flight: int, resting: float) -> bool:
    """Upgrade every host, 100 a call; return whether all ended well, once, with their reports."""
    await asyncio.gather(*(swarm.ask("prepare") for swarm in swarms))
    clock, found = Stopwatch(pids), Counter[str]()
    places = asyncio.Semaphore((in_flight or len(ids)) // IDS or 1)
    calling = asyncio.Semaphore(CALLS_AT_ONCE)
    done, said = 0, time.monotonic()

    async def one(some: list[str]) -> None:
        nonlocal done, said
        async with places:
            async with calling:
                task_id = str((await call("UpgradeBackupClients", InstanceIds=some))["TaskId"])
            items = json.loads((await end_of(task_id))["Result"])
            found.update(f"{item['clientStatus']} {item['errorCode']}".strip() for item in items)
            done += len(items)
            if time.monotonic() > said + 30:
                said = time.monotonic()
                print(f"  {done} of {len(ids)} have ended, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)

    async def end_of(task_id: str) -> Any:
        while True:
            task = await call("DescribeTask", TaskId=task_id)
            if task["Description"] in FINAL:
                return task
            await asyncio.sleep(POLL_SECONDS)

    async def call(operation: str, **given: Any) -> Any:
        return await asyncio.to_thread(partial(client.call, "hbr", operation, **given))

    await asyncio.gather(*(one(ids[at : at + IDS]) for at in range(0, len(ids), IDS)))
    wall, found_figures = time.perf_counter() - clock.wall, clock.report("wave", "upgrade", len(ids))
    besides = found_figures["wave, server's CPU, ms a upgrade"] - resting * wall * 1000 / len(ids)
    print(f"wave: {besides:.2f} ms a upgrade without what the server takes at rest in that time")
    figures = await asyncio.gather(*(swarm.ask("figures") for swarm in swarms))
    fetches = [seconds for each in figures for seconds in each["fetches"]]
    counts = {
        name: sum(each[name] for each in figures) for name in ("lost", "begun", "begun_twice", "dials", "connected")
    }
    print(f"wave: {dict(found)}; not final: {len(ids) - found.total()}; kick to list: {spread(fetches)}")
    print(f"final reports given up: {counts['lost']}; orders begun: {counts['begun']}, twice: {counts['begun_twice']}; "
          f"dials: {counts['dials']}; connected at the end: {counts['connected']}", flush=True)  # fmt: skip
    return found == {"ACTIVATED": len(ids)} and not counts["lost"] and not counts["begun_twice"]


def main() -> int:
    """Measure each number of hosts, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", default="1000,50000")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=5000)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds at rest, for the cost of heartbeats")
    parser.add_argument("--heartbeat", type=float, default=60.0, help="seconds between two heartbeats of an agent")
    parser.add_argument("--swarms", type=int, default=1, help="processes of agents, at least")
    asked = parser.parse_args()
    right = True
    for hosts in map(int, asked.hosts.split(",")):
        print(f"--- {hosts} hosts, {asked.engine}, {asked.processes} processes; {os.cpu_count()} cores, "
              f"{datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
            url, close = database_of(asked.engine, Path(folder))
            try:
                right &= asyncio.run(measure(Path(folder) / "data", url, hosts, asked))
            finally:
                close()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
