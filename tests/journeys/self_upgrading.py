"""Hosts whose agent runs from the package, each on a machine of its own with a real systemd, and their server."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import machine as machines
from backfleet_host.agent.setup.systemd_unit import unit_name
from backfleet_host.layout import DEFAULT_ROOT, HOST_PACKAGE
from journeys.host_programs import PYTHON, compiled, offer
from journeys.installation import LONG, Installation, wait_for

UNIT = unit_name(DEFAULT_ROOT)
DROP_IN = '[Service]\nEnvironment="BACKFLEET_HOST_DIE_AT={point}"\n'


class SelfUpgradingHost:
    """A machine with the default root, whose folder is also visible outside, in `root`."""

    def __init__(self, server: Installation, machine: machines.Machine, root: Path) -> None:
        self.server, self.machine, self.root = server, machine, root
        self.instance_id = ""

    @property
    def folder(self) -> Path:
        """The folder of the package, seen from outside."""
        return self.root / HOST_PACKAGE

    def enrol(self, code: dict[str, Any]) -> None:
        """Enrol the host and start its agent, from a program that is not in the package."""
        first = self.server.folder / HOST_PACKAGE
        words = ["--server", self.server.https, "--ca", self.server.data / "tls" / "ca.pem"]
        words += ["--activation-id", code["ActivationId"], "--activation-code", code["ActivationCode"]]
        self.check(PYTHON, first, "enrol", *words)
        self.check(PYTHON, first, "service")
        identity = json.loads((self.root / "agent" / "identity.json").read_bytes())
        self.instance_id = identity["instance_id"]
        wait_for((self.root / "agent" / "ready.json").exists, LONG)

    def move_over(self) -> None:
        """Have the unit start whatever version of the package is current."""
        self.check("/usr/local/bin/backfleet-host", "service")
        wait_for(self.is_connected, LONG)

    def check(self, *words: str | Path) -> str:
        """Run a program on the machine, which succeeds; return what it printed."""
        done = self.machine.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        return done.stdout

    def link(self, name: str) -> str:
        """Return the version that one of the package's links names; "" if there is no such link."""
        path = self.folder / name
        return path.readlink().name if path.is_symlink() else ""

    def agents(self) -> int:
        """Return how many agents run on the machine."""
        script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o ' [r]un --root ' | wc -l"
        return int(subprocess.run(self.machine.entering("sh", "-c", script), capture_output=True, check=True).stdout)

    def is_connected(self) -> bool:
        """Return whether the server sees a socket of this host."""
        found = self.server.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou", MaxResults=50)["Instances"]
        return any(each["Connected"] for each in found if each["InstanceId"] == self.instance_id)

    def die_at(self, point: str) -> None:
        """Let the process of the next order be killed there. Agents that systemd starts later are not concerned."""
        folder = self.machine.units / f"{UNIT}.d"
        folder.mkdir()
        (folder / "die.conf").write_text(DROP_IN.format(point=point))
        self.machine.systemctl("daemon-reload")
        self.machine.systemctl("restart", UNIT)
        wait_for((self.root / "agent" / "ready.json").exists, LONG)
        shutil.rmtree(folder)
        self.machine.systemctl("daemon-reload")


@contextlib.contextmanager
def hosts_moved_over(
    folder: Path, count: int, prepare: Callable[[Path], Sequence[tuple[Path, Path]]] = lambda _root: ()
) -> Iterator[tuple[Installation, list[SelfUpgradingHost]]]:
    """A server, and hosts that were moved over to version 1.0, as docs/host-program.md says.

    `prepare` is called with the empty folder of each root, and returns what else its machine shares, and as what.
    """
    server = Installation(folder / "s")
    server.folder.mkdir()
    with contextlib.ExitStack() as switched_on:
        try:
            server.start()
            (server.folder / HOST_PACKAGE).write_bytes(compiled())
            offer(server, "1.0", UNIT)
            code = server.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=count)
            hosts = []
            for number in range(count):
                root = folder / f"h{number}"
                root.mkdir()
                shared = [server.folder, (root, DEFAULT_ROOT), *prepare(root)]
                machine = machines.switched_on(folder / f"m{number}", shared)
                hosts.append(SelfUpgradingHost(server, switched_on.enter_context(machine), root))
            with ThreadPoolExecutor(count) as pool:
                [*pool.map(lambda host: host.enrol(code), hosts)]
            ids = [host.instance_id for host in hosts]
            words = {"PackageName": HOST_PACKAGE, "InstanceIds": ids}
            done = server.finished(server.call("InstallBackupClients", **words)["TaskId"])
            assert [each["errorCode"] for each in done["Result"]] == [""] * count, done
            for host in hosts:
                host.move_over()
            yield server, hosts
        finally:
            server.close()
