"""F12: real processes are killed during real orders, at a sample of the cut points of test_crash_matrix.py."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.host.processes import from_tree
from host.upgrader.host.test_services import SERVICE, daemon, run

Host = Any  # the fixtures' classes live in conftest.py
Shop = Any

CARRY = """
import json, sys
from pathlib import Path
from typing import Any
from backfleet_host.contract import Order, read_order
from backfleet_host.upgrader import Installation, carry_out_on
root, address, trust, order = sys.argv[1:]
site = Installation(Path(root), Path(root) / "bin", address, None, Path(trust).read_bytes())
carry_out_on(site, read_order(Path(order).read_text()), lambda line: None)
"""

WELL = [
    "check", "fetch", "unpacked", "stage", "drain", "about to switch", "switched", "switch", "prove", "commit",
    "outcome written", "journal closed",
]  # fmt: skip
UNHEALTHY = ["switched", "switch", "going back", "pointed back", "outcome written", "journal closed"]


def cut_off(
    shop: Shop, host: Host, failpoint: str, version: str = "2.0", *, kind: str = "upgrade", remove_state: bool = False
) -> None:
    """Kill a real process during an order."""
    folder = host.root.parent
    order = replace(host.order(kind, version, "u-cut"), remove_state=remove_state)
    (folder / "order").write_text(order.as_command())
    (folder / "root.json").write_bytes(shop.trust_root)
    words = [str(host.root), shop.address, str(folder / "root.json"), str(folder / "order")]
    environment = os.environ | {"BACKFLEET_HOST_DIE_AT": failpoint}
    died = subprocess.run([sys.executable, "-c", CARRY, *words], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL


def printed_by(shim: Path, *words: str, **more: Any) -> str:
    return subprocess.run([shim, *words], capture_output=True, text=True, check=True, **more).stdout.strip()


def output_before_recovery(host: Host) -> str:
    """Return what a run prints that does not wait for the recovery."""
    with host.passing_the_gate() as given:
        return printed_by(host.shim, "hello", **given)


def recovered(host: Host, version: str) -> None:
    """Recover, and check that this version is current, runs behind the shim, and nothing is left behind."""
    assert host.carry("recover", order_id="r-1").current_version == version
    assert host.version() == version
    assert printed_by(host.shim, "hello") == f"{version} hello"
    assert host.leftovers() == []


# --- An upgrade -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failpoint", "health"),
    [pytest.param(i, 0, id=f"well, {i}") for i in WELL] + [pytest.param(i, 1, id=f"unhealthy, {i}") for i in UNHEALTHY],
)
def test_a_power_cut_leaves_a_working_client(shop: Shop, host: Host, failpoint: str, health: int) -> None:
    """And recovery ends in one definite state."""
    shop.add("1.0")
    shop.add("2.0", health=health)
    host.carry("install", "1.0")
    cut_off(shop, host, failpoint)
    assert output_before_recovery(host) in ("1.0 hello", "2.0 hello")
    after_the_point = failpoint in WELL[WELL.index("switched") :] and health == 0
    recovered(host, "2.0" if after_the_point else "1.0")
    assert host.carry("upgrade", "2.0", order_id="u-cut").current_version == host.version()
    if not after_the_point and health == 0:
        assert host.carry("upgrade", "2.0", order_id="u-retry").current_version == "2.0"


def test_f38_a_run_that_starts_after_a_crash_waits_for_the_recovery(shop: Shop, host: Host) -> None:
    """The gate is open, because its holder is dead, and the version behind it is not verified."""
    shop.add("1.0")
    shop.add("2.0", health=1)
    host.carry("install", "1.0")
    cut_off(shop, host, "switched")
    with subprocess.Popen([host.shim, "hello"], stdout=subprocess.PIPE, text=True) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert host.carry("recover", order_id="r-1").current_version == "1.0"
        assert process.communicate(timeout=30)[0] == "1.0 hello\n"


def test_a_run_does_not_wait_for_recovery_for_ever(shop: Shop, host: Host) -> None:
    """If no recovery comes, it runs the version that was verified last."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    cut_off(shop, host, "switched")
    os.utime(host.folder / "unproven", (time.time() - 700,) * 2)
    done = subprocess.run([host.shim, "hello"], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0 hello\n"
    assert done.stderr == "backfleet: courier: an upgrade has not finished; running the last verified version\n"


@pytest.mark.parametrize(
    ("failpoint", "health", "version"),
    [("about to switch", 0, "1.0"), ("switched", 0, "2.0"), ("commit", 0, "2.0"), ("pointed back", 1, "1.0")],
)
def test_a_backup_goes_on_after_the_upgrader_dies(
    shop: Shop, host: Host, failpoint: str, health: int, version: str
) -> None:
    """To its end, on the tree it began on, whatever becomes of the upgrade and its recovery."""
    shop.add("1.0")
    shop.add("2.0", health=health)
    host.carry("install", "1.0")
    flag = host.root / "flag"
    flag.touch()
    with subprocess.Popen([host.shim, "hold", flag], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        assert backup.stdout.readline() == "holding 1.0\n"
        cut_off(shop, host, failpoint)
        recovered(host, version)
        assert from_tree(host.folder / "versions" / "1.0") == [backup.pid]
        flag.unlink()
        assert backup.stdout.read() == "done 1.0\n"
    assert backup.returncode == 0


# --- An intermediate version, state, an uninstall -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failpoint", "version"), [("switched", "1.0"), ("switch", "2.0"), ("prove", "2.0"), ("journal closed", "2.0")]
)
def test_the_power_fails_on_an_intermediate_version(shop: Shop, host: Host, failpoint: str, version: str) -> None:
    """An order never ends on an intermediate version."""
    shop.add("1.0")
    shop.add("1.5")
    shop.add("2.0", upgrades_from=">=1.5")
    host.carry("install", "1.0")
    cut_off(shop, host, failpoint)
    assert output_before_recovery(host) == f"{'1.5' if failpoint == 'switched' else '2.0'} hello"
    recovered(host, version)
    assert host.carry("upgrade", "2.0", order_id="u-retry").current_version == "2.0"
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["1.0", "2.0"]


BREAKS = """#!/bin/sh
case "$1" in
  version) echo "broken by {version}" > STATE; chmod 600 STATE; echo "{package} {version}"; exit {health} ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.mark.parametrize("failpoint", ["about to switch", "switched", "switch", "going back", "pointed back"])
def test_the_power_fails_while_state_is_broken(shop: Shop, host: Host, failpoint: str) -> None:
    """The recovery restores it, with its mode."""
    state = host.root.parent / "config"
    state.write_text("mine")
    state.chmod(0o640)
    shop.add("1.0", keeps=[str(state)])
    shop.add("2.0", keeps=[str(state)], client=BREAKS.replace("STATE", str(state)))
    host.carry("install", "1.0")
    cut_off(shop, host, failpoint)
    recovered(host, "1.0")
    assert (state.read_text(), state.stat().st_mode & 0o777) == ("mine", 0o640)


@pytest.mark.parametrize("failpoint", ["4 after", "8 before", "12 after", "uninstalled", "outcome written"])
def test_the_power_fails_during_an_uninstall_with_state(shop: Shop, host: Host, failpoint: str) -> None:
    """It ends as an uninstall, or has not begun."""
    state = host.root.parent / "state"
    state.mkdir()
    (state / "config").write_text("mine")
    shop.add("1.0", keeps=[str(state)])
    host.carry("install", "1.0")
    cut_off(shop, host, failpoint, "", kind="uninstall", remove_state=True)
    journal = host.folder / "journal"
    has_begun = journal.exists() and '"removing"' in journal.read_text()
    assert has_begun or failpoint not in ("uninstalled", "outcome written")
    if not has_begun:
        recovered(host, "1.0")
        assert (state / "config").read_text() == "mine"
        return
    assert host.carry("recover", order_id="r-1").current_version == ""
    assert (host.shim.exists(), state.exists(), host.leftovers()) == (False, False, [])
    assert list((host.folder / "versions").iterdir()) == []


# --- A service ------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Return the folder with the daemon's process id, and end the daemon with the test."""
    folder = tmp_path / "state"
    folder.mkdir()
    yield folder
    for process in Path("/proc").glob("[0-9]*"):
        if str(tmp_path).encode() in words_of(process) and b"serve" in words_of(process):
            os.kill(int(process.name), signal.SIGKILL)


def words_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("failpoint", "health", "version"),
    [
        pytest.param("about to switch", 0, "1.0", id="before it is stopped"),
        pytest.param("switched", 0, "2.0", id="before the new one starts"),
        pytest.param("switch", 0, "2.0", id="before it is verified"),
        pytest.param("commit", 0, "2.0", id="when it is verified"),
        pytest.param("switch", 1, "1.0", id="before it is found unhealthy"),
        pytest.param("going back", 1, "1.0", id="before it is stopped again"),
        pytest.param("pointed back", 1, "1.0", id="before the old one starts again"),
        pytest.param("outcome written", 1, "1.0", id="when the old one serves again"),
    ],
)
def test_the_power_fails_during_an_upgrade_of_a_service(
    shop: Shop, host: Host, state: Path, failpoint: str, health: int, version: str
) -> None:
    """One version serves, and nothing is left of the other."""
    shop.add("1.0", client=daemon(state), service=SERVICE, switch="idle")
    shop.add("2.0", client=daemon(state), service=SERVICE, switch="idle", health=health)
    host.carry("install", "1.0")
    run(host, "start")
    cut_off(shop, host, failpoint)
    recovered(host, version)
    assert run(host, "ready") == 0
    assert from_tree(host.folder / "versions" / version) == [int((state / "pid").read_text())]
    assert from_tree(host.folder / "versions" / ("1.0" if version == "2.0" else "2.0")) == []
