"""A fleet of real hosts is moved by the command line, in rings, while backups run through its shims."""

import itertools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backfleet.cli import main
from backfleet_host.agent.runs.exits import Exits, NotAvailable
from backfleet_host.platforms import platform_here
from journeys.installation import PACKAGE, Installation, wait_for
from journeys.rclone_backups import HEALTHY, MANIFEST, STOPS_HALF_WAY, Copy, Nights, release
from journeys.rollout_commands import SECONDS, UNDER_WAY, apply, end_open, over, policy_file, run, show

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HOSTS = 24
PER_CALL = 20  # InstallBackupClients takes no more
BETWEEN_BACKUPS = 0.1  # seconds, so that the machine has time for something else

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
        for shim in itertools.cycle(self.shims):
            if self.over.wait(BETWEEN_BACKUPS):
                return
            try:
                done = subprocess.run([shim], capture_output=True, text=True, timeout=SECONDS, check=False)
            except (OSError, subprocess.TimeoutExpired) as problem:
                self.failures.append(f"{shim}: {problem}")
                return
            self.runs += 1
            if done.returncode != 0:
                self.failures.append(f"{done.args}: {done.returncode} {done.stdout} {done.stderr}")

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


@pytest.fixture(autouse=True)
def usable_fleet(fleet: Installation) -> Iterator[None]:
    """A test that fails leaves no open rollout to the next one."""
    yield
    end_open(fleet)


@pytest.fixture
def backups(fleet: Installation) -> Iterator[Backups]:
    """Backups on every host, while the test runs."""
    running = Backups([host.root / "bin" / PACKAGE for host in fleet.hosts])
    running.start()
    yield running
    running.stop()


def versions(fleet: Installation) -> list[str]:
    """Return what each host's shim runs."""
    shims = [host.root / "bin" / PACKAGE for host in fleet.hosts]
    return [subprocess.run([shim], capture_output=True, text=True, check=True).stdout.split()[1] for shim in shims]


def test_a_good_release_goes_through_all_rings_and_can_be_taken_back(fleet: Installation, backups: Backups) -> None:
    """No backup fails on the way there nor back, and no host is left between two versions."""
    fleet.add_release("2.0")
    run(fleet, "rollout", "preview", str(policy_file(fleet, "to-2.0", POLICY, version="2.0", more="")))
    rollout = apply(fleet, "to-2.0", POLICY, version="2.0", more="")
    done = over(fleet, rollout, "completed", "halted")
    assert (done["State"], [ring["Succeeded"] for ring in done["Rings"]]) == ("completed", [2, 4, 12, 6])
    assert set(versions(fleet)) == {"2.0"}
    run(fleet, "rollout", "roll-back", rollout)
    back = over(fleet, rollout, "rolled_back", "halted")
    assert sum(ring["RolledBack"] for ring in back["Rings"]) == HOSTS
    assert set(versions(fleet)) == {"1.0"}
    assert backups.runs > HOSTS
    assert backups.failures == []


def test_settings_go_through_the_rings_and_touch_no_version(fleet: Installation, backups: Backups) -> None:
    """Each host has them in its file for whatever runs the client there."""
    before = versions(fleet)
    rollout = apply(fleet, "settings", SETTINGS)
    done = over(fleet, rollout, "completed", "halted")
    assert (done["State"], [ring["Succeeded"] for ring in done["Rings"]]) == ("completed", [2, 4, 12, 6])
    saved = [json.loads((host.root / PACKAGE / "settings.json").read_text()) for host in fleet.hosts]
    assert saved == [{"most_cores": 2}] * HOSTS
    assert versions(fleet) == before
    assert backups.failures == []


def test_a_release_that_is_unhealthy_stops_at_the_canaries(fleet: Installation, backups: Backups) -> None:
    """They roll back by themselves; nobody else gets an order, and no backup fails."""
    fleet.add_release("3.0", health=1)
    rollout = apply(fleet, "to-3.0", POLICY, version="3.0", more="")
    done = over(fleet, rollout, "completed", "halted")
    assert done["State"] == "halted"
    assert sum(ring["RolledBack"] for ring in done["Rings"]) <= 2
    assert done["Rings"][1]["State"] == "pending"
    assert "3.0" not in versions(fleet)
    run(fleet, "rollout", "cancel", rollout)
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
    run(fleet, "client", "install", "--all", "--package", "rclone", "--yes", "--wait")
    found = [Copy(host) for host in fleet.hosts]
    assert [copy.back_up().returncode for copy in found] == [0] * HOSTS
    yield found
    shutil.rmtree(fleet.folder / "programs")  # 170 MB


def _offer(fleet: Installation, version: str, script: str) -> None:
    file = release(version, fleet.folder, script)
    words = ["--package", "rclone", "--version", version, "--platform", platform_here(), "--manifest", str(MANIFEST)]
    run(fleet, "release", "add", str(file), *words)


def test_a_healthy_release_whose_real_backups_fail_is_taken_back_from_the_canaries(
    fleet: Installation, copies: list[Copy]
) -> None:
    """Its health command is content. The gate on backups halts; nobody else gets an order, and no backup is lost."""
    _offer(fleet, "1.75.2", STOPS_HALF_WAY)
    nights = Nights(copies)
    nights.start()
    try:
        rollout = apply(fleet, "rclone", JUDGED_BY_BACKUPS)
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
    run(fleet, "rollout", "cancel", rollout)


def _settled(fleet: Installation, rollout: str) -> list[dict[str, Any]]:
    """Return the members that an order had left for, once nothing of them is under way."""
    begun = [each for each in show(fleet, rollout)["MemberList"] if each["State"] not in ("pending", "waiting")]
    is_under_way = any(each["State"] in UNDER_WAY for each in begun)
    return [] if is_under_way else begun


def _is_proven_elsewhere(fleet: Installation, rollout: str, *, holds: str = "") -> None:
    """Export the evidence, and verify it on another machine: a process with the file and the key alone."""
    elsewhere = fleet.folder / f"elsewhere-{rollout}"
    elsewhere.mkdir()
    file, key = elsewhere / "evidence.jsonl", elsewhere / "key.pem"
    key.write_text(run(fleet, "rollout", "evidence", "key"))
    run(fleet, "rollout", "evidence", "export", rollout, str(file))
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
