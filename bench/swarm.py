"""The agents of one process of `large_fleet.py`: each line of standard input is a command."""

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Sequence
from typing import Any

from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys, sign_ahead
from backfleet_sim.seeding import PER_ACTIVATION
from fleet import REQUESTS_OF_AN_ORDER

KEYS = 50  # shared by the agents
REQUESTS_AT_ONCE = 2000  # of all agents here, beside their sockets and heartbeats
HEARTBEATS_AT_ONCE = 2000
CONNECT_SECONDS = 1200.0
ENROL_AT_ONCE = 4
DIALS_A_TURN, TURN_SECONDS = 100, 0.25  # after an outage agents come back within half a minute, not in one moment


class Swarm:
    """Some agents, and what their parent asks of them."""

    def __init__(
        self,
        client: HttpClient,
        heartbeats: HttpClient,
        *,
        port: int,
        source: str,
        first: int,
        count: int,
        heartbeat: float,
    ) -> None:
        self._simulation = Simulation(
            [Server("127.0.0.1", port)],
            make_keys(KEYS),
            client,
            source=source,
            heartbeat_seconds=heartbeat,
            heartbeats=heartbeats,
        )
        self._agents = [Agent(self._simulation, number) for number in range(first, first + count)]

    async def enrol(self, codes: Sequence[Sequence[str]]) -> list[str]:
        """Register every agent, and return their instances."""
        pairs = [(activation, code) for activation, code in codes]
        await enrol(self._agents, pairs, per_code=PER_ACTIVATION, at_once=ENROL_AT_ONCE)
        return [agent.instance_id for agent in self._agents]

    async def connect(self) -> None:
        """Open every agent's socket, and return when all are open."""
        for number, agent in enumerate(self._agents):
            self._simulation.start(agent.run())
            if number % DIALS_A_TURN == 0:
                await asyncio.sleep(TURN_SECONDS)
        await all_connected(self._agents, CONNECT_SECONDS)

    async def prepare(self) -> None:
        """Begin to count anew how long lists took, and sign what a wave asks, as hosts of their own would."""
        await sign_ahead(self._agents, REQUESTS_OF_AN_ORDER)
        self._simulation.fetches.clear()

    async def figures(self) -> dict[str, Any]:
        """Return what the agents saw."""
        seen = self._simulation
        return {
            "fetches": [round(each, 4) for each in seen.fetches],
            "lost": seen.lost,
            "begun": len(seen.begun),
            "begun_twice": sum(count > 1 for count in seen.begun.values()),
            "dials": seen.dials,
            "connected": sum(agent.connected.is_set() for agent in self._agents),
        }

    async def end(self) -> None:
        """End every agent."""
        await self._simulation.end()


async def main(settings: dict[str, Any]) -> None:
    """Carry out the commands of the parent until its pipe ends."""
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    source = str(settings.pop("source_of_requests"))
    async with HttpClient(REQUESTS_AT_ONCE, source) as client, HttpClient(HEARTBEATS_AT_ONCE, source) as heartbeats:
        swarm = Swarm(client, heartbeats, **settings)
        gc.freeze()
        while line := await reader.readline():
            asked = json.loads(line)
            answer = await getattr(swarm, asked.pop("do"))(**asked)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "settings", type=json.loads, help="port, source, source_of_requests, first, count and heartbeat, as JSON"
    )
    asyncio.run(main(parser.parse_args().settings))
