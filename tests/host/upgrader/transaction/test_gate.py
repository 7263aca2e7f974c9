"""The gate is neither a weapon in the hands of other users nor a trap for backups."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.host import shim
from host.upgrader.small_host import take_record_lock

Host = Any
Shop = Any

PROJECT = Path(__file__).resolve().parents[4]
CARRY_OUT = PROJECT / "tests" / "host" / "upgrader" / "carry_out_order.py"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def output_of(host: Host) -> str:
    """Return what a backup prints that must not be held up."""
    return subprocess.run([host.shim, "hello"], capture_output=True, text=True, check=True, timeout=10).stdout


def offer(shop: Shop, host: Host, switch: str = "anytime", **more: Any) -> None:
    """Offer 1.0, which the host has, and 2.0."""
    shop.add("1.0", switch=switch)
    shop.add("2.0", switch=switch, **more)
    assert host.carry("install", "1.0").outcome == "succeeded"


@contextlib.contextmanager
def a_neighbour(path: Path, take: str) -> Iterator[int]:
    """Let another user hold a lock that needs no more than the right to read: shared record lock or any flock."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            file = os.open(path, os.O_RDONLY)  # as root: the folders of these tests are closed to others
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            if take == "record":
                take_record_lock(file, fcntl.F_RDLCK)
            elif take == "record of the process":
                fcntl.lockf(file, fcntl.LOCK_SH)
            else:
                fcntl.flock(file, fcntl.LOCK_EX)
            os.write(writing, b"1")
            time.sleep(120)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"1"
        yield child
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@as_root
@pytest.mark.parametrize(
    ("switch", "name", "take"),
    [
        ("anytime", "gate", "record of the process"),
        ("idle", "gate", "record"),
        ("anytime", "running", "record"),
        ("idle", "running", "record"),
        ("idle", "running", "record of the process"),
        ("anytime", "gate", "flock"),
        ("idle", "gate", "flock"),
        ("anytime", "running", "flock"),
        ("idle", "running", "flock"),
    ],
)
def test_no_neighbours_lock_stops_an_order_or_a_backup(
    shop: Shop, host: Host, switch: str, name: str, take: str
) -> None:
    """It delays the order by seconds, and is noted."""
    offer(shop, host, switch)
    with a_neighbour(host.folder / name, take) as neighbour:
        assert output_of(host) == "1.0 hello\n"
        report = host.carry("upgrade", "2.0", timeout_seconds=60)
        assert (report.outcome, report.current_version) == ("succeeded", "2.0"), report.message
        assert report.seconds < 20
        assert ("gate_replaced" in report.details) == (name == "gate" and take != "flock")
        if (name, switch) == ("running", "idle"):
            assert f"process {neighbour} of nobody" in report.details["left_over"][0]
        assert output_of(host) == "2.0 hello\n"


@as_root
def test_left_overs_count_as_runs_if_the_policy_says_so(shop: Shop, host: Host) -> None:
    """The message then names the process."""
    offer(shop, host, "idle")
    host.write_policy("left_overs_are_runs = true\n", "host")
    with a_neighbour(host.folder / "running", "record") as neighbour:
        report = host.carry("upgrade", "2.0", timeout_seconds=4)
    assert report.code == "BackupRunning"
    assert f"process {neighbour} of nobody, which runs for" in report.message


def test_what_a_backup_left_behind_is_no_run(shop: Shop, host: Host) -> None:
    """A process that holds the lock that it inherited, and runs nothing of the client."""
    leaving = '#!/bin/sh\n[ "$1" != leave ] || {{ sleep 77 </dev/null >/dev/null 2>&1 & exit 0; }}\n'
    leaving += 'echo "{package} {version}"\nexit {health}\n'
    shop.add("1.0", switch="idle", client=leaving)
    shop.add("2.0", switch="idle")
    host.carry("install", "1.0")
    subprocess.run([host.shim, "leave"], check=True)
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0"), report.message
    (left_over,) = report.details["left_over"]
    assert left_over.endswith(": sleep 77")
    os.kill(int(left_over.split()[1]), signal.SIGKILL)


@contextlib.contextmanager
def a_backup(host: Host) -> Iterator[subprocess.Popen[str]]:
    """Run a backup meanwhile."""
    flag = host.root / "flag"
    flag.touch()
    process = subprocess.Popen([host.shim, "hold", flag], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        flag.unlink()
        process.communicate(timeout=30)


def test_the_message_names_the_backup_that_runs(shop: Shop, host: Host) -> None:
    """Process, user, age and command."""
    offer(shop, host, "idle")
    with a_backup(host) as backup:
        report = host.carry("upgrade", "2.0", timeout_seconds=4)
    assert report.code == "BackupRunning"
    assert f"process {backup.pid} of " in report.message
    assert "which runs for" in report.message
    assert f"{host.folder}/versions/1.0/bin/courier hold" in report.message


def test_new_backups_begin_while_an_order_waits_for_a_long_one(shop: Shop, host: Host) -> None:
    """Only the last seconds of the order's time, by the host policy, the gate is closed."""
    offer(shop, host, "idle")
    host.write_policy("drain_limit = 2\n", "host")
    with a_backup(host), upgrader(shop, host, "2.0", 12) as upgrade:
        wait_until((host.folder / "versions" / "2.0").exists)
        slowest, until = 0.0, time.monotonic() + 6
        while time.monotonic() < until:
            began = time.monotonic()
            subprocess.run([host.shim, "hello"], check=True, stdout=subprocess.DEVNULL, timeout=20)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1.0
        wait_until(host.is_gate_closed)
        output = upgrade.communicate(timeout=30)[0]
    assert '"code": "BackupRunning"' in output
    assert not host.is_gate_closed()


def test_an_order_goes_on_as_soon_as_no_backup_runs(shop: Shop, host: Host) -> None:
    """Well before the part of its time in which it would keep the gate closed."""
    offer(shop, host, "idle")
    host.write_policy("drain_limit = 1\n", "host")
    with upgrader_beside(shop, host) as upgrade:
        began = time.monotonic()
        output = upgrade.communicate(timeout=40)[0]
    assert '"outcome": "succeeded"' in output
    assert time.monotonic() - began < 20


@contextlib.contextmanager
def upgrader_beside(shop: Shop, host: Host) -> Iterator[subprocess.Popen[str]]:
    """Begin an upgrade beside a backup, which ends two seconds later."""
    with a_backup(host), upgrader(shop, host, "2.0", 120) as upgrade:
        wait_until((host.folder / "versions" / "2.0").exists)
        time.sleep(2)
        (host.root / "flag").unlink()
        yield upgrade
        (host.root / "flag").touch()


@contextlib.contextmanager
def upgrader(shop: Shop, host: Host, version: str, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Carry an upgrade out in a process of its own."""
    trust_root = host.root.parent / "root.json"
    trust_root.write_bytes(shop.trust_root)
    installation = {"root": str(host.root), "downloads": shop.address, "system": "", "trust_root": str(trust_root)}
    order = host.order("upgrade", version, "u-own", seconds).to_json()
    words = [sys.executable, str(CARRY_OUT), json.dumps(installation), json.dumps(order)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_upgrader_that_is_stopped_does_not_stop_backups(shop: Shop, host: Host, tmp_path: Path) -> None:
    """They run the last verified version after a while, and the order ends in one definite state once it goes on."""
    begun = tmp_path / "begun"
    slow = f'#!/bin/sh\n[ "$1" != version ] || {{{{ touch {begun}; sleep 3; }}}}\n'
    slow += '[ "$1" != version ] || {{ echo "{package} {version}"; exit {health}; }}\necho "{version} $*"\n'
    host.write_policy("wait_limit = 2\n", "host")
    shop.add("1.0")
    shop.add("2.0", client=slow.replace("{{{{", "{{").replace("}}}}", "}}"))
    host.carry("install", "1.0")
    with upgrader(shop, host, "2.0", 60) as upgrade:
        wait_until(begun.exists)
        upgrade.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        done = subprocess.run([host.shim, "hello"], capture_output=True, text=True, check=True, timeout=30)
        assert 1.5 < time.monotonic() - began < 15
        assert done.stdout == "1.0 hello\n"
        assert "running the last verified version" in done.stderr
        upgrade.send_signal(signal.SIGCONT)
        output = upgrade.communicate(timeout=60)[0]
    assert '"outcome": "succeeded"' in output
    assert subprocess.run([host.shim, "hello"], capture_output=True, text=True, check=True).stdout == "2.0 hello\n"


def test_verifying_for_too_long_rolls_back(shop: Shop, host: Host) -> None:
    """Backups wait meanwhile. It is not the version's fault: it is not quarantined."""
    offer(shop, host)
    host.write_policy("verify_limit = 1\n", "host")
    slow = f"case $(readlink {host.folder}/current) in *2.0) sleep 20 ;; esac; echo"
    host.write_policy(f"[[probe]]\ncommand = ['/bin/sh', '-c', '{slow}']\n")
    report = host.carry("upgrade", "2.0", timeout_seconds=60)
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "`verify_limit` in host.toml" in report.message
    assert report.seconds < 20
    assert not (host.folder / "failed" / "2.0" / "reason.json").exists()


SLOW = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  start) touch SERVES; SLEEPS ;;
  stop) rm -f SERVES ;;
  ready) [ -e SERVES ] && READY ;;
esac
"""
SERVICE = {"start": ["courier", "start"], "stop": ["courier", "stop"], "ready": ["courier", "ready"], "seconds": 40}


@pytest.mark.parametrize(("sleeps", "ready"), [("sleep 30", ":"), (":", "false")], ids=["start", "ready"])
def test_a_service_that_starts_for_too_long_rolls_back(
    shop: Shop, host: Host, tmp_path: Path, sleeps: str, ready: str
) -> None:
    """Its start counts as verifying: backups wait meanwhile. It is not the version's fault."""
    serves = tmp_path / "serves"
    quick = SLOW.replace("SERVES", str(serves)).replace("SLEEPS", ":").replace("READY", ":")
    slow = SLOW.replace("SERVES", str(serves)).replace("SLEEPS", sleeps).replace("READY", ready)
    shop.add("1.0", client=quick, service=SERVICE)
    shop.add("2.0", client=slow, service=SERVICE)
    host.carry("install", "1.0")
    serves.touch()
    host.write_policy("verify_limit = 2\n", "host")
    report = host.carry("upgrade", "2.0", timeout_seconds=120)
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "`verify_limit` in host.toml" in report.message
    assert report.seconds < 28
    assert not (host.folder / "failed" / "2.0" / "reason.json").exists()
    assert serves.exists()


# --- Hosts that were set up by an earlier build ---------------------------------------------------------------------


def as_before(host: Host) -> None:
    """Make a host what an earlier build left: a shim for sh, no link `verified`."""
    host.shim.unlink()
    host.shim.write_bytes(shim.former_shim(host.folder, "courier", "courier"))
    host.shim.chmod(0o755)
    (host.folder / "verified").unlink()


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_next_order_replaces_a_shim_of_an_earlier_build(shop: Shop, host: Host, version: str) -> None:
    """Also an order that is answered at once. Until then it is no drift."""
    offer(shop, host)
    as_before(host)
    (package,) = host.carry("status").details["packages"]
    assert package["drift"] == []
    assert host.carry("upgrade", version).outcome == "succeeded"
    assert shim.is_native(host.shim.read_bytes())
    assert os.readlink(host.folder / "verified") == f"versions/{version}"


def test_a_backup_that_began_under_an_earlier_shim_is_waited_for(shop: Shop, host: Host) -> None:
    """Its lock is of another kind."""
    offer(shop, host, "idle")
    as_before(host)
    with a_backup(host) as backup:
        report = host.carry("upgrade", "2.0", timeout_seconds=4)
        assert report.code == "BackupRunning"
        assert f"process {backup.pid} of " in report.message
        assert host.carry("upgrade", "1.0").code == "AlreadyCurrent"
        assert shim.is_native(host.shim.read_bytes())
        assert host.carry("upgrade", "2.0", timeout_seconds=4).code == "BackupRunning"
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


def test_a_run_in_an_earlier_shim_waits_for_the_gate(shop: Shop, host: Host) -> None:
    """The upgrade takes both kinds of locks while there is such a shim."""
    offer(shop, host)
    as_before(host)
    with host.closed_gate(), subprocess.Popen([host.shim, "hello"], stdout=subprocess.PIPE, text=True) as run:
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(0.5)
        run.kill()
