"""What a heartbeat costs two checkouts that serve side by side, each with as many hosts at rest.

    .venv/bin/python bench/heartbeats.py --before CHECKOUT [--hosts 5000] [--seconds 60] [--kept]

Both serve SQLite in one process and have simulated hosts of their own, with a heartbeat each minute. Heartbeats are
counted on the agents' side. CPU is that of the server's threads, by the scheduler; what it takes without hosts is
measured first and left out. A heartbeat comes on a connection of its own, as the official agent's does, which sends
none for longer than it keeps one; with `--kept` those of all agents share connections, as behind a load balancer. The
pings of the agents' sockets, one each minute, are counted with it. Aim: half of what it cost before.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backfleet_sim import HttpClient, Simulation
from pairs import HERE, Fleet, Side, cpu_of

AIM = 0.5  # of before
HEARTBEAT, SETTLE_SECONDS = "heartbeat", 5.0
AT_ONCE = 5000  # heartbeats: one may wait for its answer for a second, so that others share its transaction


@dataclass
class Resting(Fleet):
    """A server, and hosts whose heartbeats are counted."""

    kept: bool = False
    number: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    without: float = 0.0  # seconds of CPU in a second, without hosts

    def client_of_agents(self) -> HttpClient:
        return HttpClient(source=f"127.0.2.{self.number}")

    def settle(self, simulation: Simulation) -> None:
        """Open sockets from one address, and send heartbeats from another."""
        simulation.source = f"127.0.3.{self.number}"
        simulation.heartbeats = HttpClient(AT_ONCE, f"127.0.4.{self.number}", keeps=self.kept, answered=self._answered)

    def _answered(self, _method: str, _path: str, status: int, _length: int) -> None:
        assert status == 200, status
        self.counts[HEARTBEAT] += 1


def main() -> None:
    """Measure both, and print what a heartbeat cost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the earlier commit")
    parser.add_argument("--hosts", type=int, default=5000, help="of each server")
    parser.add_argument("--seconds", type=float, default=60.0, help="at rest, with and without hosts")
    parser.add_argument("--kept", action="store_true", help="heartbeats share connections that are kept")
    asked = parser.parse_args()
    sides = [Side(asked.before.resolve()), Side(HERE)]
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; sqlite; "
          f"before: {sides[0].commit()}, after: {sides[1].commit()}; {asked.hosts} hosts; "
          f"load {os.getloadavg()[0]:.1f}\n", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        before, after = asyncio.run(measure(sides, Path(folder), asked))
    print(f"before {before:.3f} ms, after {after:.3f} ms: {after / before:.2f} x; "
          f"aim: {AIM} x: {'met' if after <= AIM * before else 'missed'}; load {os.getloadavg()[0]:.1f}")  # fmt: skip


async def measure(sides: list[Side], folder: Path, asked: argparse.Namespace) -> list[float]:
    """Return the milliseconds of CPU of a heartbeat, before and after."""
    async with AsyncExitStack() as until_done:
        fleets = []
        for number, side in enumerate(sides):
            place = folder / str(number)
            place.mkdir()
            one = Resting(side, place, "", until_done, kept=asked.kept, number=number + 1)
            one.serve()
            until_done.callback(one.stop)
            fleets.append(one)
        await asyncio.sleep(SETTLE_SECONDS)
        for one, spent in zip(fleets, await at_rest(fleets, asked.seconds), strict=True):
            one.without = spent / asked.seconds
        for one in fleets:
            await one.enrol(asked.hosts)
        await asyncio.sleep(SETTLE_SECONDS)
        for one in fleets:
            one.counts.clear()
        costs = []
        for one, spent in zip(fleets, await at_rest(fleets, asked.seconds), strict=True):
            count = max(1, one.counts[HEARTBEAT])
            costs.append((spent - one.without * asked.seconds) * 1000 / count)
            print(f"{one.side.commit()}: {one.without * 100:.2f} % of a core without hosts, "
                  f"{spent / asked.seconds * 100:.2f} % with {count} heartbeats")  # fmt: skip
        return costs


async def at_rest(fleets: list[Resting], seconds: float) -> list[float]:
    """Return the seconds of CPU of each server in so many seconds."""
    before = [cpu_of(one.pid) for one in fleets]
    await asyncio.sleep(seconds)
    return [cpu_of(one.pid) - spent for one, spent in zip(fleets, before, strict=True)]


if __name__ == "__main__":
    main()
