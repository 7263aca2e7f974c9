"""Two replicas on one PostgreSQL and one NATS, all real: what happens to a wave when any of them dies in its midst."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backfleet import fleet
from backfleet.paging import Page
from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.seeding import NEW, PER_ACTIVATION, give_clients, make_activations, offer_release
from journeys.installation import LONG
from journeys.replicas import Pair

HOSTS = 200
AT_ONCE = 100  # instances of one call
WAVE_SECONDS = LONG

Fault = Callable[[Pair], None]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as ends:
        found = Pair(tmp_path)
        ends.callback(found.end)
        found.start()
        found.start()
        offer_release(found.services)
        yield found


async def wave(pair: Pair, fault: Callable[[], Any]) -> tuple[Simulation, list[dict[str, Any]], list[Agent]]:
    """Upgrade every host while `fault` happens; the tasks as they ended."""
    servers = [Server("127.0.0.1", port) for port in pair.ports]
    async with HttpClient(40) as client:
        simulation = Simulation(servers, make_keys(4), client, reconnect_seconds=1.0, work_seconds=2.0)
        agents = [Agent(simulation, number) for number in range(HOSTS)]
        try:
            codes = make_activations(pair.services, pair.account, HOSTS)
            await enrol(agents, codes, per_code=PER_ACTIVATION)
            ids = [agent.instance_id for agent in agents]
            await asyncio.to_thread(give_clients, pair.services, pair.account, ids)
            for agent in agents:
                simulation.start(agent.run())
            await all_connected(agents, LONG)
            tasks = [
                (await asyncio.to_thread(
                    partial(pair.call, 1, "UpgradeBackupClients", InstanceIds=ids[at : at + AT_ONCE])
                ))["TaskId"]
                for at in range(0, HOSTS, AT_ONCE)
            ]  # fmt: skip
            await asyncio.sleep(1.5)  # in the middle of it
            await asyncio.to_thread(fault)
            ended = [await over(pair, task_id) for task_id in tasks]
            await asyncio.sleep(0.5)
        finally:
            await simulation.end()
    return simulation, ended, agents


async def over(pair: Pair, task_id: str) -> dict[str, Any]:
    until = time.monotonic() + WAVE_SECONDS
    while True:
        found = await asyncio.to_thread(partial(pair.call, 1, "DescribeTask", TaskId=task_id))
        if found["Description"] != "created":
            return found
        assert time.monotonic() < until, (found["Progress"], pair.logs())
        await asyncio.sleep(0.5)


def kill_one(pair: Pair) -> None:
    """A kill -9 of the replica that half of the agents are at; it comes back after three seconds."""
    port = pair.ports[0]
    pair.kill(0)
    time.sleep(3)
    pair.start(port)


def drain_one(pair: Pair) -> None:
    """A rolling restart: SIGTERM, and a new process on the same port."""
    port = pair.ports[0]
    pair.servers[0].terminate()
    assert pair.servers[0].wait(LONG) == 0
    pair.start(port)


def stop_nats(pair: Pair) -> None:
    """It does not come back."""
    pair.nats.stop()


def stop_postgresql(pair: Pair) -> None:
    """For twenty seconds: far longer than an official agent tries a report."""
    pair.stop_postgresql()
    time.sleep(20)
    pair.start_postgresql()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill_one, drain_one, stop_nats, stop_postgresql], ids=lambda fault: fault.__name__)
def test_a_wave_ends_right_whatever_fails(pair: Pair, fault: Fault) -> None:
    """Every host succeeds, no order is begun twice, no final report is lost, every client is known to be new."""
    simulation, tasks, agents = asyncio.run(wave(pair, partial(fault, pair)))
    assert [task["Description"] for task in tasks] == ["completed"] * len(tasks), pair.logs()
    outcomes = Counter(
        (item["clientStatus"], item["errorCode"], item["message"])
        for task in tasks
        for item in json.loads(task["Result"])
    )
    assert outcomes == {("ACTIVATED", "", ""): HOSTS}, pair.logs()
    assert simulation.lost == 0
    assert len(simulation.begun) == HOSTS
    assert set(simulation.begun.values()) == {1}
    with pair.services.database.reading() as tx:
        wanted = fleet.ClientFilter(instance_ids=[agent.instance_id for agent in agents])
        found = fleet.find_clients(tx, pair.account, pair.services.settings.region, wanted, Page(1, HOSTS + 1))
    assert [client.version for client, _ in found.items] == [NEW] * HOSTS
