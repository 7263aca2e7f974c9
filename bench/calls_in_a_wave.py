"""Calls of the API at half the best rate, on a server at rest and beside a wave of upgrades: p99 as a multiple of p50.

    .venv/bin/python bench/calls_in_a_wave.py [--hosts 6000] [--seconds 6] [--rounds 2] [--rate 0]
        [--engine sqlite|postgresql]

One `backfleet serve` with its workers, simulated agents, and GetCallerIdentity from a process of its own, begun at
fixed moments whether or not earlier calls are answered. The best rate is that of 16 callers at rest. A wave is under
way before the first call and after the last: STREAMS times 100 hosts at a time, as a rollout has it. A round in which
hosts run out does not count: between waves the server rests, and p50 is that of a server at rest. Aims: 4 x and 6 x.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import api
from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet_sim import sign_ahead
from fleet import REQUESTS_OF_AN_ORDER
from pairs import HERE, MOST_IN_A_CALL, Fleet, Side, through

AIM_AT_REST, AIM_IN_A_WAVE = 4, 6  # times p50
CALLERS = 16
STREAMS, BEFORE_SECONDS = 4, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", type=int, default=6000, help="each is upgraded once")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0: half the best rate")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; {asked.engine}; "
          f"{Side(HERE).commit()}; load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        asyncio.run(measure(Path(folder) / "server", asked))


async def measure(folder: Path, asked: argparse.Namespace) -> None:
    async with AsyncExitStack() as until_done:
        one = await Fleet.of(Side(HERE), folder, asked.engine, asked.hosts, until_done)
        callers = until_done.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        ask = partial(asyncio.get_running_loop().run_in_executor, callers, calls, one.address, folder / "data")
        best: api.Figures = await ask(asked.seconds, 0.0)
        print(f"best rate {best.per_second:.0f} calls/s with {CALLERS} callers, p50 {best.p50:.1f} ms\n")
        rate = asked.rate or best.per_second / 2
        ratios: dict[str, list[float]] = {"at rest": [], "in a wave": []}
        await sign_ahead(one.agents, REQUESTS_OF_AN_ORDER)
        waiting = iter([one.ids[at : at + MOST_IN_A_CALL] for at in range(0, asked.hosts, MOST_IN_A_CALL)])
        for _ in range(asked.rounds):
            found: api.Figures = await ask(asked.seconds, rate)
            ratios["at rest"].append(shown("at rest", found))
            enough = asyncio.Event()
            streams = [asyncio.create_task(waves(one.client, waiting, enough)) for _ in range(STREAMS)]
            await asyncio.sleep(BEFORE_SECONDS)
            found = await ask(asked.seconds, rate)
            ended = sum(stream.done() for stream in streams)
            enough.set()
            hosts = sum(await asyncio.gather(*streams))
            ratio = shown("in a wave", found)
            if ended:
                print(f"  not counted: hosts ran out after {hosts}, before the last call")
            else:
                ratios["in a wave"].append(ratio)
                print(f"  {hosts} hosts")
        for (where, all_of_it), aim in zip(ratios.items(), (AIM_AT_REST, AIM_IN_A_WAVE), strict=True):
            if not all_of_it:
                print(f"{where}: not measured")
                continue
            ratio = statistics.median(all_of_it)
            print(f"{where}: p99 is {ratio:.1f} x p50; aim: at most {aim} x: {'met' if ratio <= aim else 'missed'}")


def shown(where: str, found: api.Figures) -> float:
    """Print a round; return its p99 as a multiple of its p50."""
    rate = f"{found.calls:6} calls{found.per_second:8.0f}/s"
    print(f"{where:12}{rate}   p50 {found.p50:6.1f} ms   p99 {found.p99:6.1f} ms", flush=True)
    return found.p99 / found.p50


async def waves(client: Client, waiting: Iterator[list[str]], enough: asyncio.Event) -> int:
    """Upgrade hosts, one call after another, until there was enough. Return how many."""
    hosts = 0
    for some in waiting:
        await through(client, "UpgradeBackupClients", some)
        hosts += len(some)
        if enough.is_set():
            break
    return hosts


def calls(address: str, data: Path, seconds: float, per_second: float) -> api.Figures:
    """Call GetCallerIdentity for so long, from a process of its own, so often; 0: as often as the callers can."""
    client = Client(connect(ConnectionFlags(endpoint=address, data=data), {}), utc_now)
    who = api.posts(address, client, "GetCallerIdentity", product="sts")
    return asyncio.run(api.paced(seconds, per_second, who) if per_second else api.load(seconds, CALLERS, who))


if __name__ == "__main__":
    main()
