"""One server of several processes, real ones, on either database. Each of them can be chosen, and killed."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import urllib3

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from journeys.installation import LONG
from warm_server import COLD, WarmServer

COUNT = 2  # processes


class Group:
    """A server of two processes. `wave` of the replicas' journey drives it as it drives a pair."""

    def __init__(self, folder: Path, database_url: str = "", **environment: str) -> None:
        """Start it; `environment` has settings as variables, without the prefix of their names."""
        self.data, self.log = folder / "data", folder / "log"
        self._words = ["serve", "--data", str(self.data), "--processes", str(COUNT)]
        self._words += ["--database-url", database_url] if database_url else []
        self._known: dict[int, int] = {}
        self._connections: list[HTTPConnection] = []
        self.process = self.start(**environment)
        assert self.process.stdout is not None
        self.line: dict[str, str] = json.loads(self.process.stdout.readline() or "{}")
        assert self.line, self.logs()
        self.host = self.line["http"].removeprefix("http://")
        self.ports = [int(self.host.rpartition(":")[2])] * 2
        until(lambda: self.figures()["backfleet_processes"] == COUNT)
        flags = {
            "data": self.data,
            "http": "127.0.0.1:1",
            "https": "127.0.0.1:2",
            "database_url": database_url or None,
        }
        self.services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
        self.account: str = self.admin["account_id"]

    @property
    def admin(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "admin.json").read_text())
        return found

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        settings = {f"BACKFLEET_{name}": value for name, value in environment.items()}
        with self.log.open("ab") as log:
            return WarmServer(
                [*COLD, *self._words, *listen],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | settings,
            )

    def serving(self) -> dict[int, int]:
        """Return the pids of the serving processes by their numbers. One that is replaced keeps its number."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {number: pid for number, pid in self._known.items() if str(pid) in children}
        new = sorted((int(pid) for pid in children if int(pid) not in found.values()), key=_began)
        for number in range(COUNT):
            if number not in found and new:
                found[number] = new.pop(0)
        self._known = found
        return found

    def figures(self) -> dict[str, float]:
        with urllib3.PoolManager() as pool:
            text = pool.request("GET", f"{self.line['http']}/metrics", retries=10, timeout=LONG).data.decode()
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    def read_ready(self) -> None:
        """Wait until the first process serves again; it is where it was."""
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline()) == self.line

    def is_whole(self) -> bool:
        """Return whether all processes answer, none of them one that is about to be replaced."""
        return len(self.serving()) == COUNT and self.figures()["backfleet_processes"] == COUNT

    @contextmanager
    def only(self, number: int) -> Iterator[None]:
        """Stop the other processes meanwhile: whoever connects is at this one, then and later."""
        others = [pid for other, pid in self.serving().items() if other != number]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: _state(pid) == "T")  # type: ignore[misc]
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def connected_to(self, number: int) -> HTTPConnection:
        """Return a connection to this process, which `hang_up` closes."""
        found = self.connection()
        with self.only(number):
            found.request("GET", "/healthz")
            assert found.getresponse().read() is not None
        return found

    def connection(self) -> HTTPConnection:
        """Return one to whichever process, not connected yet."""
        found = HTTPConnection(self.host, timeout=LONG)
        self._connections.append(found)
        return found

    def hang_up(self) -> None:
        """Close all connections."""
        for one in self._connections:
            one.close()
        self._connections.clear()

    @property
    def client(self) -> Client:
        return Client(connect(ConnectionFlags(endpoint=self.line["http"], data=self.data), {}), utc_now)

    def call(self, _number: int, action: str, *, product: str = "hbr", **parameters: object) -> dict[str, Any]:
        """Call as a careful caller does: again while there is no answer."""
        end = time.monotonic() + LONG
        while True:
            try:
                return self.client.call(product, action, **parameters)
            except CallFailed as problem:
                if time.monotonic() > end or problem.answer:
                    raise
                time.sleep(0.1)

    def deaths(self) -> int:
        """Return how many serving processes ended by themselves."""
        return self.log.read_text().count("ended by itself")

    def logs(self) -> str:
        return self.log.read_text()[-3000:]

    def end(self) -> None:
        self.services.database.close()
        self.process.kill()
        self.process.communicate()


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)


def _began(pid: int) -> tuple[int, int]:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]), pid


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
