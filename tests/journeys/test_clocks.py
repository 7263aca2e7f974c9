"""Two real servers on one PostgreSQL, of which one has a clock that is two minutes off: nothing ends too early."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import commands, fleet
from backfleet.assistant._tables import runs
from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.commands import NewInvocation, State
from backfleet.commands._tables import invocations
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations.catalogue import Services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from journeys.installation import LONG, wait_for
from operations.environment import REGION, public_key
from warm_server import COLD, WarmServer

WAIT = LONG  # seconds, for what the other server does every few seconds
LEASE = timedelta(seconds=90)


class Pair:
    """A server with the right clock that takes calls, and one whose clock is off that does the work."""

    def __init__(self, folder: Path, url: str, shift: int) -> None:
        self.folder, self.data, self.url = folder, folder / "data", url
        self.processes: list[subprocess.Popen[bytes]] = []
        flags = {"data": self.data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url}
        self.services: Services
        self.services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
        self.right = self._start("openapi", 0)
        self.off = self._start("openapi,workers", shift)

    def _start(self, only: str, shift: int) -> Client:
        words = ["--data", self.data, "--database-url", self.url, "--only", only, "--http", "127.0.0.1:0"]
        environment = os.environ | {"BACKFLEET_CLOCK_SHIFT": str(shift), "BACKFLEET_HOLD_LISTENERS": "false"}
        with (self.folder / "server.log").open("ab") as log:
            process = WarmServer(
                [*COLD, "serve", *words, "--https", "127.0.0.1:0"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        self.processes.append(process)
        assert process.stdout is not None
        line = json.loads(process.stdout.readline() or b"{}")
        assert line.get("event") == "ready", (self.folder / "server.log").read_text()
        return Client(connect(ConnectionFlags(endpoint=line["http"], data=self.data), {}), utc_now)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(LONG)
            assert process.stdout is not None
            process.stdout.close()
        self.services.database.close()


@pytest.fixture(params=[120, -120], ids=["two minutes ahead", "two minutes behind"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, postgresql_url: str) -> Iterator[Pair]:
    """Each pair has a database of its own."""
    name = f"clocks_{abs(hash(request.node.name)) % 10**9}"
    server = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    with ExitStack() as ends:
        ends.callback(server.dispose)
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        url = sa.make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
        found = Pair(tmp_path, url, request.param)
        ends.callback(found.end)
        yield found


def reachable_host(pair: Pair) -> str:
    account = json.loads((pair.data / "admin.json").read_text())["account_id"]
    with pair.services.database.transaction() as tx:
        activation, code = fleet.create_activation(
            tx, account_id=account, region=REGION, count=1, hours=1, name="", description="", address_range="",
            now=utc_now(), draw=draw,
        )  # fmt: skip
        asked = fleet.Registration(
            activation_id=activation.id, code=code, machine_id="1" * 32, instance_name="", hostname="web-1",
            intranet_ip="10.0.0.1", os_type="linux", os_version="Linux_x86_64", agent_version="backfleet-0.1.0",
            agent_mode="shell", platform="linux-amd64", public_key=public_key(),
        )  # fmt: skip
        host = fleet.register(tx, asked, source_ip="127.0.0.1", now=utc_now(), draw=draw).id
        fleet.note_heartbeats(tx, [fleet.Heartbeat(host, utc_now(), reachable_at=utc_now())])
    return host


def state_of(pair: Pair, reference: str) -> State:
    with pair.services.database.reading() as tx:
        return State(tx.scalar(sa.select(invocations.c.state).where(invocations.c.reference == reference)))


def make_running(pair: Pair, host: str, reference: str, now: datetime) -> str:
    """Begin a command that runs since this moment, and was last reported on then; return its task's id."""
    asked = [NewInvocation("1000000000000001", host, "true", 600, reference)]
    with pair.services.database.transaction() as tx:
        commands.send(tx, asked, topic="others", now=now, draw=draw)
        (command,) = commands.claim(tx, host, now=now, lease=LEASE).run
        assert commands.record_output(tx, host, command.task_id, b"x", started_ms=1, now=now, lease=LEASE)
    return command.task_id


def report_on(pair: Pair, host: str, task_id: str) -> bool:
    """Report on a command that runs, as its agent does all the time: its lease never runs out."""
    with pair.services.database.transaction() as tx:
        return commands.record_output(tx, host, task_id, b"", started_ms=1, now=utc_now(), lease=LEASE)


def run_of(pair: Pair, invoke_id: str) -> Any:
    with pair.services.database.reading() as tx:
        return tx.first(sa.select(runs).where(runs.c.invocation_id == invoke_id))


def test_leases_deliveries_and_skew_go_by_the_databases_clock(pair: Pair) -> None:
    """What is overdue ends, which shows that the worker came by, and what is not goes on."""
    host = reachable_host(pair)
    running = make_running(pair, host, "runs", utc_now())
    make_running(pair, host, "silent", utc_now() - LEASE - timedelta(seconds=1))
    command = {"RegionId": REGION, "Type": "RunShellScript", "CommandContent": "true", "InstanceId.1": host}
    waits, late = (pair.right.call("ecs", "RunCommand", **command)["InvokeId"] for _ in range(2))
    wait_for(lambda: run_of(pair, waits) and run_of(pair, late), WAIT)
    with pair.services.database.transaction() as tx:
        tx.run(sa.update(runs).where(runs.c.invocation_id == late).values(deliver_by=utc_now()))
    wait_for(lambda: report_on(pair, host, running) and run_of(pair, late).status == "Aborted", WAIT)
    wait_for(lambda: report_on(pair, host, running) and state_of(pair, "silent") is State.LOST, WAIT)
    assert run_of(pair, waits).status == "Pending"
    assert state_of(pair, "runs") is State.RUNNING

    skews = [each.call("backfleet", "DescribeServer")["ClockSkewMilliseconds"] for each in (pair.right, pair.off)]
    assert abs(skews[0]) < 10_000
    assert 110_000 < abs(skews[1]) < 130_000
