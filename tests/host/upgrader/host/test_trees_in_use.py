"""Which trees may go where /proc does not show every process: none that a run may have started from."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Report, read_output
from backfleet_host.upgrader.host.processes import sees_all_holders

Host = Any
Shop = Any

CARRY_OUT = Path(__file__).parents[1] / "carry_out_order.py"

# How an upgrader is started that cannot see the processes of others. The rest of its command follows.
BLIND = {
    "in a container's process namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
    "without /proc": ["unshare", "--mount", "sh", "-c", 'umount --lazy /proc && exec "$@"', "sh"],
    "with hidepid=2": [
        *("unshare", "--mount", "sh", "-c"),
        'umount --lazy /proc && mount -t proc -o hidepid=2 proc /proc && exec setpriv --bounding-set=-sys_ptrace "$@"',
        "sh",
    ],
}


@pytest.fixture(params=BLIND)
def blind(request: pytest.FixtureRequest) -> list[str]:
    """Return how an upgrader is started that sees no process but its own."""
    command = BLIND[request.param]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if os.geteuid() != 0 or tried.returncode:
        pytest.skip(f"no namespaces here: {tried.stderr}")
    return command


class Run:
    """A backup that runs through the shim until it is ended."""

    def __init__(self, host: Host, name: str) -> None:
        self.flag = host.root / f"flag-{name}"
        self.flag.touch()
        self.process = subprocess.Popen([host.shim, "hold", self.flag], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.began = self.process.stdout.readline()

    def end(self) -> str:
        self.flag.unlink(missing_ok=True)
        return self.process.communicate(timeout=30)[0].strip()


@pytest.fixture
def runs(installed: Host) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.end()


def carry(shop: Shop, host: Host, command: list[str], kind: str, version: str = "") -> Report:
    """Carry an order out in a process that is started in this way."""
    trust = host.root.parent / "root.json"
    trust.write_bytes(shop.trust_root)
    given = {"root": str(host.root), "downloads": shop.address, "trust_root": str(trust), "system": ""}
    order = json.dumps(host.order(kind, version, f"u-{os.urandom(6).hex()}").to_json())
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [*command, sys.executable, CARRY_OUT, json.dumps(given), order],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    report = read_output(done.stdout)[1]
    assert report is not None, done.stdout + done.stderr
    return report


def trees(host: Host) -> list[str]:
    return sorted(path.name for path in (host.folder / "versions").iterdir())


def test_no_tree_goes_that_a_run_may_have_started_from(
    shop: Shop, installed: Host, blind: list[str], runs: list[Run]
) -> None:
    """It is not seen, but it holds its lock. Once no run does, the old trees go with the next order."""
    runs.append(Run(installed, "first"))
    for version in ("3.0", "4.0"):
        shop.add(version)
    for version in ("2.0", "3.0"):
        assert carry(shop, installed, blind, "upgrade", version).outcome == "succeeded"
    assert trees(installed) == ["1.0", "2.0", "3.0"]
    assert runs[0].end() == "done 1.0"
    assert carry(shop, installed, blind, "upgrade", "4.0").outcome == "succeeded"
    assert trees(installed) == ["3.0", "4.0"]


def test_a_damaged_tree_that_a_run_may_have_started_from_is_not_replaced(
    shop: Shop, installed: Host, blind: list[str], runs: list[Run]
) -> None:
    """Nor does what a repair has put in its place take it away from a run."""
    runs.append(Run(installed, "first"))
    program = installed.folder / "versions" / "1.0" / "bin" / "courier"
    inode = program.stat().st_ino
    (installed.folder / "versions" / "1.0" / "bin" / "courier").chmod(0o755)
    with program.open("a") as file:
        file.write("# damaged\n")
    assert carry(shop, installed, blind, "upgrade", "1.0").details["mended"] == "1.0"
    kept = installed.folder / "versions" / ".1.0.partial" / "bin" / "courier"
    assert kept.stat().st_ino == inode
    assert runs[0].end() == "done 1.0"
    carry(shop, installed, blind, "recover")
    assert trees(installed) == ["1.0"]


def test_what_is_half_made_goes_whoever_runs(shop: Shop, installed: Host, blind: list[str], runs: list[Run]) -> None:
    """Nothing ever ran from it: otherwise a full disk would stay full for as long as a backup takes."""
    runs.append(Run(installed, "first"))
    (installed.folder / "versions" / ".2.0.partial" / "bin").mkdir(parents=True)
    carry(shop, installed, blind, "recover")
    assert trees(installed) == ["1.0"]


def test_where_every_process_is_seen_trees_go_while_others_run(shop: Shop, installed: Host, runs: list[Run]) -> None:
    """A host that always has a backup running does not fill its disk with old versions."""
    if not sees_all_holders(installed.folder / "running"):
        pytest.skip("the tests run in a container")
    for number, version in enumerate(("2.0", "3.0", "4.0", "5.0")):
        if version > "2.0":
            shop.add(version)
        runs.append(Run(installed, str(number)))
        assert installed.carry("upgrade", version).outcome == "succeeded"
        if len(runs) > 1:
            runs[-2].end()
    assert installed.carry("recover").outcome == "succeeded"
    assert trees(installed) == ["4.0", "5.0"]


def test_a_run_in_a_container_keeps_trees(shop: Shop, installed: Host, runs: list[Run]) -> None:
    """Its paths are those of its own file system, and would not be found."""
    container = ["unshare", "--mount", installed.shim, "hold"]
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    flag = installed.root / "flag"
    flag.touch()
    with subprocess.Popen([*container, flag], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        backup.stdout.readline()
        unseen = dataclasses.replace(installed.installation, running=lambda tree: [])
        installed.installation = unseen
        shop.add("3.0")
        for version in ("2.0", "3.0"):
            assert installed.carry("upgrade", version).outcome == "succeeded"
        assert trees(installed) == ["1.0", "2.0", "3.0"]
        flag.unlink()
        assert backup.communicate(timeout=30)[0].strip() == "done 1.0"
    installed.carry("recover")
    assert trees(installed) == ["2.0", "3.0"]
