"""A fleet of real hosts is moved by the command line, in rings, while backups run through its shims."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import main
from backfleet.clock import utc_now
from backfleet_host.agent.runs.exits import Exits, NotAvailable
from backfleet_host.platforms import platform_here
from journeys.installation import PACKAGE, Installation, wait_for
from journeys.rclone_backups import HEALTHY, MANIFEST, STOPS_HALF_WAY, Copy, Nights, release

pytestmark = pytest.mark.slow

HOSTS = 24
PER_CALL = 20  # InstallBackupClients takes no more
SECONDS = 240.0  # for a rollout of all of them, on a busy machine

POLICY = """
name = "{name}"
package = "courier"
version = "{version}"
deadline = "{deadline}"

[[ring]]
name = "canary"
count = 2

[[ring]]
name = "early"
percent = 20

[[ring]]
name = "half"
percent = 50

[[ring]]
name = "rest"

[pace]
in_flight = "50%"
{more}
"""

SETTINGS = (
    POLICY.replace('version = "{version}"', 'kind = "settings"').replace("{more}", "") + "[settings]\nmost_cores = 2\n"
)

JUDGED_BY_BACKUPS = """
name = "{name}"
package = "rclone"
version = "1.75.2"
deadline = "{deadline}"

[[ring]]
name = "canary"
count = 2
gates = [{{ kind = "backups", first_run = "each", failures_above_baseline = 0, watch = true }}]

[[ring]]
name = "early"
percent = 20
gates = [{{ kind = "backups", first_run = "each", failures_above_baseline = 0 }}]

[[ring]]
name = "half"
percent = 50

[[ring]]
name = "rest"

[failure]
max_failed = 2
then = "roll-back-member"
"""
"""The budget bears both canaries: only the gate can halt it."""


class Backups(threading.Thread):
    """Runs every host's client through its shim, again and again, and notes what failed."""

    def __init__(self, shims: list[Path]) -> None:
        super().__init__(daemon=True)
        self.shims, self.failures, self.runs, self.over = shims, [], 0, threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            while not self.over.is_set():
                for done in pool.map(self._one, self.shims):
                    self.runs += 1
                    if done.returncode != 0:
                        self.failures.append(f"{done.args}: {done.returncode} {done.stdout} {done.stderr}")

    @staticmethod
    def _one(shim: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([shim], capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> None:
        self.over.set()
        self.join()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server, and hosts with 1.0 of the client."""
    made = Installation(tmp_path_factory.mktemp("fleet"))
    try:
        made.start()
        made.enrol(HOSTS)
        made.add_release("1.0")
        ids = [host.instance_id for host in made.hosts]
        for some in (ids[:PER_CALL], ids[PER_CALL:]):
            started = made.call("InstallBackupClients", InstanceIds=some)
            assert made.finished(started["TaskId"])["Progress"] == 100
        yield made
    finally:
        made.close()


@pytest.fixture
def backups(fleet: Installation) -> Iterator[Backups]:
    """Backups on every host, while the test runs."""
    running = Backups([host.root / "bin" / PACKAGE for host in fleet.hosts])
    running.start()
    yield running
    running.stop()


def cli(fleet: Installation, *arguments: str) -> Result:
    """Run a command of the command line on that server."""
    return CliRunner().invoke(main, [*arguments, "--data", str(fleet.data)])


def apply(fleet: Installation, name: str, version: str, more: str = "") -> str:
    """Apply a policy that moves the fleet to a version; return the rollout's id."""
    return apply_text(fleet, name, POLICY, version=version, more=more)


def apply_text(fleet: Installation, name: str, text: str, **fields: str) -> str:
    """Apply a policy's file; return the rollout's id."""
    file = fleet.folder / f"{name}.toml"
    deadline = (utc_now() + timedelta(hours=2)).isoformat()
    file.write_text(text.format(name=name, deadline=deadline, **fields))
    preview = cli(fleet, "rollout", "preview", str(file))
    assert preview.exit_code == 0, preview.output
    done = cli(fleet, "rollout", "apply", str(file), "--json")
    assert done.exit_code == 0, done.output
    found: str = json.loads(done.output)["RolloutId"]
    return found


def show(fleet: Installation, rollout: str) -> dict[str, Any]:
    done = cli(fleet, "rollout", "show", rollout, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def over(fleet: Installation, rollout: str, *states: str) -> dict[str, Any]:
    """Wait until a rollout is in one of these states; return it."""

    def poll() -> dict[str, Any] | None:
        found = show(fleet, rollout)
        return found if found["State"] in states else None

    return wait_for(poll, SECONDS)


def versions(fleet: Installation) -> list[str]:
    """Return what each host's shim runs."""
    shims = [host.root / "bin" / PACKAGE for host in fleet.hosts]
    return [subprocess.run([shim], capture_output=True, text=True, check=True).stdout.split()[1] for shim in shims]


@pytest.mark.timeout(600)
def test_a_good_release_goes_through_all_rings_and_can_be_taken_back(fleet: Installation, backups: Backups) -> None:
    """No backup fails on the way there nor back, and no host is left between two versions."""
    fleet.add_release("2.0")
    rollout = apply(fleet, "to-2.0", "2.0")
    done = over(fleet, rollout, "completed", "halted")
    assert (done["State"], [ring["Succeeded"] for ring in done["Rings"]]) == ("completed", [2, 4, 12, 6])
    assert set(versions(fleet)) == {"2.0"}
    assert cli(fleet, "rollout", "roll-back", rollout).exit_code == 0
    back = over(fleet, rollout, "rolled_back", "halted")
    assert sum(ring["RolledBack"] for ring in back["Rings"]) == HOSTS
    assert set(versions(fleet)) == {"1.0"}
    assert backups.runs > HOSTS
    assert backups.failures == []


@pytest.mark.timeout(600)
def test_settings_go_through_the_rings_and_touch_no_version(fleet: Installation, backups: Backups) -> None:
    """Each host has them in its file for whatever runs the client there."""
    before = versions(fleet)
    rollout = apply_text(fleet, "settings", SETTINGS)
    done = over(fleet, rollout, "completed", "halted")
    assert (done["State"], [ring["Succeeded"] for ring in done["Rings"]]) == ("completed", [2, 4, 12, 6])
    saved = [json.loads((host.root / PACKAGE / "settings.json").read_text()) for host in fleet.hosts]
    assert saved == [{"most_cores": 2}] * HOSTS
    assert versions(fleet) == before
    assert backups.failures == []


@pytest.mark.timeout(600)
def test_a_release_that_is_unhealthy_stops_at_the_canaries(fleet: Installation, backups: Backups) -> None:
    """They roll back by themselves; nobody else gets an order, and no backup fails."""
    fleet.add_release("3.0", health=1)
    rollout = apply(fleet, "to-3.0", "3.0")
    done = over(fleet, rollout, "completed", "halted")
    assert done["State"] == "halted"
    assert sum(ring["RolledBack"] for ring in done["Rings"]) <= 2
    assert done["Rings"][1]["State"] == "pending"
    assert "3.0" not in versions(fleet)
    assert cli(fleet, "rollout", "cancel", rollout).exit_code == 0
    assert backups.failures == []
    _is_proven_elsewhere(fleet, rollout)


@pytest.fixture
def copies(fleet: Installation) -> Iterator[list[Copy]]:
    """Every host makes its backups with rclone 1.74.4, and each has one."""
    try:
        Exits().close()
    except NotAvailable as problem:
        pytest.skip(f"no process connector, so no host knows how its backups end: {problem}")
    _offer(fleet, "1.74.4", HEALTHY)
    done = cli(fleet, "client", "install", "--all", "--package", "rclone", "--yes", "--wait")
    assert done.exit_code == 0, done.output
    found = [Copy(host) for host in fleet.hosts]
    assert [copy.back_up().returncode for copy in found] == [0] * HOSTS
    yield found
    shutil.rmtree(fleet.folder / "programs")  # 170 MB


def _offer(fleet: Installation, version: str, script: str) -> None:
    file = release(version, fleet.folder, script)
    words = ["--package", "rclone", "--version", version, "--platform", platform_here(), "--manifest", str(MANIFEST)]
    done = cli(fleet, "release", "add", str(file), *words)
    assert done.exit_code == 0, done.output


@pytest.mark.timeout(600)
def test_a_healthy_release_whose_real_backups_fail_is_taken_back_from_the_canaries(
    fleet: Installation, copies: list[Copy]
) -> None:
    """Its health command is content. The gate on backups halts; nobody else gets an order, and no backup is lost."""
    _offer(fleet, "1.75.2", STOPS_HALF_WAY)
    nights = Nights(copies)
    nights.start()
    try:
        rollout = apply_text(fleet, "rclone", JUDGED_BY_BACKUPS)
        halted = over(fleet, rollout, "halted", "completed")
        taken_back = wait_for(lambda: _settled(fleet, rollout), SECONDS)
    finally:
        nights.stop()
    assert "a check that watches does not hold: backups: " in halted["Reason"], halted
    assert [ring["State"] for ring in halted["Rings"]] == ["running", "pending", "pending", "pending"]
    canaries = {each["InstanceId"] for each in taken_back}
    assert 1 <= len(canaries) <= 2
    assert {each["Ring"] for each in taken_back} == {"canary"}
    assert {(each["State"], each["FirstRun"]) for each in taken_back} == {("rolled_back", "failed")}

    assert set(nights.failures) == canaries
    assert all(each.startswith("8 ") for each in nights.failures.values()), "the transfer limit of rclone itself"
    assert {copy.version for copy in copies} == {"1.74.4"}
    there_and_back = ["1.74.4", "1.74.4", "1.75.2"]
    for copy in copies:
        assert copy.orders() == (there_and_back if copy.host.instance_id in canaries else ["1.74.4"])
        assert copy.back_up().returncode == 0
        assert copy.is_whole
    _is_proven_elsewhere(fleet, rollout, holds="its first backup under the new version failed")
    assert cli(fleet, "rollout", "cancel", rollout).exit_code == 0


def _settled(fleet: Installation, rollout: str) -> list[dict[str, Any]]:
    """Return the members that an order had left for, once nothing of them is under way."""
    done = cli(fleet, "rollout", "show", rollout, "--members", "--json")
    begun = [each for each in json.loads(done.output)["MemberList"] if each["State"] not in ("pending", "waiting")]
    is_under_way = any(each["State"] in ("upgrading", "verifying", "rolling_back") for each in begun)
    return [] if is_under_way else begun


def _is_proven_elsewhere(fleet: Installation, rollout: str, *, holds: str = "") -> None:
    """Export the evidence, and verify it on another machine: a process with the file and the key alone."""
    elsewhere = fleet.folder / f"elsewhere-{rollout}"
    elsewhere.mkdir()
    file, key = elsewhere / "evidence.jsonl", elsewhere / "key.pem"
    key.write_text(cli(fleet, "rollout", "evidence", "key").output)
    done = cli(fleet, "rollout", "evidence", "export", rollout, str(file))
    assert done.exit_code == 0, done.output
    assert holds in file.read_text()
    verify = ["rollout", "evidence", "verify", file.name, "--key", key.name]
    verified = subprocess.run(
        [sys.executable, "-m", "backfleet.cli", *verify],
        cwd=elsewhere,
        env={"HOME": str(elsewhere), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, "intact" in verified.stdout) == (0, True), verified.stderr
    lines = file.read_text().splitlines(keepends=True)
    for tampered in (lines[:-1], lines[:5] + lines[6:], [line.replace("rolled_back", "succeeded") for line in lines]):
        file.write_text("".join(tampered))
        found = CliRunner().invoke(main, ["rollout", "evidence", "verify", str(file), "--key", str(key)])
        assert (found.exit_code, "NOT as it was signed" in found.output) == (1, True), found.output
