"""What the agents of one simulation share, and what they saw."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet_sim.http_client import HttpClient
from backfleet_sim.servers import Server

OFFICIAL_RECONNECT_SECONDS = 6.0  # of the official agent, after a socket that ended
OFFICIAL_TRIES = 4  # of its final report


@dataclass
class Simulation:
    """Settings of the agents, and the figures they leave.

    Args:
        servers: the replicas; each agent starts with its own and goes on to the next when one does not answer.
        keys: shared by the agents in turn, because making a key costs more than everything else an agent does.
        client: the HTTP client of all of them.
        reconnect_seconds: the pause after a socket that ended.
        work_seconds: how long carrying out an order takes.
        heartbeat_seconds: the mean time between two heartbeats of an agent.
        tries: how often a final report is sent before it is given up: the official agent's four, unless told.
        source: the address from which sockets are opened; "" = the system's choice. One has some 28,000 ports.
        heartbeats: the HTTP client of heartbeats: those of thousands must not hold up one agent's lists, as they would
            not if each was a host of its own; None = that of everything else.
    """

    servers: Sequence[Server]
    keys: Sequence[rsa.RSAPrivateKey]
    client: HttpClient
    reconnect_seconds: float = OFFICIAL_RECONNECT_SECONDS
    work_seconds: float = 1.0
    heartbeat_seconds: float = 60.0
    tries: int = OFFICIAL_TRIES
    source: str = ""
    heartbeats: HttpClient | None = None
    begun: Counter[str] = field(default_factory=Counter)  # how often an order was begun, by its id
    fetches: list[float] = field(default_factory=list)  # seconds from a kick to the list of tasks
    fetched_at: dict[str, float] = field(default_factory=dict)  # instance -> when it last got a task (perf_counter)
    lost: int = 0  # final reports that were given up
    dials: int = 0  # sockets that were tried
    _running: set["asyncio.Task[Any]"] = field(default_factory=set)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside everything else, until it ends or `end` is called."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def end(self) -> None:
        """Cancel everything that was started, wait until it is gone, and end the connections."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for client in (self.client, self.heartbeats):
            if client is not None:
                await client.close()


def make_keys(count: int) -> list[rsa.RSAPrivateKey]:
    """Return new keys of the kind that agents enrol with."""
    return [rsa.generate_private_key(65537, 2048) for _ in range(count)]
