"""The host program upgrades itself, as a package, on a machine with a real systemd. What cannot carry orders goes back.

The versions are the real program, packed again with another number and, some of them, with a fault in their agent.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import machine as machines
from backfleet_host.agent.setup.systemd_unit import unit_name, watchdog_name
from backfleet_host.layout import HOST_PACKAGE
from journeys.host_programs import FAULTS, PROOF_SECONDS, compiled, offer
from journeys.installation import LONG, Installation, processes_of, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not()),
]


@dataclass
class Site:
    """A server, and a machine whose agent runs from the package."""

    server: Installation
    machine: machines.Machine
    root: Path
    instance_id: str = ""

    @property
    def unit(self) -> str:
        return unit_name(self.root)

    def offer(self, version: str, fault: str = "", **more: Any) -> None:
        """Offer a version of the host program."""
        offer(self.server, version, self.unit, fault, **more)

    def begin(self, action: str) -> str:
        """Give an order to the host; return the id of its task."""
        return str(self.server.call(action, InstanceIds=[self.instance_id])["TaskId"])

    def result(self, task_id: str) -> dict[str, Any]:
        """Wait until a task is over; return how it ended on the host."""
        (item,) = self.server.finished(task_id)["Result"]
        return dict(item)

    def connected(self) -> list[dict[str, Any]]:
        """Return the hosts that are connected."""
        found = self.server.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou")["Instances"]
        return [each for each in found if each["Connected"]]

    def current(self) -> str:
        """Return the version that the host is at."""
        return (self.root / HOST_PACKAGE / "current").resolve().name

    def agents(self) -> list[int]:
        """Return the processes that are agents of this root."""
        words = [(pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")) for pid in processes_of(self.root)]
        return [pid for pid, found in words if b"run" in found and b"--root" in found]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A host that was moved over to the package, as docs/host-program.md says."""
    with tempfile.TemporaryDirectory(prefix="bf-") as short:
        server = Installation(Path(short) / "s")
        server.folder.mkdir()
        try:
            server.start()
            with machines.switched_on(Path(short) / "m", [server.folder]) as machine:
                yield _moved_over(Site(server, machine, server.folder / "h"))
        finally:
            server.close()


def _moved_over(site: Site) -> Site:
    first = site.server.folder / "backfleet-host"
    first.write_bytes(compiled())
    code = site.server.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=1)
    ca = site.server.data / "tls" / "ca.pem"
    words = ["--server", site.server.https, "--ca", ca, "--activation-id", code["ActivationId"], "--root", site.root]
    subprocess.run(
        [sys.executable, first, "enrol", *words, "--activation-code", code["ActivationCode"]],
        check=True,
        capture_output=True,
    )
    done = site.machine.run(sys.executable, first, "service", "--root", site.root)
    assert done.returncode == 0, done.stderr
    (found,) = wait_for(site.connected, LONG)
    site.instance_id = found["InstanceId"]
    site.offer("1.0")
    result = site.result(site.begin("InstallBackupClients"))
    assert result["errorCode"] == "", result
    done = site.machine.run(site.root / "bin" / HOST_PACKAGE, "service", "--root", site.root)
    assert done.returncode == 0, done.stderr
    wait_for((site.root / "agent" / "ready.json").exists, LONG)
    return site


def test_a_good_version_takes_over_and_carries_orders(site: Site) -> None:
    """The unit runs the new program; an uninstall, which would strand the host, is refused by it with its code."""
    site.offer("1.1")
    result = site.result(site.begin("UpgradeBackupClients"))
    assert (result["errorCode"], site.current()) == ("", "1.1"), result
    assert len(site.agents()) == 1
    assert site.machine.systemctl("is-active", watchdog_name(site.unit, "timer")) == "active"
    refused = site.result(site.begin("UninstallBackupClients"))
    assert refused["errorCode"] == "ManagedElsewhere", refused
    assert site.current() == "1.1"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_version_that_cannot_carry_orders_is_taken_back(site: Site, fault: str) -> None:
    """Within the limit of its proof, and the old agent reports it."""
    before = site.current()
    site.offer(version := f"2.{[*FAULTS].index(fault)}", fault)
    result = site.result(site.begin("UpgradeBackupClients"))
    assert result["errorCode"] == "RolledBack", result
    assert site.current() == before != version
    wait_for(site.connected, LONG)
    assert len(site.agents()) == 1


def test_the_watchdog_takes_back_what_a_power_cut_left(site: Site) -> None:
    """The agent that starts after the power cut hangs, and recovers nothing. The server is away: nothing new comes."""
    before = site.current()
    site.offer("3.0", "hangs", proof_seconds=PROOF_SECONDS)  # the power goes before they are over
    task_id = site.begin("UpgradeBackupClients")
    wait_for(lambda: site.current() == "3.0", LONG)
    site.machine.power_off()
    site.server.kill()
    assert site.current() == "3.0"
    site.machine.boot()
    site.machine.systemctl("start", watchdog_name(site.unit, "service"))
    assert site.current() == before, site.machine.log.read_text()[-3000:]
    own = json.loads((site.root / HOST_PACKAGE / "outcome.json").read_bytes())["report"]
    assert (own["code"], own["current_version"]) == ("RolledBack", before), own
    assert len(site.agents()) == 1
    site.server.start()
    result = site.result(task_id)
    assert result["errorCode"] == "RolledBack", result
    assert len(site.agents()) == 1


def test_a_running_agent_makes_lost_links_again(site: Site) -> None:
    """One after the other, and both at once; the watchdog's programs are found through them."""
    package, before = site.root / HOST_PACKAGE, site.current()
    for lost in (["verified"], ["current"], ["verified", "current"]):
        for name in lost:
            (package / name).unlink()
        wait_for(lambda lost=lost: all((package / name).is_symlink() for name in lost), LONG)
        former = package / "previous"
        assert site.current() in (before, former.readlink().name if former.is_symlink() else before)
        before = site.current()
    assert len(site.agents()) == 1


def test_a_version_that_was_kept_and_crashes_later_is_taken_back_by_the_one_before(site: Site) -> None:
    """At every start, as after an upgrade of Python. The server is away: the way back needs what was there before."""
    before = site.current()
    site.offer("4.0", "later")
    assert site.result(site.begin("UpgradeBackupClients"))["errorCode"] == ""
    watchdog = watchdog_name(site.unit, "service")
    site.machine.systemctl("start", watchdog)
    assert site.current() == "4.0", "it works, and stays"
    site.machine.systemctl("stop", site.unit)
    for _ in range(3):
        site.machine.systemctl("start", watchdog)
    assert site.current() == "4.0", "somebody has stopped it, and it stays"
    (site.root / "broken-4.0").touch()
    site.machine.systemctl("start", site.unit)
    site.server.kill()
    for _ in range(3):
        site.machine.systemctl("start", watchdog)
    assert site.current() == before, site.machine.log.read_text()[-3000:]
    own = json.loads((site.root / HOST_PACKAGE / "outcome.json").read_bytes())["report"]
    assert (own["code"], own["current_version"]) == ("RolledBack", before), own
    site.server.start()
    wait_for(site.connected, LONG)
    assert len(site.agents()) == 1
    result = site.result(site.begin("UpgradeBackupClients"))
    assert (result["errorCode"], site.current()) == ("RolledBack", before), "it is quarantined"
