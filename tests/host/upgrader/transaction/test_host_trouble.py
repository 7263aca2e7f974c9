"""Troubles of a host: full and read-only disks, clocks that jump, two upgraders, backups that bypass the shim."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet import releases
from backfleet_host.contract import read_output
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import carry_out_on
from backfleet_host.upgrader.host.processes import from_tree
from host.upgrader.conftest import LONG_ENOUGH

Host = Any
Shop = Any

CARRY = """
import os, sys, time
from pathlib import Path
from backfleet_host.contract import read_order
from backfleet_host.upgrader import Installation, carry_out_on
root, address, trust, order, start = sys.argv[1:]
site = Installation(Path(root), Path(root) / "bin", address, None, Path(trust).read_bytes())
while start and not os.path.exists(start):
    time.sleep(0.001)
print(carry_out_on(site, read_order(Path(order).read_text()), lambda line: None).as_line())
"""


def upgrader(shop: Shop, host: Host, order: Any, start: str = "", **more: Any) -> subprocess.Popen[str]:
    """Start an upgrader as a process."""
    folder = host.root.parent
    (folder / f"{order.order_id}.order").write_text(order.as_command())
    (folder / "root.json").write_bytes(shop.trust_root)
    words = [str(host.root), shop.address, str(folder / "root.json"), str(folder / f"{order.order_id}.order"), start]
    return subprocess.Popen([sys.executable, "-c", CARRY, *words], stdout=subprocess.PIPE, text=True, **more)


def printed_by(shim: Path, *words: str) -> str:
    return subprocess.run([shim, *words], capture_output=True, text=True, check=True).stdout.strip()


# --- Disks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(host: Host) -> Iterator[Path]:
    """Mount a disk of 24 MiB for the host's root."""
    host.root.mkdir(exist_ok=True)
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", host.root], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("no disk can be mounted here")
    yield host.root
    subprocess.run(["umount", "--lazy", host.root], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes on this disk."""
    filler = folder / "filler"
    free = shutil.disk_usage(folder).free
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave))
    return filler


def test_f66_a_disk_that_is_too_small_is_found_before_the_download(shop: Shop, host: Host, small_disk: Path) -> None:
    """Space for artifact and tree is needed, and some to spare."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0", padding=8 << 20)
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("DiskFull", "1.0")
    assert host.downloads() == []
    assert host.leftovers() == []


@pytest.mark.parametrize("leave", [0, 4 << 10, 64 << 10, 256 << 10, 600 << 10, 1 << 20, 1500 << 10, 2 << 20, 3 << 20])
def test_f66_a_disk_that_fills_up_during_an_upgrade(
    shop: Shop, host: Host, small_disk: Path, leave: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client works all the time, and the upgrade does once there is space."""
    from backfleet_host.upgrader.transaction import checks

    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0", padding=1 << 20)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 1 << 40))  # it lies
    before = os.statvfs(small_disk)
    fill_to = before.f_bavail * before.f_frsize - leave
    with open(small_disk / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, fill_to)
    report = host.carry("upgrade", "2.0", order_id="u-full")
    assert (report.code, report.current_version) in (("DiskFull", "1.0"), ("", "2.0"))
    assert printed_by(host.shim, "hello") == f"{report.current_version} hello"
    (small_disk / "filler").unlink()
    assert host.carry("upgrade", "2.0").current_version == "2.0"
    assert host.leftovers() == []


@pytest.fixture
def read_only_root(shop: Shop, host: Host, small_disk: Path) -> Path:
    """Return the root of a host with 1.0 whose disk is read-only, as while it boots."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    return small_disk


def test_f09_an_order_that_comes_while_the_host_boots_waits_for_it(
    host: Host, read_only_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is carried out as soon as the root can be written, with the time that it has left."""
    remount = ["mount", "-o", "remount,rw", str(read_only_root)]
    threading.Timer(1.5, lambda: subprocess.run(remount, check=True)).start()
    report = host.carry("upgrade", "2.0", timeout_seconds=20)
    assert (report.outcome, report.current_version, report.details) == ("succeeded", "2.0", {})


def test_f09_a_root_that_stays_read_only_defers_the_order(host: Host, read_only_root: Path) -> None:
    """Nothing is touched, the report says that this is no failure, and a later order succeeds."""
    began = time.monotonic()
    report = host.carry("upgrade", "2.0", timeout_seconds=1)
    assert 1.0 <= time.monotonic() - began < 10
    assert (report.code, report.current_version) == ("HostBusy", "1.0")
    assert report.details == {"reason": "ReadOnlyRoot", "deferred": True}
    assert printed_by(host.shim, "hello") == "1.0 hello"
    subprocess.run(["mount", "-o", "remount,rw", read_only_root], check=True)
    assert host.carry("upgrade", "2.0").current_version == "2.0"


def test_f09_an_order_that_waits_for_a_booting_host_can_be_cancelled(host: Host, read_only_root: Path) -> None:
    asked = iter(range(100))
    order = host.order("upgrade", "2.0")
    report = carry_out_on(host.installation, order, lambda line: None, lambda: next(asked) > 0)
    assert (report.code, report.current_version) == ("TaskCancelled", "1.0")


def test_a_quota_is_a_full_disk(shop: Shop, host: Host) -> None:
    """Files may not grow beyond a limit: the code is the same, and nothing is half-made."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0", padding=1 << 20)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    process = upgrader(shop, host, host.order("upgrade", "2.0", "u-q"), preexec_fn=limited)
    output, _ = process.communicate(timeout=30)
    assert '"code": "DiskFull"' in output
    assert host.version() == "1.0"
    assert host.leftovers() == []


# --- Clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-10 * 365 * 86400, 25 * 3600], ids=["ten years back", "a day ahead"])
def test_f15_a_clock_that_jumps_quarantines_no_version_for_ever(shop: Shop, host: Host, jump: int) -> None:
    """A version that was rolled back may be tried again."""
    shop.add("1.0")
    shop.add("2.0", health=3)
    host.carry("install", "1.0")
    host.carry("upgrade", "2.0")
    assert "rolled back on this host recently" in host.carry("upgrade", "2.0", order_id="soon").message
    object.__setattr__(host.installation, "clock", lambda: time.time() + jump)
    assert "exit code 3" in host.carry("upgrade", "2.0", order_id="after-the-jump").message


def test_the_orders_time_does_not_depend_on_the_clock(shop: Shop, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the clock is set while the order waits for a backup, it waits neither for ever nor not at all."""
    shop.add("1.0", switch="idle")
    shop.add("2.0", switch="idle")
    host.carry("install", "1.0")
    flag = host.root / "flag"
    flag.touch()
    with subprocess.Popen([host.shim, "hold", flag], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        backup.stdout.readline()
        monkeypatch.setattr(time, "time", lambda: 0.0)
        began = time.monotonic()
        report = host.carry("upgrade", "2.0", timeout_seconds=4)
        seconds = time.monotonic() - began
        flag.unlink()
    assert report.code == "BackupRunning"
    assert 0.5 < seconds < 20


# --- Two at once ----------------------------------------------------------------------------------------------------


def test_f26_f27_two_upgraders_at_once_have_one_winner(shop: Shop, host: Host, tmp_path: Path) -> None:
    """Real processes, started in the same millisecond: one carries its order out, the other is refused."""
    proofs, start = tmp_path / "proofs", tmp_path / "start"
    shop.add(
        "1.0", client=f'#!/bin/sh\necho $$ >> {proofs}\nsleep 0.8\necho "{{package}} {{version}}"\nexit {{health}}\n'
    )
    both = [upgrader(shop, host, host.order("install", "1.0", f"u-{n}"), str(start)) for n in (1, 2)]
    time.sleep(0.5)
    start.touch()
    reports = [read_output(process.communicate(timeout=30)[0])[1] for process in both]
    codes = sorted(report.code for report in reports if report is not None)
    assert codes in (["", "UpgradeInProgress"], ["", "AlreadyCurrent"])
    assert len(proofs.read_text().split()) == 2  # from its tree, and by its shim
    assert host.version() == "1.0"
    assert host.leftovers() == []


def test_f26_an_upgrader_that_is_killed_leaves_no_lock(shop: Shop, host: Host) -> None:
    """The next one goes on at once, and recovers what was begun."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0", client='#!/bin/sh\n[ "$1" = version ] && sleep 60\necho "{version} $*"; exit {health}\n')
    process = upgrader(shop, host, host.order("upgrade", "2.0", "u-k"), start_new_session=True)
    until = time.monotonic() + 20
    while host.version() != "2.0" and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()
    report = host.carry("recover", order_id="r-1")
    for left in from_tree(host.folder / "versions" / "2.0"):
        os.kill(left, signal.SIGKILL)
    assert report.current_version == "1.0"
    assert printed_by(host.shim, "hello") == "1.0 hello"
    assert host.leftovers() == []


# --- Backups that do not come through the shim ----------------------------------------------------------------------


class Bypass:
    """A backup that runs straight from the version's tree."""

    def __init__(self, host: Host, version: str) -> None:
        self.flag = host.root / f"flag-{version}"
        self.flag.touch()
        program = host.folder / "versions" / version / "bin" / "courier"
        self.process = subprocess.Popen([program, "hold", self.flag], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self) -> str:
        self.flag.unlink(missing_ok=True)
        return self.process.communicate(timeout=30)[0].strip()


@pytest.fixture
def bypass(shop: Shop, host: Host, request: pytest.FixtureRequest) -> Iterator[Bypass]:
    shop.add("1.0", switch=getattr(request, "param", "idle"))
    host.carry("install", "1.0")
    running = Bypass(host, "1.0")
    yield running
    running.flag.unlink(missing_ok=True)
    running.process.communicate(timeout=30)


def test_f35_idle_waits_for_a_backup_that_bypasses_the_shim(shop: Shop, host: Host, bypass: Bypass) -> None:
    """It holds no lock of ours, and is found among the processes."""
    shop.add("2.0", switch="idle")
    report = host.carry("upgrade", "2.0", timeout_seconds=LONG_ENOUGH)
    assert (report.code, report.current_version) == ("BackupRunning", "1.0")
    assert str(bypass.process.pid) in report.message
    assert bypass.end() == "done 1.0"
    assert host.carry("upgrade", "2.0").current_version == "2.0"


@pytest.mark.parametrize("bypass", ["anytime"], indirect=True)
def test_f06_a_tree_that_a_process_runs_from_is_never_removed(shop: Shop, host: Host, bypass: Bypass) -> None:
    """Through two upgrades with `anytime`; status reports which processes run from which version."""
    for version in ("2.0", "3.0"):
        shop.add(version)
        assert host.carry("upgrade", version).outcome == "succeeded"
    (package,) = host.carry("status").details["packages"]
    assert package["in_use"] == {"1.0": [bypass.process.pid]}
    assert bypass.end() == "done 1.0"
    host.carry("recover")
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["2.0", "3.0"]


# --- The rest of the catalogue that concerns a host -----------------------------------------------------------------


def test_f02_the_outcome_is_on_disk_before_it_is_reported(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The process is killed before it printed its report: the same order again returns it."""
    proofs = tmp_path / "proofs"
    shop.add("1.0", client=f'#!/bin/sh\necho $$ >> {proofs}\necho "{{package}} {{version}}"\nexit {{health}}\n')
    order = host.order("install", "1.0", "u-reported")
    killed = upgrader(shop, host, order, env=os.environ | {"BACKFLEET_HOST_DIE_AT": "journal closed"})
    output, _ = killed.communicate(timeout=30)
    assert (killed.returncode, read_output(output)[1]) == (-signal.SIGKILL, None)
    again = read_output(upgrader(shop, host, order).communicate(timeout=30)[0])[1]
    assert again is not None
    assert (again.outcome, again.code, again.current_version) == ("succeeded", "", "1.0")
    assert len(proofs.read_text().split()) == 2  # from its tree, and by its shim


def test_f19_a_verified_version_is_never_rolled_back(shop: Shop, host: Host, tmp_path: Path) -> None:
    """Nothing watches a version after its verification: it stays until an order moves it."""
    ill = tmp_path / "ill"
    shop.add("1.0")
    shop.add("2.0", client=f'#!/bin/sh\n[ ! -e {ill} ] || exit 9\necho "{{package}} {{version}}"\nexit {{health}}\n')
    host.carry("install", "1.0")
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    stages = [json.loads(line)["stage"] for line in host.progress[-8:]]
    assert stages == ["admit", "check", "fetch", "stage", "drain", "switch", "prove", "commit"]
    ill.touch()
    assert host.carry("recover").current_version == "2.0"
    assert host.carry("upgrade", "2.0").code == "AlreadyCurrent"
    host.write_policy("allows_downgrade = true\n")
    report = host.carry("upgrade", "1.0")  # and back by an order of its own, ill as it is
    assert (report.outcome, report.details["unwell_before"]) == (
        "succeeded",
        "`courier version` ended with exit code 9",
    )


def test_f25_removed_trees_are_downloaded_again_or_refused(shop: Shop, host: Host) -> None:
    """Before anything is changed; and status lists the versions to roll back to."""
    for version in ("1.0", "2.0", "3.0"):
        shop.add(version)
        host.carry("upgrade" if version != "1.0" else "install", version)
    (package,) = host.carry("status").details["packages"]
    assert (package["versions"], package["previous"]) == (["2.0", "3.0"], "2.0")
    with shop.database.transaction() as tx:
        releases.withdraw(tx, shop.repository, "courier", "1.0", platform_here(), now=datetime.now(UTC))
    before = _everything_below(host)
    report = host.carry("upgrade", "1.0")
    assert (report.code, report.details["reason"], report.current_version) == ("UntrustedRelease", "NotOffered", "3.0")
    assert (report.outcome, report.stage) == ("failed", "check")
    assert _everything_below(host) == before
    assert printed_by(host.shim, "hello") == "3.0 hello"
    assert host.carry("status").details["packages"][0]["versions"] == ["2.0", "3.0"]  # host and report agree
    host.write_policy("allows_downgrade = true\n")
    assert host.carry("upgrade", "2.0").current_version == "2.0"


def _everything_below(host: Host) -> dict[str, Any]:
    """Return what the client consists of: trees, links, shims and facts. Outcomes and metadata are no changes."""
    found = [host.shim, *host.folder.glob("versions/**/*"), *host.folder.glob("facts/*")]
    links = {name: os.readlink(host.folder / name) for name in ("current", "previous")}
    contents = {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in found}
    return {**links, **contents}


def test_f28_the_evidence_of_a_failed_version_stays_and_is_reported(shop: Shop, host: Host) -> None:
    """Its output and why it was rolled back: on the host, in the order's report, and in every status since."""
    shop.add("1.0")
    shop.add("2.0", health=7)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert "exit code 7" in report.message
    assert report.details["evidence"] == {"version": "2.0", "output": "courier 2.0\n"}
    assert (host.folder / "failed" / "2.0" / "output").read_text() == "courier 2.0\n"
    assert "exit code 7" in (host.folder / "failed" / "2.0" / "reason.json").read_text()
    (package,) = host.carry("status").details["packages"]
    assert package["failed"] == ["2.0"]
    failure = package["failures"]["2.0"]
    assert "exit code 7" in failure["reason"]
    assert failure["until"] - failure["at"] == 24 * 3600


@pytest.mark.parametrize("policy", ["", "sends_output = true\n"])
def test_f28_what_a_probe_printed_is_sent_only_if_the_host_allows_it(shop: Shop, host: Host, policy: str) -> None:
    """It may hold secrets. On the host it is kept all the same, for its owner only, and only its end is sent."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    host.write_policy(policy, "host")
    host.write_policy(f"""
[[probe]]
name = "secretive"
command = ["/bin/sh", "-c", "seq 1 2000; echo hunter2; ! readlink {host.folder}/current | grep -q 2.0"]
""")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "hunter2" in (host.folder / "failed" / "2.0" / "output").read_text()
    assert "hunter2" not in report.message
    assert ("hunter2" in report.as_line()) == bool(policy)
    assert len(report.as_line()) < 4500


def test_a_rollback_restores_the_previous_link(shop: Shop, host: Host) -> None:
    """`previous` points to the same version as before the failed upgrade."""
    for version in ("1.0", "2.0"):
        shop.add(version)
    shop.add("3.0", health=1)
    host.carry("install", "1.0")
    host.carry("upgrade", "2.0")
    assert host.carry("upgrade", "3.0").code == "RolledBack"
    assert host.installation.package("courier").version_before() == "1.0"
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["1.0", "2.0"]
