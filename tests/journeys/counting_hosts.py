"""Hosts of the simulator for tests of rollouts: they count the orders that they begin, and end them when they may."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache, partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet import fleet
from backfleet.clock import utc_now
from backfleet.fleet import Client, ClientFilter, Instance
from backfleet.paging import Page
from backfleet_host.contract import Order, Report
from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.agent import REQUEST_SECONDS, UNANSWERED
from backfleet_sim.seeding import OLD, PER_ACTIVATION, give_clients, make_activations
from journeys.installation import LONG
from journeys.replicas import Pair

NOT_ENDED = ("running", "rolling_back")
REPORTS_EVERY = 20.0  # seconds, while an order is carried out: a third of what counts as lost

POLICY = """
name = "{name}"
package = "courier"
version = "2.0"
deadline = "{deadline}"

[select]
tags = {{ test = "{name}" }}

{rings}

[pace]
in_flight = "100%"
ramp = false
"""

_numbers = itertools.count()
_keys: Callable[[], list[rsa.RSAPrivateKey]] = cache(partial(make_keys, 1))


async def until(poll: Callable[[], Awaitable[Any]]) -> Any:
    """Call `poll` until it returns something true; return that."""
    end = time.monotonic() + LONG
    while True:
        found = await poll()
        if found:
            return found
        assert time.monotonic() < end, f"nothing within {LONG} s"
        await asyncio.sleep(0.1)


class Host(Agent):
    """A host that counts the orders that it begins, and ends one for each turn that it is given.

    Meanwhile it reports on them as an agent does.
    """

    def __init__(self, simulation: Simulation, turns: asyncio.Semaphore) -> None:
        super().__init__(simulation, next(_numbers))
        self.turns, self.fails = turns, False
        self.begun: list[str] = []
        self.ended, self.has_waited_in_vain = 0, False
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()

    def report_of(self, order: Order) -> Report:
        """Return a success, or that it went back."""
        if not self.fails:
            return super().report_of(order)
        return Report(
            order.order_id, order.kind, order.package, "failed", code="RolledBack", message="unhealthy", stage="back",
            from_version=OLD, to_version=order.version, current_version=OLD,
        )  # fmt: skip

    async def ask(
        self, method: str, path: str, body: bytes = b"", seconds: float = REQUEST_SECONDS
    ) -> tuple[int, bytes]:
        """Note whether a report got no answer."""
        status, content = await super().ask(method, path, body, seconds)
        if status == UNANSWERED and "/task/running" in path and self.ended == 0:
            self.has_waited_in_vain = True
        return status, content

    async def fetch(self) -> None:
        """Ask for orders, whether there is news of any or not."""
        found = await self._task_list("kickoff")
        for entry in found["run"] if found else ():
            self._begin(entry["task"])

    async def _fetch(self, reason: str) -> None:
        await self.may_fetch.wait()
        await super()._fetch(reason)

    async def _carry_out(self, task: dict[str, Any]) -> None:
        self.begun.append(task["taskID"])
        while True:
            await self.ask("POST", f"/api/v1/task/running?taskId={task['taskID']}&invokeVersion=0&start=1")
            try:
                await asyncio.wait_for(self.turns.acquire(), REPORTS_EVERY)
                break
            except TimeoutError:
                continue
        await super()._carry_out(task)
        self.ended += 1


class World:
    """The hosts of one test, and its rollout."""

    def __init__(self, pair: Pair, name: str) -> None:
        self.pair, self.name = pair, name
        servers = [Server("127.0.0.1", port) for port in pair.ports]
        self.simulation = Simulation(
            servers, _keys(), HttpClient(), reconnect_seconds=0.5, work_seconds=0.1, heartbeat_seconds=2.0
        )
        self.turns = asyncio.Semaphore(0)
        self.hosts: list[Host] = []
        self.rollout = ""

    async def grow(self, number: int) -> list[Host]:
        """Add hosts with a client each, and wait until they are connected."""
        made = [Host(self.simulation, self.turns) for _ in range(number)]
        self.hosts += made
        services, account = self.pair.services, self.pair.account
        codes = make_activations(services, account, number)
        await enrol(made, [codes[0]] * (made[-1].number // PER_ACTIVATION + 1), per_code=PER_ACTIVATION)
        ids = [host.instance_id for host in made]
        await asyncio.to_thread(give_clients, services, account, ids)
        await asyncio.to_thread(self._tag, ids)
        for host in made:
            self.simulation.start(host.run())
        await all_connected(made, LONG)
        await until(self._all_reachable)
        return made

    async def _all_reachable(self) -> bool:
        return all(instance.reachable_at for _, instance in await asyncio.to_thread(self._clients))

    def _tag(self, ids: Sequence[str]) -> None:
        services = self.pair.services
        with services.database.transaction() as tx:
            fleet.set_tags(tx, self.pair.account, services.settings.region, "instance", ids, {"test": self.name})

    async def roll_out(self, rings: str) -> None:
        """Start a rollout to every host."""
        deadline = (utc_now() + timedelta(hours=6)).isoformat()
        policy = POLICY.format(name=self.name, deadline=deadline, rings=rings)
        self.rollout = (await self.ask("CreateRollout", Policy=policy, Start=True))["RolloutId"]

    async def ask(self, action: str, **parameters: object) -> dict[str, Any]:
        """Call an operation of ours at one of the replicas."""
        call = partial(self.pair.call, 1, action, product="backfleet", **parameters)
        return await asyncio.to_thread(call)

    async def show(self) -> dict[str, Any]:
        return await self.ask("DescribeRollout", RolloutId=self.rollout)

    async def over(self) -> dict[str, Any]:
        """Wait until the rollout has ended or stands still; return it."""

        async def poll() -> dict[str, Any] | None:
            found = await self.show()
            return None if found["State"] in NOT_ENDED else found

        found: dict[str, Any] = await until(poll)
        return found

    async def members(self) -> dict[str, dict[str, Any]]:
        """Return the members by instance."""
        found = await self.ask("DescribeRolloutMembers", RolloutId=self.rollout, PageSize=100)
        return {member["InstanceId"]: member for member in found["Members"]}

    async def wait_for(self, *, begun: int, ended: int = 0) -> None:
        """Wait until the hosts have begun so many orders, and ended so many."""

        async def poll() -> bool:
            return self.begun() >= begun and sum(host.ended for host in self.hosts) >= ended

        await until(poll)

    def begun(self) -> int:
        return sum(len(host.begun) for host in self.hosts)

    def give_turns(self, number: int) -> None:
        """Let so many orders end."""
        for _ in range(number):
            self.turns.release()

    def versions(self) -> Counter[str]:
        """Return how many clients have which version, as the server knows it."""
        return Counter(client.version for client, _ in self._clients())

    def _clients(self) -> Sequence[tuple[Client, Instance]]:
        wanted = ClientFilter(instance_ids=[host.instance_id for host in self.hosts])
        region, page = self.pair.services.settings.region, Page(1, len(self.hosts))
        with self.pair.services.database.reading() as tx:
            return fleet.find_clients(tx, self.pair.account, region, wanted, page).items


@asynccontextmanager
async def world(pair: Pair, name: str) -> AsyncIterator[World]:
    """Give a world without hosts, and end them after it."""
    made = World(pair, name)
    try:
        yield made
    finally:
        await made.simulation.end()
