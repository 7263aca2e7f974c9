"""A fleet of simulated hosts at two real servers, and what is taken from those: for `bench/outages.py`."""

import argparse
import asyncio
import base64
import itertools
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet_host.contract import Order, Report, read_order
from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.agent import REQUEST_SECONDS
from backfleet_sim.seeding import NEW, PER_ACTIVATION, give_clients, make_activations
from journeys.replicas import Pair

BAD = "3.0"
BAD_SHARE = 0.03  # of the hosts of the second rollout
KEYS = 50
PAGE = 500
REGION = "cn-hangzhou"
CLOCK_JUMPS = (3, -3, 0)  # hours that the database's clock is off, one after the other
REPLICA_CLOCKS = (2 * 3600, -2 * 3600)  # seconds that each replica's clock is off after its kill
DOWN = 10.0  # seconds until a killed replica is started again
MEASURED = 8.0  # seconds until every replica knows the database's time again
STANDS = 20.0  # seconds for which nothing may happen at a gate that is closed, and after the halt
RESOLVE = 3600.0  # seconds until what must happen has happened
RINGS = ("canary", "early", "middle", "rest")
GOES_ON = ("running", "completed")
OPEN = ("Pending", "Waiting", "Upgrading", "Verifying", "RollingBack")

POLICY = """
name = "to {version}"
package = "courier"
version = "{version}"
deadline = "{deadline}"
[select]
platforms = ["linux-amd64"]
[[ring]]
name = "canary"
count = {canaries}
[[ring]]
name = "early"
percent = 10
{soak}
[[ring]]
name = "middle"
percent = 30
{manual}
[[ring]]
name = "rest"
[pace]
in_flight = "10%"
ramp = false
[failure]
max_failed = {max_failed}
"""
# Whose clock_timestamp() a server gets is decided by the order of the schemas: so a run sets the database's clock.
CLOCK = """
CREATE SCHEMA clock; CREATE TABLE clock.shift (hours double precision); INSERT INTO clock.shift VALUES (0);
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
'SELECT pg_catalog.clock_timestamp() + (SELECT hours FROM clock.shift) * interval ''1 hour''';
ALTER DATABASE postgres SET search_path = public, clock, pg_catalog;
"""


@dataclass(frozen=True)
class Handed:
    """One order that reached a host. Seconds are of this process's monotonic clock."""

    instance: str
    order: str
    version: str
    asked: float  # when the request that brought it began
    got: float


class Host(Agent):
    """A host that notes what it is handed, and fails with the bad release if it is one of those."""

    def __init__(self, simulation: Simulation, number: int, handed: list[Handed]) -> None:
        super().__init__(simulation, number)
        self.handed, self.fails, self.asked, self.reported = handed, False, 0.0, 0.0

    async def ask(
        self, method: str, path: str, body: bytes = b"", seconds: float = REQUEST_SECONDS
    ) -> tuple[int, bytes]:
        began = time.monotonic()
        if "/task/list" in path:
            self.asked = began
        answer = await super().ask(method, path, body, seconds)
        if "/task/finish" in path and not self.reported:
            self.reported = began  # at the earliest: the server may have it even if its answer was lost
        return answer

    def _begin(self, task: dict[str, Any]) -> None:
        if task["taskID"] not in self._seen:
            order = read_order(base64.b64decode(task["commandContent"]).decode())
            self.handed.append(Handed(self.instance_id, order.order_id, order.version, self.asked, time.monotonic()))
        super()._begin(task)

    async def look(self) -> None:
        """Ask for orders without being kicked."""
        found = await self._task_list("kickoff")
        for entry in found["run"] if found else ():
            self._begin(entry["task"])

    def report_of(self, order: Order) -> Report:
        if not (self.fails and order.version == BAD):
            return super().report_of(order)
        return Report(
            order.order_id, order.kind, order.package, "failed", code="RolledBack", message="unhealthy", stage="back",
            from_version=NEW, to_version=order.version, current_version=NEW,
        )  # fmt: skip


class World:
    """The hosts of a run, and what is done to their servers."""

    def __init__(self, pair: Pair, asked: argparse.Namespace) -> None:
        self.pair, self.asked, self.began = pair, asked, time.monotonic()
        servers = [Server("127.0.0.1", port) for port in pair.ports]
        self.simulation = Simulation(
            servers, make_keys(KEYS), HttpClient(200), work_seconds=2.0, heartbeat_seconds=150.0, tries=sys.maxsize
        )
        self.handed: list[Handed] = []
        self.hosts = [Host(self.simulation, number, self.handed) for number in range(asked.hosts)]
        self.hours_off = 0.0
        self.faults: list[tuple[str, float, int]] = []  # what, for how many seconds, orders begun meanwhile
        self.rollout = ""

    async def grow(self) -> None:
        """Enrol every host, give it a client, and wait until it is connected."""
        services, account = self.pair.services, self.pair.account
        codes = make_activations(services, account, len(self.hosts))
        await enrol(self.hosts, codes, per_code=PER_ACTIVATION)
        await asyncio.to_thread(give_clients, services, account, [host.instance_id for host in self.hosts])
        for host in self.hosts:
            self.simulation.start(host.run())
        await all_connected(self.hosts, RESOLVE)
        self.say(f"{len(self.hosts)} hosts are connected")

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {what}", file=sys.stderr, flush=True)

    # --- Asking -------------------------------------------------------------------------------------------------------

    async def ask(self, action: str, *, product: str = "backfleet", **parameters: object) -> dict[str, Any]:
        """Call an operation at one of the replicas, then at the other, until one answers."""
        until = time.monotonic() + RESOLVE
        for number in itertools.cycle((0, 1)):
            try:
                return await asyncio.to_thread(partial(self._client(number).call, product, action, **parameters))
            except CallFailed as problem:
                about_time = "time" in str(problem.answer.get("Code", "")).lower()
                if time.monotonic() > until or not (problem.may_pass or about_time or problem.status >= 500):
                    raise
                await asyncio.sleep(0.5)
        raise AssertionError

    def _client(self, number: int) -> Client:
        flags = ConnectionFlags(endpoint=f"http://127.0.0.1:{self.pair.ports[number]}", data=self.pair.data)
        off = timedelta(hours=self.hours_off)
        return Client(connect(flags, {}), lambda: utc_now() + off, read_seconds=10)

    async def pages(self, action: str, name: str) -> list[dict[str, Any]]:
        """Return every member, or event, of the rollout."""
        found: list[dict[str, Any]] = []
        while True:
            place = {"After": len(found), "MaxResults": PAGE} if name == "Events" else {
                "PageNumber": len(found) // PAGE + 1, "PageSize": PAGE
            }  # fmt: skip
            page = (await self.ask(action, RolloutId=self.rollout, **place))[name]
            found += page
            if len(page) < PAGE:
                return found

    async def show(self) -> dict[str, Any]:
        return await self.ask("DescribeRollout", RolloutId=self.rollout)

    async def until(self, what: str, poll: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + RESOLVE
        while not await poll():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {RESOLVE:.0f} s: {what}; {await self.show()}")
            await asyncio.sleep(0.5)
        self.say(what)

    async def ring_is(self, number: int, state: str) -> None:
        async def poll() -> bool:
            found = await self.show()
            if found["State"] not in GOES_ON:
                raise RuntimeError(f"the rollout is {found['State']}: {found['Reason']}")
            return bool(found["Rings"][number]["State"] == state)

        await self.until(f"ring {RINGS[number]} is {state}", poll)

    async def all_reachable(self) -> bool:
        found = await self.ask(
            "DescribeManagedInstances", product="ecs", RegionId=REGION, Connected="false", PageSize=1
        )
        return bool(found["TotalCount"] == 0)

    async def is_in(self, *states: str) -> None:
        async def poll() -> bool:
            return (await self.show())["State"] in states

        await self.until(f"the rollout is {' or '.join(states)}", poll)

    async def share_begun(self, version: str, share: float) -> None:
        """Wait until so many of the hosts have an order to this version."""

        async def poll() -> bool:
            return self.begun(version) >= share * len(self.hosts)

        await self.until(f"{share:.0%} of the hosts have begun {version}", poll)

    def begun(self, version: str) -> int:
        return sum(each.version == version for each in self.handed)

    async def roll_out(self, version: str, **fields: str) -> None:
        """Start a rollout to every host, once the server knows that each can be given work."""
        await self.until("every host can be given work", self.all_reachable)
        deadline = (utc_now() + timedelta(days=3)).isoformat()
        canaries = max(2, len(self.hosts) // 100)
        policy = POLICY.format(version=version, deadline=deadline, canaries=canaries, **fields)
        self.rollout = (await self.ask("CreateRollout", Policy=policy, Start=True))["RolloutId"]
        self.say(f"rollout to {version} started")

    # --- Faults -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[None]:
        """Note how long a fault lasts, and how many orders begin meanwhile."""
        self.say(name)
        began, before = time.monotonic(), len(self.handed)
        yield
        self.faults.append((name, time.monotonic() - began, len(self.handed) - before))
        self.say(f"over: {name}")

    async def jump(self, hours: float) -> None:
        """Set the database's clock, and wait until both replicas go by it."""
        async with self.fault(f"the database's clock is {hours:+g} h off"):
            with self.pair.services.database.transaction() as tx:
                tx.run(sa.text("UPDATE clock.shift SET hours = :hours").bindparams(hours=hours))
            self.hours_off = hours
            await asyncio.sleep(MEASURED + DOWN)

    async def kill(self, number: int) -> None:
        """Kill a replica; it comes back with a clock that is off."""
        shift = REPLICA_CLOCKS[number]
        async with self.fault(f"replica {number + 1} killed, back with its clock {shift / 3600:+g} h off"):
            await asyncio.to_thread(self.pair.kill, number)
            await asyncio.sleep(DOWN)
            await asyncio.to_thread(partial(self.pair.start, self.pair.ports[number], clock_shift=shift))

    @asynccontextmanager
    async def away(self, name: str, leave: Callable[[], Any], come: Callable[[], Any]) -> AsyncIterator[None]:
        """Take something away for a while; it comes back however the block ends."""
        async with self.fault(name):
            await asyncio.to_thread(leave)
            try:
                yield
            finally:
                await asyncio.to_thread(come)

    async def good_release(self) -> None:
        """Roll out what works, under one fault after the other."""
        pair, seconds = self.pair, self.asked.away
        soak = f'gates = [{{ kind = "soak", hours = {self.asked.soak / 3600} }}]'
        await self.roll_out(NEW, soak=soak, manual='gates = [{ kind = "manual" }]', max_failed="0")
        await self.ring_is(0, "finished")
        for hours in CLOCK_JUMPS:
            await self.jump(hours)
        await self.share_begun(NEW, 0.04)
        await self.kill(0)
        await self.ring_is(1, "finished")
        await asyncio.sleep(STANDS)
        self.opened = time.monotonic()
        await self.ask("ResumeRollout", RolloutId=self.rollout)
        await self.share_begun(NEW, 0.2)
        async with self.away("PostgreSQL hangs", pair.freeze_postgresql, pair.thaw_postgresql):
            await asyncio.sleep(seconds)
        await self.share_begun(NEW, 0.5)
        async with self.away("NATS is away", pair.nats.stop, pair.nats.start):
            await asyncio.sleep(seconds)
        await self.share_begun(NEW, 0.65)
        await self.kill(1)
        await self.share_begun(NEW, 0.75)
        async with self.away("PostgreSQL has ended", pair.stop_postgresql, pair.start_postgresql):
            await asyncio.sleep(seconds)
        await self.is_in("completed", "halted", "expired")

    async def bad_release(self) -> None:
        """Roll out what fails on some hosts, until it halts while most is away; then cancel it."""
        pair = self.pair
        chosen = random.Random(self.asked.seed).sample(self.hosts, max(6, round(BAD_SHARE * len(self.hosts))))
        for host in self.hosts:
            host.fails, host.reported = host in chosen, 0.0
        await self.roll_out(BAD, soak="", manual="", max_failed='"0.5%"')
        await self.share_begun(BAD, 0.02)
        async with self.away("NATS is away", pair.nats.stop, pair.nats.start):
            await self.kill(0)
            async with self.away("PostgreSQL hangs", pair.freeze_postgresql, pair.thaw_postgresql):
                await asyncio.sleep(self.asked.away)
            await self.is_in("halted", "completed")
            self.halted = time.monotonic()
        for host in self.hosts[:: max(1, len(self.hosts) // 300)]:
            await host.look()
        await asyncio.sleep(STANDS)
        self.state = (await self.show())["State"]
        await self.ask("CancelRollout", RolloutId=self.rollout)

        async def all_have_ended() -> bool:
            rings = (await self.show())["Rings"]
            return not any(ring[name] for ring in rings for name in ("Pending", "Waiting", "Upgrading", "RollingBack"))

        await self.until("every member has ended", all_have_ended)
