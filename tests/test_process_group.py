"""One server of several processes, real ones: a wave while one of them is killed, and what an operator sees of it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from click.testing import CliRunner

from backfleet import fleet
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.cli._serve import serve
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.paging import Page
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet_sim.seeding import NEW, offer_release
from journeys import test_replicas
from journeys.installation import LONG

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes need Linux")

HOSTS = 60


class Group:
    """A server of two processes on SQLite. `wave` of the replicas' journey drives it as it drives a pair."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.data, self._log = folder / "data", folder / "log"
        self.words = [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(self.data), *words]
        self.process = self.start()
        assert self.process.stdout is not None
        self.line = json.loads(self.process.stdout.readline())
        self.ports = [int(self.line["http"].rpartition(":")[2])] * 2
        until(lambda: self.figures()["backfleet_processes"] == 2)
        flags = {"data": self.data, "http": "127.0.0.1:1", "https": "127.0.0.1:2"}
        self.services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
        self.account: str = json.loads((self.data / "admin.json").read_text())["account_id"]

    def start(self) -> "subprocess.Popen[str]":
        listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--processes", "2"]
        with self._log.open("ab") as log:
            return subprocess.Popen([*self.words, *listen], stdout=subprocess.PIPE, stderr=log, text=True)

    def serving(self) -> list[int]:
        """Return the pids of the serving processes, the first one first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return sorted(map(int, children), key=_number_of)

    def figures(self) -> dict[str, float]:
        with urllib3.PoolManager() as pool:
            text = pool.request("GET", f"{self.line['http']}/metrics", retries=10, timeout=LONG).data.decode()
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    def read_ready(self) -> None:
        """Wait until the first process serves again; it is where it was."""
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline()) == self.line

    def call(self, _number: int, action: str, **parameters: object) -> dict[str, Any]:
        """Call as a careful caller does: again while there is no answer."""
        client = Client(connect(ConnectionFlags(endpoint=self.line["http"], data=self.data), {}), utc_now)
        end = time.monotonic() + LONG
        while True:
            try:
                return client.call("hbr", action, **parameters)
            except CallFailed as problem:
                if time.monotonic() > end or problem.answer:
                    raise
                time.sleep(0.1)

    def logs(self) -> str:
        return self._log.read_text()[-3000:]

    def end(self) -> None:
        self.services.database.close()
        self.process.kill()
        self.process.communicate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), LONG).close()
    except OSError:
        return False
    return True


def _number_of(pid: int) -> int:
    for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if entry.startswith(b"BACKFLEET_SIBLINGS="):
            return int(entry.partition(b"=")[2].partition(b":")[0])
    return -1


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    found = Group(tmp_path)
    try:
        yield found
    finally:
        found.end()


@pytest.mark.parametrize("killed", [0, 1])
def test_a_wave_survives_the_kill_of_a_process(group: Group, killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host is upgraded once, no report is lost, what is counted never goes back, and all of it ends in order."""
    monkeypatch.setattr(test_replicas, "HOSTS", HOSTS)
    offer_release(group.services)
    before: dict[str, float] = {}

    def kill() -> None:
        before.update(group.figures())
        os.kill(group.serving()[killed], signal.SIGKILL)

    simulation, tasks, agents = asyncio.run(test_replicas.wave(group, kill))  # type: ignore[arg-type]
    assert [task["Description"] for task in tasks] == ["completed"], group.logs()
    outcomes = Counter((item["clientStatus"], item["errorCode"]) for item in json.loads(tasks[0]["Result"]))
    assert outcomes == {("ACTIVATED", ""): HOSTS}, group.logs()
    assert simulation.lost == 0
    assert (len(simulation.begun), set(simulation.begun.values())) == (HOSTS, {1})
    with group.services.database.reading() as tx:
        wanted = fleet.ClientFilter(instance_ids=[agent.instance_id for agent in agents])
        found = fleet.find_clients(tx, group.account, group.services.settings.region, wanted, Page(1, HOSTS + 1))
    assert [client.version for client, _ in found.items] == [NEW] * HOSTS
    until(lambda: group.figures()["backfleet_processes"] == 2)
    after = group.figures()
    counted = [name for name in before if name.partition("{")[0].endswith(("_total", "_count", "_bucket"))]
    assert {name: after.get(name, 0.0) for name in counted if after.get(name, 0.0) < before[name]} == {}
    serving = group.serving()
    group.process.send_signal(signal.SIGTERM)
    assert group.process.wait(LONG) == 0
    assert not [pid for pid in serving if Path(f"/proc/{pid}").exists()]


def test_the_data_folder_is_kept_while_a_process_is_replaced(group: Group) -> None:
    """Another server is refused although the first process is away; `kill -HUP` restarts all, on the same ports."""
    first, second = group.serving()
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
    assert not {first, second} & set(group.serving())
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
