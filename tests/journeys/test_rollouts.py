"""A fleet of real hosts is moved by the command line, in rings, while backups run through its shims."""

import json
import subprocess
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
from journeys.installation import PACKAGE, Installation, wait_for

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


def _is_proven_elsewhere(fleet: Installation, rollout: str) -> None:
    """Export the evidence, and verify it with the file and the key alone, as another machine would."""
    file, key = fleet.folder / "evidence.jsonl", fleet.folder / "evidence.pem"
    key.write_text(cli(fleet, "rollout", "evidence", "key").output)
    done = cli(fleet, "rollout", "evidence", "export", rollout, str(file))
    assert done.exit_code == 0, done.output
    verify = ["rollout", "evidence", "verify", str(file), "--key", str(key)]
    found = CliRunner().invoke(main, verify)
    assert (found.exit_code, "intact" in found.output) == (0, True), found.output
    lines = file.read_text().splitlines(keepends=True)
    for tampered in (lines[:-1], lines[:5] + lines[6:], [line.replace("rolled_back", "succeeded") for line in lines]):
        file.write_text("".join(tampered))
        found = CliRunner().invoke(main, verify)
        assert (found.exit_code, "NOT as it was signed" in found.output) == (1, True), found.output
