"""Agents of a cloud: the real protocol, hundreds in one thread. They run shell commands, and what those do is played.

Each has the journal that every host of ours has: an order that comes again is answered from it.
"""

import asyncio
import base64
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from backfleet.carriers.facts import FACTS
from backfleet_host.contract import Report, read_order, stage_line
from backfleet_sim import Agent, HttpClient, Server, Simulation, enrol, make_keys
from journeys.installation import Installation

OFFICIAL: Final = "2.2.3.1040"  # a version that the cloud's own agent reports
KEYS: Final = 20  # shared by the agents
REDIAL_SECONDS, HEARTBEAT_SECONDS = 1.0, 20.0
_ALONE: Final = re.compile(r"^set -- '([^']+)' '[^']*'$", re.M)
_ORDER: Final = re.compile(r"', '([A-Za-z0-9+/=]+)', time\.monotonic\(\)")


class CloudAgent(Agent):
    """The agent of one instance of the cloud."""

    def __init__(self, agents: "CloudAgents", simulation: Simulation, number: int) -> None:
        super().__init__(simulation, number, OFFICIAL)
        self.agents = agents
        self.version_there = ""  # of the client
        self.journal: dict[str, Report] = {}

    async def _carry_out(self, task: dict[str, Any]) -> None:
        content = base64.b64decode(task["commandContent"]).decode()
        about = f"taskId={task['taskID']}&invokeVersion=0&start={int(time.time() * 1000)}"
        await self.ask("POST", f"/api/v1/task/running?{about}")
        output = self._facts() if content == FACTS else await self._ordered(content)
        end = f"/api/v1/task/finish?{about}&end={int(time.time() * 1000)}&exitCode=0&dropped=0"
        for _ in range(60):  # the cloud may be down for a while
            status, _answer = await self.ask("POST", end, output)
            if status <= 400:
                return
            await asyncio.sleep(1)
        self.simulation.lost += 1

    def _facts(self) -> bytes:
        found = f"Linux\n{os.uname().machine}\nhost-{self.number}\nDebian\n{self.machine_id}\n0\n{int(time.time())}\n"
        return found.encode()

    async def _ordered(self, content: str) -> bytes:
        """Do what our command has a host do, and return what that prints."""
        mine = re.search(rf"^'{self.instance_id}'\) set -- '([^']+)'", content, re.M) or _ALONE.search(content)
        encoded = _ORDER.search(content)
        if mine is None or encoded is None:
            self.agents.strange.append(content[:200])
            return b"what is this?\n"
        order = read_order(base64.b64decode(encoded[1]).decode().replace("THE-ID-OF-THIS-ORDER", mine[1]))
        if order.order_id in self.journal:
            self.agents.repeated += 1
        else:
            self.agents.carried[self.instance_id, order.kind, order.version or ""] += 1
            self.simulation.begun[order.order_id] += 1
            before, self.version_there = self.version_there, order.version or ""
            self.journal[order.order_id] = Report(
                order.order_id, order.kind, order.package, "succeeded", stage="commit", from_version=before,
                to_version=order.version, current_version=order.version, seconds=1.0,
            )  # fmt: skip
            await asyncio.sleep(self.simulation.work_seconds)
        stages = "\n".join(stage_line(stage) for stage in ("admit", "check", "fetch", "stage", "switch", "prove"))
        return f"{stages}\n{self.journal[order.order_id].as_line()}\n".encode()


class CloudAgents:
    """All of them, and what they saw."""

    def __init__(self) -> None:
        self.agents: list[CloudAgent] = []
        self.carried: Counter[tuple[str, str, str]] = Counter()  # orders by instance, kind and version
        self.repeated = 0  # orders that came again, and were answered from the journal
        self.strange: list[str] = []  # commands that are none of ours
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def ids(self) -> list[str]:
        return [agent.instance_id for agent in self.agents]

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    async def _start(self, cloud: Installation, count: int, code: tuple[str, str]) -> None:
        self._simulation = Simulation(
            [Server("127.0.0.1", cloud.ports[0])], make_keys(KEYS), HttpClient(50), REDIAL_SECONDS,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )  # fmt: skip
        self.agents = [CloudAgent(self, self._simulation, number) for number in range(count)]
        await enrol(self.agents, [code], per_code=count)
        for agent in self.agents:
            self._simulation.start(agent.run())
        await asyncio.gather(*(agent.connected.wait() for agent in self.agents))

    async def _end(self) -> None:
        await self._simulation.end()

    def begin(self, cloud: Installation, count: int) -> None:
        """Enrol so many, and have them connected."""
        self._thread.start()
        code = cloud.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=count)
        self._do(self._start(cloud, count, (code["ActivationId"], code["ActivationCode"])))

    def close(self) -> None:
        """End them all."""
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()


@contextmanager
def cloud_agents(cloud: Installation, count: int) -> Iterator[CloudAgents]:
    """Run so many agents of a cloud."""
    made = CloudAgents()
    try:
        made.begin(cloud, count)
        yield made
    finally:
        made.close()
