"""A whole installation in a temporary folder: the real server, real agents, a small real client, real processes."""

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet_host.platforms import platform_here
from warm_server import COLD, WarmServer

PACKAGE = "courier"
CLIENT = '#!/bin/sh\n[ "$1" = hold ] && while [ -e "$2" ]; do sleep 0.05; done\necho courier {version}\nexit {health}\n'
LONG = 600.0  # seconds for anything that is right: on a machine that is busy with other tests a tenth is seldom enough


class Installation:
    """One server and its hosts. Processes are started here and ended here, and by nobody else."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str = "",
        program: Sequence[str | Path] = (),
        host_program: Sequence[str | Path] = (),
    ) -> None:
        """Name the folder of everything, and other programs than those of this checkout."""
        self.program = program or COLD
        self.host_program = host_program or HOST_PROGRAM
        self.folder, self.data = folder, folder / "data"
        self.ports = free_ports(2)
        self.database_url = database_url
        self.server: subprocess.Popen[bytes] | None = None
        self.hosts: list[Host] = []

    def start(self, *, die_at: str = "", settings: dict[str, str] | None = None) -> None:
        """Start the server and wait until it reports that it is ready."""
        http, https = self.ports
        words = ["serve", "--data", str(self.data), "--http", f"127.0.0.1:{http}", "--https", f"127.0.0.1:{https}"]
        if self.database_url:
            words += ["--database-url", self.database_url]
        environment = os.environ | {"BACKFLEET_FAILPOINT": die_at} | (settings or {})
        with (self.folder / "server.log").open("ab") as log:
            begin = WarmServer if self.program == COLD else subprocess.Popen
            self.server = begin([*self.program, *words], stdout=subprocess.PIPE, stderr=log, env=environment)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert json.loads(line or b"{}").get("event") == "ready", self.log()

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        assert self.server is not None
        self.server.kill()
        self.wait_for_death()

    def stop(self) -> int:
        """End the server with SIGTERM; return its exit code."""
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        return self.wait_for_death()

    def wait_for_death(self) -> int:
        """Wait for a server that is about to end; return its exit code."""
        assert self.server is not None
        code = self.server.wait(LONG)
        assert self.server.stdout is not None
        self.server.stdout.close()
        return code

    @property
    def https(self) -> str:
        return f"127.0.0.1:{self.ports[1]}"

    def admin(self) -> dict[str, str]:
        """Return the content of `admin.json`."""
        found: dict[str, str] = json.loads((self.data / "admin.json").read_text())
        return found

    def client(self) -> Client:
        """Return the command line's own client, with the key of the first account."""
        return Client(connect(ConnectionFlags(data=self.data), {}), utc_now)

    def call(self, action: str, product: str = "hbr", **parameters: object) -> dict[str, Any]:
        """Call an operation once."""
        return self.client().call(product, action, **parameters)

    def call_until_answered(self, action: str, **parameters: object) -> dict[str, Any]:
        """Call as a careful caller does: retry while there is no response."""
        return wait_for(lambda: self._try(action, **parameters), LONG)

    def _try(self, action: str, **parameters: object) -> dict[str, Any] | None:
        try:
            return self.call(action, **parameters)
        except CallFailed as problem:
            if problem.answer:
                raise
            return None

    def add_release(self, version: str, *, health: int = 0, switch: str = "anytime", client: str = CLIENT) -> None:
        """Offer a version of the small client; a `health` other than 0 makes it unhealthy."""
        file = self.folder / f"{version}.tar.gz"
        text = client.format(version=version, health=health).encode()
        with tarfile.open(file, "w:gz") as archive:
            info = tarfile.TarInfo(f"bin/{PACKAGE}")
            info.mode, info.size = 0o755, len(text)
            archive.addfile(info, io.BytesIO(text))
        manifest = {"switch": switch, "health": {"command": [PACKAGE], "expect": "courier {version}", "seconds": 120}}
        self.client().upload(
            "AddRelease",
            file,
            lambda _sent: None,
            PackageName=PACKAGE,
            ReleaseVersion=version,
            Platform=platform_here(),
            Format="tar",
            FileName=file.name,
            Manifest=manifest,
        )

    def enrol(self, count: int, *, allow_shell: bool = False) -> None:
        """Add hosts, and wait until their agents run."""
        code = self.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=count)
        for _ in range(count):
            host = Host(self, self.folder / f"host-{len(self.hosts) + 1}")
            host.enrol(code["ActivationId"], code["ActivationCode"])
            host.start(allow_shell=allow_shell)
            self.hosts.append(host)
        for host in self.hosts:
            host.wait_until_running()

    def install(self, version: str) -> None:
        """Add a release and install it on every host."""
        self.add_release(version)
        started = self.call("InstallBackupClients", InstanceIds=[host.instance_id for host in self.hosts])
        assert self.finished(started["TaskId"])["Progress"] == 100

    def task(self, task_id: str) -> dict[str, Any]:
        """Call DescribeTask and parse its Result."""
        found = self.call_until_answered("DescribeTask", TaskId=task_id)
        return {**found, "Result": json.loads(found["Result"])}

    def finished(self, task_id: str) -> dict[str, Any]:
        """Wait until a task is over; return it."""

        def poll() -> dict[str, Any] | None:
            found = self.task(task_id)
            return found if found["Description"] != "created" else None

        return wait_for(poll, LONG)

    def log(self) -> str:
        """Return the end of the server's log."""
        return (self.folder / "server.log").read_text()[-3000:]

    def close(self) -> None:
        """End every process that was started, and the processes those started."""
        for host in self.hosts:
            host.stop()
        if self.server is not None and self.server.poll() is None:
            self.kill()


class Host:
    """One managed host: a folder and an agent."""

    def __init__(self, installation: Installation, root: Path) -> None:
        self.installation, self.root = installation, root
        self.instance_id = ""
        self.agent: subprocess.Popen[bytes] | None = None

    def enrol(self, activation_id: str, code: str) -> None:
        """Enrol this host; once."""
        ca = str(self.installation.data / "tls" / "ca.pem")
        words = ["--server", self.installation.https, "--ca", ca, "--activation-id", activation_id]
        done = subprocess.run(
            [*self.installation.host_program, "enrol", *words, "--activation-code", "-", "--root", str(self.root)],
            input=code.encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self, *, allow_shell: bool = False) -> None:
        """Start the agent in the background."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root.parent / f"{self.root.name}.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    *self.installation.host_program,
                    "run",
                    "--root",
                    str(self.root),
                    *(["--allow-shell"] if allow_shell else []),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def wait_until_running(self) -> None:
        """Wait until the agent reports that it runs."""
        assert self.agent is not None
        if not self.instance_id:
            assert self.agent.stdout is not None
            self.instance_id = json.loads(self.agent.stdout.readline())["instance_id"]

    def kill_agent(self) -> None:
        """Kill the agent alone, as the kernel does when memory is short. Orders that it started go on."""
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()
        assert self.agent.stdout is not None
        self.agent.stdout.close()

    def stop(self) -> None:
        """End the agent and every process it started."""
        if self.agent is not None:
            if self.agent.poll() is None:
                self.agent.send_signal(signal.SIGTERM)
                self.agent.wait(LONG)
            assert self.agent.stdout is not None
            self.agent.stdout.close()
        for pid in processes_of(self.root):
            os.kill(pid, signal.SIGKILL)

    def runs(self) -> str:
        """Return what the client prints, run through its shim."""
        shim = self.root / "bin" / PACKAGE
        return subprocess.run([shim], capture_output=True, text=True, check=False).stdout.strip()

    def outcomes(self, version: str) -> list[dict[str, Any]]:
        """Return the reports of orders to this version."""
        found = [json.loads(path.read_text())["report"] for path in (self.root / PACKAGE / "outcomes").glob("*.json")]
        return [report for report in found if report["to_version"] == version]


HOST_PROGRAM = [sys.executable, "-m", "backfleet_host"]


def processes_of(root: Path) -> list[int]:
    """Return the live processes with this root in their arguments."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(root).encode() in words.read_bytes():
                found.append(int(words.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def free_ports(count: int) -> list[int]:
    """Return free ports below those of outgoing connections, so that a server that starts again finds its own free."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(10_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        ports.append(port)
    return ports


def wait_for(poll: Callable[[], Any], seconds: float) -> Any:
    """Call `poll` until it returns something true; return that."""
    until = time.monotonic() + seconds
    while True:
        found = poll()
        if found:
            return found
        assert time.monotonic() < until, f"nothing within {seconds} s"
        time.sleep(0.1)
