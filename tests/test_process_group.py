"""One server of several processes, real ones: a wave while one of them is killed, and what an operator sees of it."""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from backfleet import fleet
from backfleet.cli._serve import serve
from backfleet.paging import Page
from backfleet.settings import read_settings
from backfleet_sim import Agent, agent
from backfleet_sim.seeding import NEW, offer_release
from journeys import test_replicas
from journeys.installation import LONG
from journeys.several_processes import Group, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes need Linux")

_numbers = itertools.count()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), LONG).close()
    except OSError:
        return False
    return True


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    found = Group(tmp_path)
    try:
        yield found
    finally:
        found.end()


@dataclass(frozen=True)
class Fault:
    """What happens to the server in the midst of a wave."""

    engine: str = "sqlite"
    hosts: int = 40
    killed: int | None = None  # the process of this number
    restarts: bool = False  # all of it, by SIGHUP
    failpoint: str = ""  # at which the first process that comes there dies, and perhaps the other one


FAULTS = {
    "the first is killed": Fault(killed=0),
    "the second is killed": Fault("postgresql", killed=1),
    "a restart": Fault(restarts=True),
    "row 6-7": Fault(hosts=20, failpoint="task stored"),
    "row 10-11": Fault(hosts=20, failpoint="command claimed"),
    "row 12-13": Fault("postgresql", hosts=20, failpoint="outcome stored"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_wave_survives(
    tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Every host is upgraded once, no report is lost, what is counted never goes back, and all of it ends in order."""
    monkeypatch.setattr(test_replicas, "HOSTS", fault.hosts)
    monkeypatch.setattr(agent, "TRIES", 1000)  # our own agent reports until it is heard
    with ExitStack() as ends:
        url = "" if fault.engine == "sqlite" else ends.enter_context(own_database(request))
        group = Group(tmp_path, url, FAILPOINT=fault.failpoint)
        ends.callback(group.end)
        offer_release(group.services)
        before: dict[str, float] = {}

        def happen() -> None:
            before.update(group.figures())
            if fault.killed is not None:
                os.kill(group.serving()[fault.killed], signal.SIGKILL)
            elif fault.restarts:
                group.process.send_signal(signal.SIGHUP)

        simulation, tasks, agents = asyncio.run(test_replicas.wave(group, happen))  # type: ignore[arg-type]
        assert (len(simulation.begun), set(simulation.begun.values())) == (fault.hosts, {1})
        assert simulation.lost == 0
        assert_all_are_new(group, tasks, agents)
        until(group.is_whole)
        assert_nothing_went_back(before, group.figures())
        assert bool(group.deaths()) == (not fault.restarts), group.logs()
        serving = group.serving().values()
        group.process.send_signal(signal.SIGTERM)
        assert group.process.wait(LONG) == 0
        assert not [pid for pid in serving if Path(f"/proc/{pid}").exists()]


@contextmanager
def own_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of its own in the PostgreSQL of all tests."""
    url = sa.make_url(request.getfixturevalue("postgresql_url"))
    name = f"group_{os.getpid()}_{next(_numbers)}"
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def assert_all_are_new(group: Group, tasks: list[dict[str, Any]], agents: list[Agent]) -> None:
    assert [task["Description"] for task in tasks] == ["completed"], group.logs()
    outcomes = Counter((item["clientStatus"], item["errorCode"]) for item in json.loads(tasks[0]["Result"]))
    assert outcomes == {("ACTIVATED", ""): len(agents)}, group.logs()
    with group.services.database.reading() as tx:
        wanted = fleet.ClientFilter(instance_ids=[agent.instance_id for agent in agents])
        page = Page(1, len(agents) + 1)
        found = fleet.find_clients(tx, group.account, group.services.settings.region, wanted, page)
    assert [client.version for client, _ in found.items] == [NEW] * len(agents)


def assert_nothing_went_back(before: dict[str, float], after: dict[str, float]) -> None:
    counted = [name for name in before if name.partition("{")[0].endswith(("_total", "_count", "_bucket"))]
    assert {name: after.get(name, 0.0) for name in counted if after.get(name, 0.0) < before[name]} == {}


def test_the_data_folder_is_kept_while_a_process_is_replaced(group: Group) -> None:
    """Another server is refused although the first process is away; `kill -HUP` restarts all, on the same ports."""
    first, second = group.serving().values()
    os.kill(first, signal.SIGKILL)
    other = group.start()
    assert other.wait(LONG) == 1
    assert other.stdout is not None
    other.stdout.close()
    assert "another `backfleet serve` has the data folder" in group.logs()
    group.read_ready()
    group.process.send_signal(signal.SIGHUP)
    group.read_ready()
    until(lambda: group.figures()["backfleet_processes"] == 2)
    assert not {first, second} & set(group.serving().values())
    group.process.kill()
    group.process.wait(LONG)
    until(lambda: not _listens(group.ports[0]))


@pytest.mark.parametrize("words", [["--processes", "0"], ["--processes", "two"], ["--processes", "65"]])
def test_a_wrong_number_is_said(words: list[str]) -> None:
    found = CliRunner().invoke(serve, words)
    assert found.exit_code != 0
    assert "it must be a whole number from 1 to 64, or auto" in found.output


def test_a_group_needs_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFLEET_HOLD_LISTENERS", "false")
    found = CliRunner().invoke(serve, ["--data", str(tmp_path), "--processes", "2"])
    assert (found.exit_code, "hold_listeners = true" in found.output) == (1, True)


def test_auto_is_a_process_for_each_core() -> None:
    assert read_settings({"processes": "auto"}, {}).processes == len(os.sched_getaffinity(0))


RESTLESS = """
import os, sys, time
from backfleet import process_group
if process_group.is_member():
    if os.environ["BACKFLEET_SIBLINGS"].split(":")[0] == sys.argv[1]:
        sys.exit(3)
    os.write(int(os.environ["BACKFLEET_READY"]), b"1")
    time.sleep(600)
process_group.FIRST_PAUSE = process_group.LONGEST_PAUSE = 0.01
print(process_group.supervise_group({}, 2, sys.orig_argv))
"""


def test_a_process_that_dies_again_and_again_ends_the_server() -> None:
    """With its exit code, and the others end as well; a first process that never served is not started again."""
    for number, failures in ((1, 10), (0, 0)):
        words = [sys.executable, "-c", RESTLESS, str(number)]
        found = subprocess.run(words, capture_output=True, text=True, timeout=LONG, check=True)
        assert found.stdout.split()[0] == "3", found.stderr
        assert found.stderr.count("starting it again") == failures, found.stderr
