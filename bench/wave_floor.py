"""A wave of upgrades beside its floor: server CPU of an upgrade, of the real server and of a bare one, in turns.

    .venv/bin/python bench/wave_floor.py [--hosts 60] [--blocks 3]

The real server is `backfleet serve` with SQLite, one process. The bare one (`bare_server.py`) is made with the same
library, aiohttp; it answers the same requests with the same orders, stores nothing and verifies nothing. Each has its
own simulated agents, which make the same requests of both; the requests are counted on the agents' side. A block is one
call that upgrades its share of the hosts, until its task is over, and a second more for what a server does afterwards.
CPU is that of the server's threads, by the scheduler. Aim: at most 2.5 times the floor.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.values import value_object
from backfleet_sim import HttpClient
from pairs import HERE, Fleet, Side, cpu_of, through

AIM = 2.5  # times the floor
REST_SECONDS, AFTERWARDS_SECONDS = 10.0, 1.0
WAVE, AT_REST = "wave: an upgrade", "at rest: a second"
CALLS, BYTES = "call of the API", "bytes answered to agents"


@value_object
class CountingClient(Client):
    counts: Counter[str] = field(default_factory=Counter, compare=False)

    def call(self, product: str, action: str, **parameters: object) -> dict[str, Any]:
        self.counts[CALLS] += 1
        return Client.call(self, product, action, **parameters)


@dataclass
class Real(Fleet):
    """The real server, and agents whose answered requests are counted."""

    counts: Counter[str] = field(default_factory=Counter)
    of_waves: Counter[str] = field(default_factory=Counter)
    key: ClassVar[dict[str, str]] = {}  # of calls, as in an environment; empty = that of the data folder

    @property
    def client(self) -> Client:
        flags = ConnectionFlags(endpoint=self.address, data=self.folder / "data")
        return CountingClient(connect(flags, self.key), utc_now, counts=self.counts)

    def client_of_agents(self) -> HttpClient:
        def answered(method: str, path: str, status: int, length: int) -> None:
            assert status == 200 or not self.agents, (method, path, status)  # while they enrol they ask again
            self.counts[f"{method} {path.partition('?')[0].removeprefix('/luban')}"] += 1
            self.counts[BYTES] += length

        return HttpClient(answered=answered)

    async def wave(self, ids: list[str]) -> None:
        """Upgrade these hosts, and note what it cost and how many requests it took."""
        before, cpu = self.counts.copy(), cpu_of(self.pid)
        await through(self.client, "UpgradeBackupClients", ids)
        await asyncio.sleep(AFTERWARDS_SECONDS)
        self.side.note(WAVE, cpu_of(self.pid) - cpu, len(ids))
        self.of_waves += self.counts - before


@dataclass
class Bare(Real):
    """The floor."""

    key: ClassVar = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "bare", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "bare"}

    def offer(self, version: str) -> None:
        """Offer nothing: it has no releases."""

    def _command(self, *_words: str) -> list[str]:
        return [sys.executable, str(HERE / "bench" / "bare_server.py")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", type=int, default=60, help="of each server")
    parser.add_argument("--blocks", type=int, default=3, help="of waves; each has its share of the hosts")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; sqlite; "
          f"{Side(HERE).commit()}; load {os.getloadavg()[0]:.1f}\n", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        bare, real = asyncio.run(measure(Path(folder), asked.hosts, asked.blocks))
    print_costs(bare.side.milliseconds, real.side.milliseconds)
    print(f"\n{'of an upgrade in these waves':42}{'bare':>9}{'real':>9}")
    for what in sorted(bare.of_waves | real.of_waves):
        print(f"{what:42}{bare.of_waves[what] / asked.hosts:9.2f}{real.of_waves[what] / asked.hosts:9.2f}")
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


async def measure(folder: Path, hosts: int, blocks: int) -> list[Real]:
    """Measure the bare and the real server in turns. Installing the old client has warmed both up."""
    async with AsyncExitStack() as until_done:
        kinds = (Bare, Real)
        both = [await kind.of(Side(HERE), folder / kind.__name__, "sqlite", hosts, until_done) for kind in kinds]
        await asyncio.sleep(3)
        rest = (one.side.cost(AT_REST, one.pid, int(REST_SECONDS), asyncio.sleep(REST_SECONDS)) for one in both)
        await asyncio.gather(*rest)
        for block in range(blocks):
            for one in both if block % 2 == 0 else both[::-1]:
                await one.wave(await one.share(block, blocks))
        return both


def print_costs(floor: dict[str, list[float]], real: dict[str, list[float]]) -> None:
    """Print the CPU of both, and whether the aim is met."""
    ratios = [high / low for high, low in zip(real[WAVE], floor[WAVE], strict=True)]
    ratio = statistics.median(ratios)
    print(f"{'server CPU, ms':42}{'bare':>9}{'real':>9}")
    for what, low in floor.items():
        print(f"{what:42}{statistics.median(low):9.2f}{statistics.median(real[what]):9.2f}")
    print(f"an upgrade: {ratio:.2f} x the floor; blocks: {' '.join(f'{each:.2f}' for each in ratios)}; "
          f"aim: at most {AIM} x: {'met' if ratio <= AIM else 'missed'}")  # fmt: skip


if __name__ == "__main__":
    main()
